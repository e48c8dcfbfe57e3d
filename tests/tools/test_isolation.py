"""A tool that blocks or computes stalls no other session, and cannot keep its own."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from perdure.kernel.events import AnyDelta, CallId, OutputDelta, ToolResult
from perdure.tools import CORE_TOOLS, Tool, ToolContext, ok
from perdure.tools.isolation import Isolation

from .world import World

release = threading.Event()
seen: list[object] = []
mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="")


class Bad(Tool):
    """Does what no tool should."""

    effects = frozenset({"reads"})
    time_limit = 0.2
    what: str

    async def execute(self, context: ToolContext) -> ToolResult:
        match self.what:
            case "sleep":
                release.wait(20)  # cannot be interrupted
            case "compute":
                try:
                    while True:
                        pass
                finally:
                    seen.append("ended")
            case "ignore":
                while True:
                    try:
                        await asyncio.sleep(20)
                    except asyncio.CancelledError:
                        seen.append("cancelled")
            case "exit":
                raise SystemExit(3)
            case "cancel":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(1)
            case "tidy":
                try:
                    await asyncio.sleep(20)
                finally:
                    seen.append("tidied")
            case "leave":
                task = asyncio.create_task(asyncio.sleep(20))
                task.add_done_callback(lambda t: seen.append(t.cancelled()))
            case "context":
                return ok(f"{mark.get()} {threading.current_thread().name}")
        return ok("done")


class Chatty(Tool):
    """Shows things."""

    effects = frozenset({"reads"})
    lines: int

    async def execute(self, context: ToolContext) -> ToolResult:
        for i in range(self.lines):
            context.output(f"{i}\n")
        artifact = context.artifacts.put(b"x", ".txt")
        done = await context.commands.run(
            "echo ran", key=context.key, cwd=context.workdir, timeout=9
        )
        return ok(f"{artifact} {done.output.read_text()}")


class Quick(Tool):
    """Known to be good."""

    effects = frozenset({"reads"})
    cooperative = True

    async def execute(self, context: ToolContext) -> ToolResult:
        return ok(threading.current_thread().name)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("perdure.tools.isolation.CLEANING", 0.2)
    release.clear()
    seen.clear()
    yield World(tmp_path, (*CORE_TOOLS, Bad, Chatty, Quick))
    release.set()


@asynccontextmanager
async def heart(most: float) -> AsyncIterator[None]:
    """Other sessions go on meanwhile."""
    longest, stop = 0.0, asyncio.Event()

    async def beat() -> None:
        nonlocal longest
        while not stop.is_set():
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - began)

    beating = asyncio.create_task(beat())
    yield
    stop.set()
    await beating
    assert longest < most, f"nothing happened for {longest:.2f} s"


@pytest.mark.parametrize("what", ["sleep", "compute", "ignore"])
async def test_a_tool_that_hangs_is_out_of_time_and_stalls_nobody(world: World, what: str) -> None:
    began = time.monotonic()
    async with heart(0.4):
        result = await world("bad", what=what)
    assert result.status == "timeout"
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("what", ["sleep", "compute", "ignore"])
async def test_a_tool_that_hangs_can_be_stopped_within_a_second(world: World, what: str) -> None:
    Bad.time_limit = None
    try:
        task = asyncio.create_task(world("bad", what=what))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 1.2  # one second, and what a loaded machine adds
    finally:
        Bad.time_limit = 0.2


async def test_code_that_computes_for_ever_is_interrupted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.tools.isolation.GRACE", 0.1)
    await world("bad", what="compute")
    until = time.monotonic() + 5
    while not seen and time.monotonic() < until:
        await asyncio.sleep(0.02)
    assert seen == ["ended"]
    await asyncio.sleep(0.1)
    assert not world.toolbox.isolation._hung


async def test_a_tool_can_clean_up_when_it_is_cancelled(world: World) -> None:
    assert (await world("bad", what="tidy")).status == "timeout"
    assert seen == ["tidied"]


@pytest.mark.parametrize(
    ("what", "told"), [("exit", "it raised SystemExit"), ("cancel", "it was cancelled from within")]
)
async def test_no_tool_can_end_the_runtime_or_its_session(
    world: World, what: str, told: str
) -> None:
    result = await world("bad", what=what)
    assert result.status == "error"
    assert told in result.text
    assert (await world("bad", what="context")).status == "ok"


async def test_what_a_call_leaves_running_in_its_loop_is_cancelled(world: World) -> None:
    await world("bad", what="leave")
    await world("bad", what="context")
    assert seen == [True]


async def test_context_variables_are_there(world: World) -> None:
    mark.set("here")
    assert (await world("bad", what="context")).text == "here tool"


async def test_a_cooperative_tool_runs_on_the_loop(world: World) -> None:
    assert (await world("quick")).text == threading.current_thread().name


async def test_output_arrives_in_order_and_whole_and_before_the_result(world: World) -> None:
    home = threading.current_thread()
    shown: list[str] = []

    def emit(delta: AnyDelta) -> None:
        assert threading.current_thread() is home
        assert isinstance(delta, OutputDelta)
        shown.append(delta.text)

    from perdure.kernel.events import ToolCall

    call = ToolCall(id=CallId("c"), name="chatty", arguments={"lines": 5_000})
    prepared = world.bench.prepare(call)
    assert not isinstance(prepared, ToolResult)
    async with heart(0.4):
        result = await prepared.run(key="k", emit=emit, resumed=False)
    assert "".join(shown) == "".join(f"{i}\n" for i in range(5_000))
    assert result.text.endswith("ran\n")


async def test_calls_beyond_the_threads_wait_their_turn(world: World) -> None:
    isolation = Isolation(workers=2)
    running = most = 0

    async def work(emit: object) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        release.wait(0.05)
        running -= 1

    def emit(_: AnyDelta) -> None: ...

    await asyncio.gather(*(isolation.run("t", work, emit) for _ in range(6)))
    assert most == 2


async def test_threads_are_used_again(world: World) -> None:
    before = threading.active_count()
    for _ in range(20):
        await world("bad", what="context")
    assert threading.active_count() <= before + 1


async def test_too_many_hung_calls_are_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.tools.isolation.GRACE", 0.05)
    world.toolbox.isolation = Isolation(most_hung=2)
    for _ in range(2):
        assert (await world("bad", what="sleep")).status == "timeout"
    result = await world("bad", what="context")
    assert result.status == "error"
    assert "2 calls of tools hang and cannot be ended (bad)" in result.text
    release.set()
    until = time.monotonic() + 5
    while world.toolbox.isolation._hung and time.monotonic() < until:
        await asyncio.sleep(0.01)
    assert (await world("bad", what="context")).status == "ok"
