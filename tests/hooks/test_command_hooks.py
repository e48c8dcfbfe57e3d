from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.hooks import CommandHook

from .world import World, call, ended, message, prompt, reply, result

ON = "before_tool"


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.01)


async def test_a_command_is_told_point_session_and_value(world: World) -> None:
    command = world.script("watch", 'cat > told; printf %s "$PERDURE_HOOK $PERDURE_SESSION" > env')
    for point, value, expected in (
        ("before_tool", call(command="ls"), {"name": "bash", "arguments": {"command": "ls"}}),
        ("on_user_message", message("hi"), {"parts": [{"part": "text", "text": "hi"}]}),
        ("on_model_response", reply(), {"model": "m", "stop": "end"}),
        ("on_tool_result", result(), {"tool": "bash"}),
        ("before_model", prompt("tail"), {"tail": "tail", "items": 1, "tokens": 10}),
        ("on_turn_end", ended(), {"type": "turn_ended", "turn": "t1", "reason": "done"}),
    ):
        world.commands = (CommandHook(on=point, command=command),)  # type: ignore[arg-type]
        world.set.reload()
        outcome = await world.runner.fire(point, value)  # type: ignore[arg-type]
        assert outcome.acts == ()
        assert outcome.value is value
        told = json.loads((world.root / "told").read_text())
        assert (told["point"], told["session"]) == (point, "s_1")
        assert expected.items() <= told["value"].items()
        assert (world.root / "env").read_text() == f"{point} s_1"


async def test_exit_code_two_blocks_with_stderr_as_the_reason(world: World) -> None:
    world.commands = (CommandHook(on=ON, command="echo 'not on Fridays' >&2; exit 2"),)
    outcome = await world.runner.fire(ON, call())
    assert outcome.block == "not on Fridays"
    assert [act.action for act in outcome.acts] == ["blocked"]


async def test_a_command_answers_in_json(world: World) -> None:
    world.commands = (
        CommandHook(on=ON, command="""echo '{"value": {"arguments": {"command": "ls -l"}}}'"""),
        CommandHook(on="on_turn_end", command="""echo '{"again": "Run the tests."}'"""),
        CommandHook(on="on_user_message", command="""echo '{"block": "secret inside"}'"""),
    )
    assert (await world.runner.fire(ON, call(command="ls"))).value == call(command="ls -l")
    assert (await world.runner.fire("on_turn_end", ended())).again == "Run the tests."
    assert (await world.runner.fire("on_user_message", message())).block == "secret inside"


async def test_a_command_may_send_back_the_whole_value_changed(world: World) -> None:
    command = world.script(
        "change", """python3 -c 'import json,sys; told = json.load(sys.stdin)
told["value"]["arguments"]["command"] += " -l"
json.dump({"value": told["value"]}, sys.stdout)'"""
    )  # fmt: skip
    world.commands = (CommandHook(on=ON, command=command),)
    assert (await world.runner.fire(ON, call(command="ls"))).value == call(command="ls -l")


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("exit 3", "exit code 3"),
        ("echo oops >&2; exit 1", "oops"),
        ("./nothing-of-the-kind", "exit code 127"),
        ("echo hello", "output"),
        ("""echo '{"blok": "x"}'""", "blok"),
        ("printf '\\377'", "output"),
        ("kill -9 $$", "exit code -9"),
        ("sleep 60", "took longer"),
        ("yes", "took longer"),
        ("head -c 5000000 /dev/zero", "larger than"),
    ],
)
@pytest.mark.parametrize("fail", ["open", "closed"])
async def test_a_failing_command_breaks_nothing_and_blocks_only_if_it_said_so(
    world: World, command: str, why: str, fail: str
) -> None:
    timeout = 0.2 if why == "took longer" else 5.0
    world.commands = (CommandHook(on=ON, command=command, fail=fail, timeout=timeout),)  # type: ignore[arg-type]
    outcome = await world.runner.fire(ON, call())
    [act] = outcome.acts
    assert act.action == "failed"
    assert why in act.detail
    assert bool(outcome.block) is (fail == "closed")


async def test_a_command_that_reads_nothing_is_no_failure(world: World) -> None:
    world.commands = (CommandHook(on=ON, command="exec 0<&-; exit 0"),)
    outcome = await world.runner.fire(ON, call(command="x" * 2_000_000))
    assert outcome.acts == ()


async def test_what_ran_out_of_time_is_killed_with_its_children(world: World) -> None:
    command = "sh -c 'echo $$ > child; sleep 60' & sleep 60"
    world.commands = (CommandHook(on=ON, command=command, timeout=0.3),)
    await world.runner.fire(ON, call())
    pid = int((world.root / "child").read_text())
    await until(lambda: not alive(pid))


async def test_children_left_behind_do_not_delay_the_turn(world: World) -> None:
    world.commands = (CommandHook(on=ON, command="sleep 60 & echo $! > child", timeout=30),)
    began = time.monotonic()
    outcome = await world.runner.fire(ON, call())
    assert time.monotonic() - began < 5
    assert outcome.acts == ()
    await until(lambda: not alive(int((world.root / "child").read_text())))


async def test_cancelling_a_turn_kills_its_command(world: World) -> None:
    world.commands = (CommandHook(on=ON, command="echo $$ > pid; sleep 60", timeout=60),)
    firing = asyncio.create_task(world.runner.fire(ON, call()))
    pid_file = world.root / "pid"
    await until(lambda: pid_file.exists() and pid_file.read_text().strip() != "")
    firing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await firing
    assert not alive(int(pid_file.read_text()))


async def test_cancelling_while_a_command_is_started_leaves_nothing_behind(world: World) -> None:
    world.commands = (CommandHook(on=ON, command="echo $$ > pid; sleep 60", timeout=60),)
    for steps in range(12):
        (world.root / "pid").unlink(missing_ok=True)
        firing = asyncio.create_task(world.runner.fire(ON, call()))
        for _ in range(steps):
            await asyncio.sleep(0)
        firing.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(20):
                await firing
        if (world.root / "pid").exists() and (pid := (world.root / "pid").read_text()):
            assert not alive(int(pid))


async def test_a_command_inherits_no_credentials(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    world.commands = (CommandHook(on=ON, command="env > env"),)
    await world.runner.fire(ON, call())
    environment = (world.root / "env").read_text()
    assert "secret" not in environment
    assert f"PATH={os.environ['PATH']}" in environment


async def test_commands_run_for_their_tools_only(world: World) -> None:
    world.commands = (CommandHook(on=ON, command="exit 2", tools=("write",)),)
    assert (await world.runner.fire(ON, call("bash"))).block == ""
    assert (await world.runner.fire(ON, call("write"))).block


async def test_a_command_whose_settings_make_no_sense_is_told_of_and_guards(world: World) -> None:
    world.commands = (CommandHook(on="on_error", command="x", fail="closed"),)
    assert "cannot fail closed" in world.set.reload()[0]
    assert not world.runner.wants("on_error")
    world.commands = (CommandHook(on="before_model", command="x", fail="closed", tools=("a",)),)
    assert "no meaning" in world.set.reload()[0]
    assert (await world.runner.fire("before_model", prompt())).block


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
