"""Crash anywhere, go on, end where the uninterrupted run ends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from perdure.kernel.events import (
    ApprovalRequested,
    MessageReceived,
    MessagesTaken,
    ModelResponded,
    Record,
    ToolCall,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnStarted,
)
from perdure.kernel.prompt import Reply
from perdure.kernel.state import State, evolve

from .world import Bench, Books, Crash, FakeModel, World, answer, call, say, story

TOOLS = ("read", "run", "pay", "no", "ask_run", "ask_pay")
CERTAIN = ("read", "run", "no", "ask_run")
"""Tools whose outcome a crash cannot put in doubt."""


@st.composite
def plans(draw: st.DrawFn, tools: tuple[str, ...]) -> list[Reply]:
    """Rounds of random calls, then an answer; for one to three turns."""
    plan: list[Reply] = []
    for turn in range(draw(st.integers(1, 3))):
        for round_ in range(draw(st.integers(0, 3))):
            names = draw(st.lists(st.sampled_from(tools), min_size=1, max_size=4))
            calls = [call(f"c{turn}.{round_}.{i}", name) for i, name in enumerate(names)]
            plan.append(say("", *calls))
        plan.append(say(f"answer {turn}"))
    return plan


async def finish(bench: Bench, messages: int) -> None:
    """Send what was not yet accepted, answer approvals with yes, run to rest."""
    task = asyncio.ensure_future(bench.runner.run())
    try:
        await approve(bench, task)
        await task
        for n in range(bench.state.messages, messages):
            await bench.say(f"message {n}", key=f"k{n}")
            task = asyncio.ensure_future(bench.runner.run())
            await approve(bench, task)
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def approve(bench: Bench, task: asyncio.Future[None]) -> None:
    for _ in range(10_000):
        if task.done():
            return
        for approval in list(bench.state.approvals):
            await bench.inbox.decide([answer(approval, "allow")])
            bench.runner.wake()
        await asyncio.sleep(0)
    raise AssertionError("did not come to rest")


def turns_of(plan: list[Reply]) -> int:
    return sum(not any(isinstance(p, ToolCall) for p in reply.parts) for reply in plan)


async def uninterrupted(plan: list[Reply]) -> tuple[list[Record], World]:
    bench = Bench(FakeModel(plan))
    await finish(bench, turns_of(plan))
    return bench.log.records, bench.world


def check(records: list[Record], messages: int) -> None:
    taken = [
        m
        for r in records
        if isinstance(r.event, TurnStarted | MessagesTaken)
        for m in r.event.messages
    ]
    sent = [r.event.message for r in records if isinstance(r.event, MessageReceived)]
    assert taken == sent and len(sent) == messages, "a message was lost or taken twice"
    finished = [r.event.call for r in records if isinstance(r.event, ToolFinished)]
    assert len(finished) == len(set(finished)), "a call has two results"
    assert sum(isinstance(r.event, TurnEnded) for r in records) == messages


@given(plan=plans(CERTAIN), data=st.data())
def test_any_prefix_of_a_log_ends_where_the_whole_run_ended(plan: list[Reply], data: Any) -> None:
    async def scenario() -> None:
        whole, world = await uninterrupted(plan)
        cut = data.draw(st.integers(0, len(whole)))
        # What supervised commands did before the cut is in the world; those after are not.
        before = World()
        for record in whole[:cut]:
            if (
                getattr(record.event, "key", "") in world.done
                and record.event.__class__.__name__ == "ToolStarted"
            ):
                before.done[record.event.key] = "out"
                before.effects[record.event.key] = 1
        bench = Bench(FakeModel(plan), world=before, records=whole[:cut], seed=1)
        await finish(bench, turns_of(plan))
        assert story(bench.log.records) == story(whole)
        check(bench.log.records, turns_of(plan))
        assert all(n == 1 for n in before.effects.values())

    asyncio.run(scenario())


@given(
    plan=plans(TOOLS), crashes=st.lists(st.integers(0, 12), min_size=1, max_size=5), data=st.data()
)
def test_repeated_crashes_repeat_no_effect_and_lose_no_message(
    plan: list[Reply], crashes: list[int], data: Any
) -> None:
    async def scenario() -> None:
        world, records = World(), []
        for n, crash in enumerate(crashes):
            bench = Bench(
                FakeModel(plan),
                world=world,
                records=records,
                die_after=len(records) + 1 + crash,
                seed=n + 1,
            )
            with contextlib.suppress(Crash):
                await finish(bench, turns_of(plan))
            # At least what was committed survives; what was only written may.
            kept = data.draw(st.integers(bench.log.committed, len(bench.log.records)))
            records = bench.log.records[:kept]
        bench = Bench(FakeModel(plan), world=world, records=records, seed=99)
        await finish(bench, turns_of(plan))
        check(bench.log.records, turns_of(plan))
        assert all(n <= 1 for n in world.effects.values()), "an effect was repeated"
        finished = {
            r.event.call: r.event for r in bench.log.records if isinstance(r.event, ToolFinished)
        }
        wanted = {p.id: p for reply in plan for p in reply.parts if isinstance(p, ToolCall)}
        assert finished.keys() == wanted.keys()
        for id_, event in finished.items():
            if wanted[id_].name in CERTAIN and wanted[id_].name != "no":
                assert event.result.status == "ok"
            if event.result.status == "in_doubt":
                assert wanted[id_].name in ("pay", "ask_pay")

    asyncio.run(scenario())


def booked_is_started(records: list[Record], books: Books) -> None:
    for record in records:
        if isinstance(response := record.event, ModelResponded) and response.calls:
            ids = {c.id for c in response.calls}
            begun = {r.event.call for r in records if isinstance(r.event, ToolStarted)}
            assert books.booked[response.request] == len(ids & begun)


@given(plan=plans(CERTAIN), cap=st.integers(0, 6), data=st.data())
def test_a_budget_of_calls_ends_the_same_turns_wherever_a_log_is_cut(
    plan: list[Reply], cap: int, data: Any
) -> None:
    async def scenario() -> None:
        first = Bench(FakeModel(plan), budgets=Books(cap))
        await finish(first, turns_of(plan))
        whole = first.log.records
        cut = data.draw(st.integers(0, len(whole)))
        before = World()
        for record in whole[:cut]:
            if isinstance(record.event, ToolStarted) and record.event.key in first.world.done:
                before.done[record.event.key] = "out"
        bench = Bench(
            FakeModel(plan), world=before, records=whole[:cut], budgets=Books(cap), seed=1
        )
        await finish(bench, turns_of(plan))
        assert story(bench.log.records) == story(whole)
        assert _ends(bench.log.records) == _ends(whole)
        assert bench.state == _folded(bench.log.records) and bench.state.calls_made <= cap
        assert bench.state.turns_refused == sum(
            reason == "budget" and not asked for reason, asked in _ends(whole)
        )
        check(bench.log.records, turns_of(plan))

    asyncio.run(scenario())


@given(
    plan=plans(TOOLS),
    cap=st.integers(0, 6),
    crashes=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    data=st.data(),
)
def test_crashes_unbook_no_call_that_ran_and_book_none_that_did_not(
    plan: list[Reply], cap: int, crashes: list[int], data: Any
) -> None:
    async def scenario() -> None:
        world, books, records = World(), Books(cap), []
        for n, crash in enumerate(crashes):
            bench = Bench(
                FakeModel(plan),
                world=world,
                records=records,
                die_after=len(records) + 1 + crash,
                budgets=books,
                seed=n + 1,
            )
            with contextlib.suppress(Crash):
                await finish(bench, turns_of(plan))
            kept = data.draw(st.integers(bench.log.committed, len(bench.log.records)))
            records = bench.log.records[:kept]
        bench = Bench(FakeModel(plan), world=world, records=records, budgets=books, seed=99)
        await finish(bench, turns_of(plan))
        check(bench.log.records, turns_of(plan))
        booked_is_started(bench.log.records, books)
        assert bench.state.calls_made <= cap

    asyncio.run(scenario())


def _ends(records: list[Record]) -> list[tuple[str, bool]]:
    """Why each turn ended, and whether a model was asked in it."""
    found, asked = [], False
    for record in records:
        match record.event:
            case TurnStarted():
                asked = False
            case ModelResponded():
                asked = True
            case TurnEnded(reason=reason):
                found.append((reason, asked))
    return found


def _folded(records: list[Record]) -> State:
    state = State()
    for record in records:
        evolve(state, record)
    return state


@given(plan=plans(TOOLS))
def test_a_snapshot_of_the_state_equals_the_fold_of_the_log(plan: list[Reply]) -> None:
    records, _ = asyncio.run(uninterrupted(plan))
    state = State()
    for record in records:
        evolve(state, record)
        again = msgspec.json.decode(msgspec.json.encode(state), type=State)
        assert again == state


@given(plan=plans(TOOLS), data=st.data())
def test_every_event_survives_its_encoding(plan: list[Reply], data: Any) -> None:
    records, _ = asyncio.run(uninterrupted(plan))
    decoder = msgspec.json.Decoder(Record)
    for record in records:
        assert decoder.decode(msgspec.json.encode(record)) == record


def test_an_open_approval_survives_a_restart() -> None:
    async def scenario() -> None:
        plan = [say("", call("c1", "ask_pay")), say("done")]
        bench = Bench(FakeModel(plan))
        await bench.say("go")
        task = asyncio.ensure_future(bench.runner.run())
        await bench.until(ApprovalRequested)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        later = Bench(FakeModel(plan), records=bench.log.records, seed=1)
        await finish(later, 1)
        assert len(later.events(ApprovalRequested)) == 1
        assert later.events(TurnEnded)[0].reason == "done"

    asyncio.run(scenario())
