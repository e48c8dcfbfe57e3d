"""What a model can do with background processes, and what it reads of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.kernel.events import CallId, Json, SessionId, ToolCall, ToolResult
from perdure.tools import Prepared

from .world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.commands.background.stop_all(SessionId("s_1"))
    await made.commands.close()


def prepared(world: World, **arguments: Json) -> Prepared:
    call = ToolCall(id=CallId("c"), name="process", arguments=arguments)
    found = world.bench.prepare(call)
    assert isinstance(found, Prepared)
    return found


async def start(world: World, command: str, **arguments: Json) -> str:
    result = await world("process", action="start", command=command, **arguments)
    assert result.status == "ok", result.text
    return str(result.data["id"])


async def test_start_returns_an_id_and_what_it_printed_at_once(world: World) -> None:
    result = await world("process", action="start", command="echo hi; sleep 60", name="srv")
    id_ = result.data["id"]
    assert result.text.startswith(f"hi\n[{id_} (srv); running, 0.")
    assert result.data["state"] == "running"


async def test_it_is_still_running_after_its_call_and_can_be_waited_for(world: World) -> None:
    id_ = await start(world, "until [ -e go ]; do sleep 0.02; done; echo done; exit 3")
    result = await world("process", action="wait", id=id_, seconds=0)
    assert "running" in result.text
    world.path("go").touch()
    result = await world("process", action="wait", id=id_)
    assert result.status == "ok"
    assert result.text.startswith(f"done\n[{id_}; exit code 3, ")
    assert (result.data["state"], result.data["exit_code"]) == ("exited", 3)
    assert world.shown() == "done\n"


async def test_waiting_for_a_match_tells_whether_it_came(world: World) -> None:
    id_ = await start(world, "sleep 0.3; echo ready on 80; sleep 60")
    result = await world("process", action="wait", id=id_, until=r"on \d+")
    assert result.text.endswith("; matched]")
    assert result.data["matched"] is True
    result = await world("process", action="wait", id=id_, until="ready", seconds=0)
    assert result.text.endswith("; not matched in 0 s]")  # only what is new counts


async def test_output_shows_what_is_new_or_what_is_asked_for(world: World) -> None:
    id_ = await start(world, "echo one; until [ -e go ]; do sleep 0.02; done; echo two")
    world.path("go").touch()
    (process,) = await world.commands.background.all("s_1")
    await world.commands.background.wait(process, 10)
    assert (await world("process", action="output", id=id_)).text.startswith("two\n[")
    assert (await world("process", action="output", id=id_)).text.startswith(f"[{id_}; exit code 0")
    result = await world("process", action="output", id=id_, offset=0, limit=5)
    assert result.text.startswith("one\nt\n[")
    assert result.text.endswith("more: offset=5]")


async def test_an_output_cut_off_by_a_crash_is_shown_again(world: World) -> None:
    id_ = await start(world, "until [ -e go ]; do sleep 0.02; done; echo x; sleep 60")
    world.path("go").touch()
    (process,) = await world.commands.background.all("s_1")
    assert (await world.commands.background.wait(process, 10, until="x"))[1]
    arguments: dict[str, Json] = {"action": "output", "id": id_}
    first = await world.call("process", arguments, key="k")
    again = await world.call("process", arguments, key="k", resumed=True)
    assert first.text[:2] == again.text[:2] == "x\n"
    assert not (await world.call("process", arguments, key="l")).text.startswith("x")


async def test_a_flood_is_cut_in_the_middle_and_can_be_paged(world: World) -> None:
    id_ = await start(world, "seq 100000")
    result = await world("process", action="wait", id=id_)
    result = await world("process", action="output", id=id_, offset=0)
    world.bench = world.open(max_result_chars=1_000)
    id_ = await start(world, "seq 100000; sleep 60")
    result = await world("process", action="wait", id=id_, seconds=0)
    result = await world.call("process", {"action": "start", "command": "seq 5000"}, key="flood")
    assert len(result.text) < 1_300
    assert result.text.startswith("1\n2\n")
    assert "4999\n5000\n[" in result.text
    assert f"process action=output id={result.data['id']} offset=400 …]" in result.text


async def test_a_line_can_be_sent(world: World) -> None:
    id_ = await start(world, "while read line; do echo got $line; done")
    result = await world("process", action="send", id=id_, text="hello")
    assert result.text.startswith("got hello\n[")
    result = await world("process", action="send", id=id_, text="\x04")
    assert "exit code 0" in result.text
    result = await world("process", action="send", id=id_, text="x")
    assert (result.status, result.text) == (
        "error",
        f"process: nothing was sent to {id_}: it is not running",
    )


async def test_sending_that_a_crash_cut_off_is_in_doubt_and_not_repeated(world: World) -> None:
    id_ = await start(world, "while read line; do echo got $line; done")
    arguments: dict[str, Json] = {"action": "send", "id": id_, "text": "once"}
    await world.call("process", arguments, key="k")
    assert world.bench.begun("k")
    result = await world.call("process", arguments, key="k", resumed=True)
    assert result.status == "in_doubt"
    fresh = await world.call("process", arguments, key="l", resumed=True)  # it had not begun
    assert fresh.text.count("got once") == 1


async def test_whoever_is_asked_sees_which_command_gets_the_text_and_vouches_for_that_one_alone(
    world: World,
) -> None:
    arguments: dict[str, Json] = {"action": "send", "id": "repl", "text": "touch SENT"}
    nobody = prepared(world, **arguments).binding()
    first = await start(world, "cat\n# to repl: ls", name="repl")
    asked = prepared(world, **arguments)
    assert asked.preview().startswith(
        f"{first} (repl) runs: cat # to repl: ls\nto repl: touch SENT"
    )
    bound = asked.binding()
    assert bound == prepared(world, **arguments).binding() != nobody
    await start(world, "bash", name="repl")
    assert prepared(world, **arguments).binding() not in (bound, nobody)
    assert prepared(world, **{**arguments, "id": first}).binding() == bound
    await start(world, "cat " + "x" * 30_000, name="repl")
    assert "to repl: touch SENT" in prepared(world, **arguments).preview()[:3_000]


async def test_a_terminal_is_there_for_what_wants_one(world: World) -> None:
    id_ = await start(world, "test -t 0 && read -p 'Sure? ' x && echo yes: $x", terminal=True)
    result = await world("process", action="send", id=id_, text="y")
    assert result.text.startswith("y\nyes: y\n[")


async def test_stop_ends_it_and_list_tells(world: World) -> None:
    id_ = await start(world, "sleep 60", name="idler")
    assert "stopped after" in (await world("process", action="stop", id="idler")).text
    result = await world("process", action="list")
    assert result.text.startswith(f"{id_} (idler)  stopped after ")
    assert result.text.endswith("  sleep 60")
    result = await world("process", action="stop", id="p00")
    assert (result.status, result.text) == (
        "error",
        f"process: there is no process 'p00'; known: {id_}",
    )


async def test_a_start_that_was_cut_off_is_not_repeated(world: World) -> None:
    arguments: dict[str, Json] = {"action": "start", "command": "echo x >> ran; sleep 60"}
    first = await world.call("process", arguments, key="k")
    again = await world.call("process", arguments, key="k", resumed=True)
    assert first.data["id"] == again.data["id"]
    assert world.path("ran").read_text() == "x\n"


async def test_cancelling_a_wait_leaves_the_process_alone(world: World) -> None:
    id_ = await start(world, "sleep 60")
    waiting = asyncio.create_task(world("process", action="wait", id=id_))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert "running" in (await world("process", action="output", id=id_)).text


async def test_what_does_not_start_is_an_error(world: World) -> None:
    world.workdir.rmdir()
    result = await world("process", action="start", command="true")
    assert result.status == "error"
    assert "gone" in result.text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"action": "start"}, "start needs command"),
        ({"action": "send", "id": "p1"}, "send needs text"),
        ({"action": "wait"}, "wait needs id"),
        ({"action": "wait", "id": "p1", "until": "("}, "until is no regular expression"),
        ({"action": "start", "command": "x", "notify": "["}, "notify is no regular expression"),
        ({"action": "start", "command": "x\0y"}, "NUL"),
        ({"action": "fly"}, "action: input should be"),
    ],
)
async def test_impossible_arguments_are_explained(
    world: World, arguments: dict[str, Json], told: str
) -> None:
    result = await world.call("process", arguments)
    assert result.status == "invalid"
    assert told in result.text


async def test_the_policy_sees_the_command_and_only_what_acts_needs_leave(world: World) -> None:
    starting = prepared(world, action="start", command="make")
    assert (starting.command, starting.effects) == ("make", ("network", "reads", "writes"))
    assert starting.preview() == "make"
    sending = prepared(world, action="send", id="p1", text="rm -r x")
    assert (sending.command, sending.preview()) == (
        "rm -r x",
        "There is no process 'p1' now.\nto p1: rm -r x",
    )
    assert sending.effects and not sending.parallel
    for action in ("list", "output", "wait", "stop"):
        looking = prepared(world, action=action, id="p1")
        assert (looking.effects, looking.command, looking.parallel) == ((), None, True)


async def test_a_session_has_no_others_processes(world: World) -> None:
    process = await world.commands.background.start(
        "s_2", "sleep 60", key="other", cwd=world.workdir
    )
    result: ToolResult = await world("process", action="stop", id=process.id)
    assert result.status == "error"
    await world.commands.background.stop_all("s_2")
