"""What a model and a person are told of a command."""

from __future__ import annotations

import asyncio

import pytest

from .world import World


async def test_a_good_command_shows_its_output_alone(world: World) -> None:
    result = await world("bash", command="echo hi; echo there >&2")
    assert (result.status, result.text) == ("ok", "hi\nthere\n")
    assert result.data["exit_code"] == 0
    assert isinstance(result.data["seconds"], float)
    assert world.shown() == "hi\nthere\n"


async def test_silence_is_said(world: World) -> None:
    assert (await world("bash", command="true")).text == "(no output)"


async def test_a_failure_tells_its_exit_code(world: World) -> None:
    result = await world("bash", command="echo no; exit 7")
    assert result.status == "error"
    assert result.data["exit_code"] == 7
    assert result.text.startswith("no\n[exit code 7, ")


async def test_it_runs_in_the_working_directory(world: World) -> None:
    assert (await world("bash", command="pwd; echo $PWD")).text == f"{world.workdir}\n" * 2


async def test_a_timeout_tells_what_was_stopped_and_keeps_the_output(world: World) -> None:
    result = await world("bash", command="echo begun; sleep 30", timeout=1)
    assert result.status == "timeout"
    assert result.text == "begun\n[stopped after 1 s with all it had started]"


async def test_long_output_is_cut_in_the_middle_and_can_be_paged(world: World) -> None:
    result = await world("bash", command="seq 200000")
    assert len(result.text) < 31_000
    assert result.text.startswith("1\n2\n")
    assert result.text.endswith("199999\n200000\n")
    assert "lines left out; the whole, 200,000 lines" in result.text
    page = await world("read", path=f"artifact:{result.artifact}", offset=100_000, limit=1)
    assert page.text.startswith("100000\t100000\n")


async def test_one_endless_line_is_cut_too(world: World) -> None:
    result = await world("bash", command="head -c 5000000 /dev/zero | tr '\\0' x")
    assert len(result.text) < 31_000
    assert "the middle left out" in result.text
    page = await world("read", path=f"artifact:{result.artifact}")
    assert page.status == "ok"
    assert len(page.text) < 3_000


async def test_binary_output_is_kept_and_not_shown(world: World) -> None:
    result = await world("bash", command=r"printf '\0\1\2'")
    assert result.text == f"[binary output, 3 bytes, kept as artifact:{result.artifact}]"


async def test_invalid_utf8_is_replaced(world: World) -> None:
    result = await world("bash", command=r"printf 'a\377b\355\240\200'")
    assert result.text.startswith("a\ufffdb")
    result.text.encode()


async def test_colours_progress_and_control_characters_are_taken_out(world: World) -> None:
    command = r"printf '\033[31mred\033[0m\a \033]0;title\007x\n10%%\r100%%\ndos\r\n'"
    assert (await world("bash", command=command)).text == "red x\n100%\ndos\n"


async def test_live_output_cannot_steer_the_terminal(world: World) -> None:
    await world("bash", command=r"printf '\033[2Jcleared\033'; sleep 0.1; printf ']0;t\007\n'")
    assert "\x1b" not in world.shown()
    assert "\x07" not in world.shown()


async def test_what_was_left_in_the_background_is_told(world: World) -> None:
    result = await world("bash", command="sleep 50 & echo ok")
    assert result.status == "ok"
    assert result.text == "ok\n[1 process left in the background stopped]"


async def test_a_command_that_kills_its_supervisor_is_in_doubt(world: World) -> None:
    result = await world("bash", command="kill -9 $PPID; sleep 5")
    assert result.status == "in_doubt"
    assert "may or may not have finished" in result.text


async def test_a_vanished_working_directory_is_told(world: World) -> None:
    world.workdir.rmdir()
    result = await world("bash", command="true")
    assert result.status == "error"
    assert "gone" in result.text


@pytest.mark.parametrize(
    "arguments", [{"command": ""}, {"command": "x\0y"}, {"command": "x", "timeout": 0}]
)
async def test_impossible_arguments_are_invalid(
    world: World, arguments: dict[str, str | int]
) -> None:
    assert (await world.call("bash", {**arguments})).status == "invalid"


async def test_resuming_joins_what_ran_and_does_not_run_it_again(world: World) -> None:
    first = asyncio.create_task(
        world.call(
            "bash", {"command": "echo x >> ran; until [ -e go ]; do sleep 0.02; done"}, key="k"
        )
    )
    while not world.path("ran").exists():  # another process makes it
        await asyncio.sleep(0.01)
    world.commands.release()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    world.path("go").touch()
    result = await world.call("bash", {"command": "echo x >> ran"}, key="k", resumed=True)
    assert result.status == "ok"
    assert world.path("ran").read_text() == "x\n"
