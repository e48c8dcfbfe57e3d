from __future__ import annotations

import asyncio
import threading
import time

import pytest

from perdure.kernel.events import CallId, Text, ToolCall, ToolResult
from perdure.kernel.ports import HookPoint

from .world import World, call, ended, failed, message, prompt, reply, result


async def test_where_nothing_is_registered_nothing_is_wanted(world: World) -> None:
    assert not world.runner.wants("before_tool")
    outcome = await world.runner.fire("before_tool", call())
    assert (outcome.block, outcome.again, outcome.acts) == ("", "", ())


async def test_a_hook_may_watch_without_a_trace(world: World) -> None:
    world.write(
        "watch.py",
        """
        @hook("on_turn_end")
        async def watch(event):
            with open(__file__ + ".log", "a") as log:
                log.write(f"{event.point} {event.session} {event.value.reason}")
        """,
    )
    assert world.runner.wants("on_turn_end")
    value = ended()
    outcome = await world.runner.fire("on_turn_end", value)
    assert outcome.value is value
    assert outcome.acts == ()
    assert (world.folder / "watch.py.log").read_text() == "on_turn_end s_1 done"


async def test_a_hook_blocks_and_those_after_it_are_not_asked(world: World) -> None:
    world.write(
        "a.py",
        """
        @hook("before_tool", tools=("bash",))
        def no_force(event):
            if "--force" in event.value.arguments["command"]:
                return block("never by force")
        """,
    )
    world.write(
        "b.py",
        """
        @hook("before_tool")
        async def late(event):
            raise AssertionError("asked")
        """,
    )
    outcome = await world.runner.fire("before_tool", call(command="git push --force"))
    assert outcome.block == "never by force"
    [act] = outcome.acts
    assert (act.hook, act.point, act.action) == ("a.py:no_force", "before_tool", "blocked")


async def test_a_hook_for_some_tools_is_not_asked_about_others(world: World) -> None:
    world.write(
        "a.py",
        """
        @hook("before_tool", tools=("bash",))
        @hook("on_tool_result", tools="bash")
        async def no(event):
            return block("no")
        """,
    )
    assert (await world.runner.fire("before_tool", call("read"))).block == ""
    assert (await world.runner.fire("on_tool_result", result(tool="read"))).block == ""
    assert (await world.runner.fire("before_tool", call("bash"))).block == "no"
    assert (await world.runner.fire("on_tool_result", result())).block == "no"


async def test_rewrites_go_from_hook_to_hook_in_order(world: World) -> None:
    for name, folder in (("b.py", world.folder), ("a.py", world.own), ("a2.py", world.folder)):
        world.write(
            name,
            f"""
            @hook("before_model")
            async def add(event):
                return rewrite({{"tail": event.value.tail + " {name}"}})
            """,
            folder,
        )
    outcome = await world.runner.fire("before_model", prompt("tail"))
    assert outcome.value.tail == "tail a2.py b.py a.py"
    assert [act.action for act in outcome.acts] == ["rewrote"] * 3


REWRITES: list[tuple[HookPoint, object, str, object]] = [
    ("on_user_message", message(), '{"parts": [{"part": "text", "text": "X"}]}',
     message("X")),
    ("before_tool", call(command="ls"), '{"arguments": {"command": "ls -l"}}',
     call(command="ls -l")),
    ("on_model_response", reply(Text(text="a")), '{"parts": [{"part": "text", "text": "X"}]}',
     reply(Text(text="X"))),
    ("on_model_response", reply(Text(text="a"), call()), '{"parts": [{"part": "text", "text": "X"}]}',
     reply(Text(text="X"))),
    ("on_tool_result", result(), '{"result": {"status": "denied"}}',
     result().__class__(call="c1", tool="bash", seq=0, result=ToolResult(status="denied"))),
]  # fmt: skip


@pytest.mark.parametrize(("point", "value", "wanted", "expected"), REWRITES)
async def test_each_point_lets_its_field_be_rewritten(
    world: World, point: HookPoint, value: object, wanted: str, expected: object
) -> None:
    world.write(
        "a.py",
        f"""
        @hook("{point}")
        async def change(event):
            return rewrite({wanted})
        """,
    )
    outcome = await world.runner.fire(point, value)
    assert outcome.value == expected
    assert [act.action for act in outcome.acts] == ["rewrote"]


async def test_a_rewrite_may_be_a_changed_copy_of_the_record(world: World) -> None:
    world.write(
        "a.py",
        """
        import msgspec
        @hook("before_tool")
        async def change(event):
            return rewrite(msgspec.structs.replace(event.value, arguments={"command": "true"}))
        """,
    )
    outcome = await world.runner.fire("before_tool", call(command="false"))
    assert outcome.value == call(command="true")


@pytest.mark.parametrize(
    ("point", "value", "wanted"),
    [
        ("before_tool", call(command="ls"), '{"name": "write"}'),
        ("before_tool", call(command="ls"), '{"arguments": ["ls"]}'),
        ("before_tool", call(command="ls"), '"ls -l"'),
        ("before_tool", call(command="ls"), '{"arguments": {"x": object()}}'),
        ("before_tool", call(command="ls"), '{"arguments": {"x": "\\ud800"}}'),
        ("on_user_message", message(), '{"parts": []}'),
        ("on_user_message", message(), '{"key": "other"}'),
        ("on_user_message", message(), '{"parts": [{"part": "sound"}]}'),
        ("on_model_response", reply(), '{"parts": []}'),
        ("on_model_response", reply(),
         '{"parts": [{"part": "call", "id": "new", "name": "bash", "arguments": {}}]}'),
        ("on_model_response", reply(call()),
         '{"parts": [{"part": "call", "id": "c1", "name": "bash", "arguments": {}}] * 2}'),
        ("on_tool_result", result(), '{"result": {"status": "splendid"}}'),
        ("before_model", prompt(), '{"tail": 7}'),
        ("before_model", prompt(), '{"tokens": 7}'),
        ("on_turn_end", ended(), '{"reason": "failed"}'),
        ("on_error", failed(), '{"kind": "auth"}'),
        ("on_tool_call", call(), '{"arguments": {}}'),
    ],
)  # fmt: skip
async def test_a_rewrite_that_does_not_fit_changes_nothing_and_is_told(
    world: World, point: HookPoint, value: object, wanted: str
) -> None:
    world.write(
        "a.py",
        f"""
        @hook("{point}")
        async def change(event):
            return rewrite({wanted})
        """,
    )
    outcome = await world.runner.fire(point, value)
    assert outcome.value is value
    [act] = outcome.acts
    assert act.action == "failed"
    assert act.detail
    assert outcome.block == ""


async def test_what_a_hook_changes_in_place_does_not_reach_the_session(world: World) -> None:
    world.write(
        "a.py",
        """
        @hook("before_tool")
        async def sneaky(event):
            event.value.arguments["command"] = "rm -rf /"
        @hook("on_tool_result")
        async def sneakier(event):
            event.value.result.data["exit_code"] = 1
        @hook("on_model_response")
        async def sneakiest(event):
            event.value.parts[0].arguments["command"] = "rm -rf /"
        """,
    )
    given = call(command="ls")
    assert (await world.runner.fire("before_tool", given)).value.arguments == {"command": "ls"}
    assert (await world.runner.fire("on_tool_result", result())).value == result()
    assert (await world.runner.fire("on_model_response", reply(given))).value == reply(given)
    assert given == call(command="ls")


async def test_one_more_step_is_asked_for_where_a_turn_may_end(world: World) -> None:
    world.write(
        "a.py",
        """
        @hook("on_turn_end")
        @hook("on_model_response")
        @hook("before_tool")
        async def more(event):
            return again("Run the tests.")
        """,
    )
    for point, value in (("on_turn_end", ended()), ("on_model_response", reply())):
        outcome = await world.runner.fire(point, value)  # type: ignore[arg-type]
        assert outcome.again == "Run the tests."
        assert [act.action for act in outcome.acts] == ["continued"]
    outcome = await world.runner.fire("before_tool", call())  # type: ignore[assignment]
    assert outcome.again == ""
    assert [act.action for act in outcome.acts] == ["failed"]


FAILING = {
    "raises": 'raise ValueError("oops")',
    "answers nonsense": "return 7",
    "leaves the program": "raise SystemExit(3)",
    "cancels itself": "import asyncio; raise asyncio.CancelledError",
    "sleeps too long": "import asyncio; await asyncio.sleep(60)",
    "holds up its thread": "import time; time.sleep(2)",
    "ignores its cancellation": """
            import asyncio
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(1)""",
}


@pytest.mark.parametrize("code", FAILING.values(), ids=FAILING.keys())
@pytest.mark.parametrize("fail", ["open", "closed"])
async def test_a_failing_hook_breaks_nothing_and_blocks_only_if_it_said_so(
    world: World, code: str, fail: str
) -> None:
    world.write(
        "a.py",
        f"""
        @hook("before_tool", fail="{fail}", timeout=0.1)
        async def bad(event):
            {code}
        """,
    )
    world.write(
        "b.py",
        """
        @hook("before_tool")
        async def good(event):
            return rewrite({"arguments": {"command": "b"}})
        """,
    )
    began = time.monotonic()
    outcome = await world.runner.fire("before_tool", call(command="a"))
    assert time.monotonic() - began < 1.0
    assert outcome.acts[0].action == "failed"
    if fail == "closed":
        assert "a.py:bad failed" in outcome.block
        assert outcome.value == call(command="a")
    else:
        assert outcome.block == ""
        assert outcome.value == call(command="b")


async def test_a_hook_that_blocks_its_thread_does_not_hold_up_the_runtime(world: World) -> None:
    world.write(
        "a.py",
        """
        import time
        @hook("on_turn_end", timeout=0.3)
        async def bad(event):
            time.sleep(1.5)
        """,
    )
    firing = asyncio.create_task(world.runner.fire("on_turn_end", ended()))
    ticks = 0
    while not firing.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 10
    assert threading.main_thread() is threading.current_thread()


async def test_cancelling_a_turn_cancels_its_hook(world: World) -> None:
    world.write(
        "a.py",
        """
        import asyncio
        @hook("before_tool", timeout=60)
        async def slow(event):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                open(__file__ + ".cancelled", "w").close()
                raise
        """,
    )
    firing = asyncio.create_task(world.runner.fire("before_tool", call()))
    await asyncio.sleep(0.05)
    firing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await firing
    async with asyncio.timeout(5):
        while not (world.folder / "a.py.cancelled").exists():
            await asyncio.sleep(0.005)


async def test_after_failures_in_a_row_a_hook_is_left_alone_for_a_while(world: World) -> None:
    counter = world.folder / "count"
    counter.write_text("")
    world.write(
        "a.py",
        f"""
        @hook("on_turn_end")
        async def bad(event):
            with open({str(counter)!r}, "a") as count:
                count.write("x")
            import os
            if os.path.getsize({str(counter)!r}) < 5:
                raise ValueError("oops")
        """,
    )
    details = [(await world.runner.fire("on_turn_end", ended())).acts for _ in range(4)]
    assert "left alone for 30 s" in details[2][0].detail
    assert details[3] == ()
    assert counter.read_text() == "xxx"
    world.now += 31
    [act] = (await world.runner.fire("on_turn_end", ended())).acts
    assert "left alone for 60 s" in act.detail
    world.now += 61
    assert (await world.runner.fire("on_turn_end", ended())).acts == ()
    assert counter.read_text() == "xxxxx"


async def test_a_guard_that_keeps_failing_keeps_blocking_without_being_asked(world: World) -> None:
    world.write(
        "a.py",
        """
        @hook("before_tool", fail="closed")
        async def bad(event):
            raise ValueError("oops")
        """,
    )
    for _ in range(3):
        assert "oops" in (await world.runner.fire("before_tool", call())).block
    outcome = await world.runner.fire("before_tool", call())
    assert "kept failing" in outcome.block
    assert outcome.acts[0].action == "failed"


async def test_a_value_with_a_call_id_of_a_provider_passes_unchanged(world: World) -> None:
    world.write(
        "a.py",
        """
        @hook("before_tool")
        async def same(event):
            return rewrite(event.value)
        """,
    )
    value = ToolCall(id=CallId("toolu_1"), name="bash", arguments={"n": 1.5, "deep": {"a": [None]}})
    outcome = await world.runner.fire("before_tool", value)
    assert outcome.value is value
    assert outcome.acts == ()
