"""What is reserved for a call is settled however the call ends, and no answer may be longer (S11)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.kernel.errors import StorageError
from perdure.kernel.events import (
    CompactionRequested,
    LimitReached,
    Limits,
    ModelRequested,
    SessionStarted,
    ToolFinished,
    TurnEnded,
    TurnStarted,
    Usage,
)
from perdure.kernel.limits import used_up
from perdure.kernel.ports import HookOutcome, Reservation
from perdure.kernel.state import State, Turn

from .world import START, Bench, FakeModel, call, say


class Books:
    def __init__(self, room: Reservation | None = None) -> None:
        self.room = room or Reservation()
        self.open: set[str] = set()
        self.asked = 0
        self.counted: list[int] = []

    async def reserve(
        self, state: State, request: Any, *, model: str, tokens: int, last: bool
    ) -> Reservation:
        self.asked += 1
        assert self.asked < 100, "the same is asked for ever"
        if self.room.limit is None:
            self.open.add(request)
        return self.room

    async def settle(self, request: Any, usage: Usage, cost_usd: Any, *, calls: int) -> None:
        self.open.discard(request)

    def closed(self, request: Any, *, calls: int) -> None:
        self.counted.append(calls)


class Endless:
    """A hook that never comes back by itself."""

    def __init__(self) -> None:
        self.fired = asyncio.Event()

    def wants(self, point: str) -> bool:
        return point == "before_model"

    async def fire(self, point: str, value: Any) -> HookOutcome[Any]:
        self.fired.set()
        await asyncio.Event().wait()
        raise AssertionError


def with_books(books: Books, *plan: Any, **options: Any) -> Bench:
    return Bench(FakeModel(plan or [say("hello")]), budgets=books, **options)


async def test_a_stop_while_a_hook_looks_at_the_prompt_frees_what_was_reserved() -> None:
    hooks, books = Endless(), Books()
    bench = with_books(books, hooks=hooks)
    await bench.say("go")
    running = asyncio.ensure_future(bench.runner.run())
    await hooks.fired.wait()
    assert books.open
    await bench.inbox.stop(by="owner", reason="")
    bench.runner.wake(interrupt=True)
    await running
    assert books.asked and not books.open


async def test_a_disk_that_fails_before_the_model_is_asked_frees_what_was_reserved() -> None:
    books = Books()
    bench = with_books(books)
    await bench.say("go")
    append = bench.log.append

    def fails(records: Any) -> None:
        if any(isinstance(r.event, ModelRequested) for r in records):
            raise StorageError("the disk is full")
        append(records)

    bench.log.append = fails  # type: ignore[method-assign]
    with pytest.raises(StorageError):
        await bench.runner.run()
    assert books.asked and not books.open


async def test_a_warning_that_cannot_be_stored_frees_what_was_reserved() -> None:
    books = Books(Reservation(notices=("nearly used up",)))
    bench = with_books(books)
    bench.runner._desk.tell_owner = _full  # type: ignore[method-assign]
    await bench.say("go")
    with pytest.raises(StorageError):
        await bench.runner.run()
    assert books.asked and not books.open


def _full(*_: Any, **__: Any) -> None:
    raise StorageError("the disk is full")


async def test_a_summary_may_be_as_long_as_was_reserved() -> None:
    books = Books(Reservation(max_output=777))
    bench = with_books(books)
    bench.journal.append(CompactionRequested(by="owner"))
    await bench.runner.run()
    assert bench.context.max_output == 777 and not books.open


async def test_a_call_that_a_budget_stops_is_told_whose_budget_it_is() -> None:
    bench = Bench(FakeModel([say("", call("c1", "ask_pay")), say("done")]))
    await bench.say("go")
    running = asyncio.ensure_future(bench.runner.run())
    while not bench.state.approvals:
        await asyncio.sleep(0)
    bench.journal.append(LimitReached(limit="cost_usd", used=5, allowed=5, scope="month"))
    bench.runner.wake()
    await running
    (finished,) = bench.events(ToolFinished)
    assert finished.result.status == "skipped"
    assert "This agent this month has used up its budget of US dollars" in finished.result.text
    assert isinstance(bench.events()[0], SessionStarted) and bench.events(TurnStarted)


def test_a_limit_of_the_turn_is_the_turns() -> None:
    turn = Turn(turn="t", seq=1, began=START, limits=Limits(), limit="seconds")  # type: ignore[arg-type]
    assert used_up(turn) == "Not run. This turn has used up its budget of seconds."


FULL = LimitReached(limit="turns", used=2, allowed=2, scope="day", again="Tomorrow.")


async def test_a_turn_without_room_ends_before_a_model_is_asked_and_is_not_counted() -> None:
    model = FakeModel([say("hello")])
    bench = Bench(model, budgets=Books(Reservation(limit=FULL)))
    await bench.say("go")
    await bench.runner.run()
    (ended,) = bench.events(TurnEnded)
    assert ended.reason == "budget" and not model.prompts
    assert ended.error == "This agent today has used 2 of 2 turns. Tomorrow. Nothing was asked."
    assert (bench.state.turns, bench.state.turns_refused) == (1, 1)


async def test_a_turn_that_has_asked_and_has_no_room_to_sum_up_says_so() -> None:
    books = Books()
    bench = with_books(books, say("", call("c1")), say("done"))
    run = bench.gate.run

    async def then_full(*given: Any, **more: Any) -> Any:
        books.room = Reservation(limit=FULL)
        return await run(*given, **more)

    bench.gate.run = then_full  # type: ignore[method-assign]
    await bench.say("go")
    await bench.runner.run()
    (ended,) = bench.events(TurnEnded)
    assert ended.reason == "budget" and ended.error.endswith("Nothing more was asked.")
    assert (bench.state.turns, bench.state.turns_refused) == (1, 0)


@pytest.mark.parametrize("room", [(None, 2), (500, 2), (500, None)])
async def test_each_part_of_a_reservation_holds_by_itself(room: tuple[Any, Any]) -> None:
    books = Books(Reservation(max_output=room[0], calls=room[1]))
    calls = [call(f"c{n}") for n in range(3)]
    model = FakeModel([say("", *calls), say("done")])
    bench = Bench(model, budgets=books)
    await bench.say("go")
    await bench.runner.run()
    assert model.room[0] == room
    statuses = [e.result.status for e in bench.events(ToolFinished)]
    may = 3 if room[1] is None else room[1]
    assert sorted(statuses) == ["ok"] * may + ["skipped"] * (3 - may)
    assert books.counted == [may]


async def test_only_calls_that_were_started_count() -> None:
    books = Books()
    bench = with_books(books, say("", call("c1", "no"), call("c2"), call("c3", "no")), say("done"))
    await bench.say("go")
    await bench.runner.run()
    assert books.counted == [1] and bench.state.calls_made == 1


@pytest.mark.parametrize(
    ("source", "alone"),
    [("schedule:daily", True), ("webhook", True), ("process", True), ("api:scheduler", False)],
)
async def test_what_a_named_source_began_is_unattended_by_its_kind(
    source: str, alone: bool
) -> None:
    bench = Bench(FakeModel([say("hello")]))
    await bench.say("go", source=source)
    assert [w.unattended for w in bench.state.inbox] == [alone]
    seen: list[bool] = []
    bench.context.prepare = lambda state: seen.append(state.turn.unattended) or ()  # type: ignore
    await bench.runner.run()
    assert seen == [alone]


async def test_a_summary_between_turns_without_room_asks_nobody_and_says_which_budget() -> None:
    bench = with_books(Books(Reservation(limit=FULL)))
    bench.journal.append(CompactionRequested(by="owner"))
    await bench.runner.run()
    (limit,) = bench.events(LimitReached)
    assert limit.final and not bench.context.compactions and bench.state.turns_refused == 0
