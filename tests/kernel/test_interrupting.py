"""A stop breaks off what runs, however that takes it; the next stop works too (D11)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.kernel.errors import ModelError
from perdure.kernel.events import Text, ToolFinished, ToolResult, TurnEnded

from .world import Bench, FakeModel, call, say


class Waiting:
    """Something that waits until it is broken off; then it does `then`."""

    def __init__(self, then: Any = None) -> None:
        self.begun, self.then = asyncio.Event(), then

    async def __call__(self) -> Any:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self.then is None:
                raise
            if isinstance(self.then, Exception):
                raise self.then from None
            return self.then


async def stop(bench: Bench) -> None:
    await bench.inbox.stop(by="owner", reason="")
    bench.runner.wake(interrupt=True)


async def driven(bench: Bench) -> asyncio.Task[None]:
    return asyncio.ensure_future(bench.runner.run())


@pytest.mark.parametrize(
    "then",
    [
        say("said all the same"),
        ModelError("the connection broke", kind="server"),
        ValueError("a defect in the clean-up"),
    ],
)
async def test_a_second_stop_works_however_the_work_took_the_first(then: Any) -> None:
    """Both in one life of the session's task."""
    first, second = Waiting(then), Waiting()
    works = [first, second]

    async def next_() -> Any:
        return await works.pop(0)()

    bench = Bench(FakeModel([next_, next_]))
    await bench.say("one")
    running = await driven(bench)
    await first.begun.wait()
    await bench.say("two", mode="queue")
    await stop(bench)
    async with asyncio.timeout(5):
        await second.begun.wait()
        assert not running.cancelling() and not bench.runner._desk.interruption.requested
        await stop(bench)
        await running
    assert len(bench.events(TurnEnded)) == 2 and bench.state.turn is None


def tool(bench: Bench, work: Waiting, *others: Waiting) -> None:
    """What the calls do: the nth, the nth of these."""
    works, run = [work, *others], bench.gate.run

    async def waits(permit: Any, emit: Any, *, resumed: bool) -> ToolResult:
        if not works:
            return await run(permit, emit, resumed=resumed)
        return await works.pop(0)()  # type: ignore[no-any-return]

    bench.gate.run = waits  # type: ignore[method-assign]


@pytest.mark.parametrize("count", [1, 2])
async def test_tools_that_swallow_the_stop_are_on_record_and_the_next_stop_works(
    count: int,
) -> None:
    done = ToolResult(parts=(Text(text="done all the same"),))
    works, later = [Waiting(done) for _ in range(count)], Waiting()
    calls = [call(f"c{n}", "read") for n in range(count)]
    bench = Bench(FakeModel([say("", *calls), later, later]))
    tool(bench, *works)
    await bench.say("go")
    running = await driven(bench)
    for work in works:
        await work.begun.wait()
    await bench.say("two", mode="queue")
    await stop(bench)
    async with asyncio.timeout(5):
        await later.begun.wait()
        assert not running.cancelling()
        await stop(bench)
        await running
    assert [e.result.text for e in bench.events(ToolFinished)] == ["done all the same"] * count


@pytest.mark.parametrize("then", [None, say("late"), ValueError("late")])
async def test_a_shutdown_is_never_taken_for_done(then: Any) -> None:
    work = Waiting(then)
    bench = Bench(FakeModel([work]))
    await bench.say("go")
    running = await driven(bench)
    await work.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await running
    assert bench.state.turn is not None and not bench.events(TurnEnded)
