"""A question that nobody answers in time counts as denied, also if the process was away meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.kernel.decide import UNANSWERED, Await, CloseCalls, decide
from perdure.kernel.errors import Conflict, NotFound
from perdure.kernel.events import (
    ApprovalDecided,
    ApprovalRequested,
    Record,
    SessionForked,
    SessionStarted,
    ToolFinished,
    TurnEnded,
)
from perdure.kernel.state import State, evolve

from .world import START, Bench, Crash, FakeModel, World, answer, call, say


def expiring(bench: Bench, seconds: float) -> Bench:
    bench.gate.expires = lambda: bench.clock.now() + timedelta(seconds=seconds)
    return bench


async def test_a_question_that_expires_closes_its_call_and_the_turn_goes_on() -> None:
    bench = expiring(Bench(FakeModel([say("", call("c1", "ask_pay")), say("then not")])), 60)
    await bench.say("go")
    await bench.runner.run()
    (finished,) = bench.events(ToolFinished)
    assert (finished.result.status, finished.result.text) == ("denied", UNANSWERED)
    assert bench.events(TurnEnded)[0].reason == "done"
    assert not bench.state.approvals
    assert not bench.world.effects
    assert bench.clock.time == 60


async def test_it_waits_for_no_longer_than_the_first_of_several_to_expire() -> None:
    bench = Bench(FakeModel([say("", call("c1", "ask_pay"), call("c2", "ask_run")), say("ok")]))
    times = iter((500, 60))
    bench.gate.expires = lambda: bench.clock.now() + timedelta(seconds=next(times))
    await bench.say("go")
    await bench.runner.run()
    assert bench.clock.slept[0] == 60
    assert [e.call for e in bench.events(ToolFinished)] == ["c2", "c1"]


async def test_an_answer_after_the_expiry_is_a_conflict_and_changes_nothing() -> None:
    bench = expiring(Bench(FakeModel([say("", call("c1", "ask_pay")), say("done")])), 60)
    await bench.say("go")
    stop = asyncio.Event()
    bench.clock.sleep = lambda seconds: stop.wait()  # type: ignore[assignment,method-assign]
    task = asyncio.ensure_future(bench.runner.run())
    await bench.until(ApprovalRequested)
    (asked,) = bench.events(ApprovalRequested)
    bench.clock.time += 61  # the machine slept; no timer has told yet
    with pytest.raises(Conflict, match="expired at"):
        await bench.inbox.decide([answer(asked.approval)])
    bench.runner.wake()
    await task
    with pytest.raises(NotFound):
        await bench.inbox.decide([answer(asked.approval)])
    assert not bench.events(ApprovalDecided)
    assert not bench.world.effects


async def test_an_expiry_that_passed_while_nothing_ran_counts_at_the_next_start() -> None:
    plan = [say("", call("c1", "ask_pay")), say("done")]
    bench = expiring(Bench(FakeModel(plan)), 3_600)
    await bench.say("go")
    bench.clock.sleep = lambda seconds: asyncio.Event().wait()  # type: ignore[assignment,method-assign]
    task = asyncio.ensure_future(bench.runner.run())
    await bench.until(ApprovalRequested)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    later = Bench(FakeModel(plan), records=bench.log.records, seed=1)
    assert isinstance(decide(later.state, later.clock.now()), Await)
    later.clock.time += 3_600
    step = decide(later.state, later.clock.now())
    assert isinstance(step, CloseCalls) and step.status == "denied"
    await later.runner.run()
    assert later.events(TurnEnded)[0].reason == "done"
    assert not later.world.effects


async def test_several_answers_count_together_or_not_at_all() -> None:
    calls = [call("c1", "ask_pay"), call("c2", "ask_run")]
    bench = Bench(FakeModel([say("", *calls), say("done")]))
    await bench.say("go")
    task = asyncio.ensure_future(bench.runner.run())
    await bench.until(ApprovalRequested, 2)
    first, second = (e.approval for e in bench.events(ApprovalRequested))
    for wrong in (
        [answer(first), answer("a.none")],
        [answer(first), answer(second, scope="always")],
        [answer(first), answer(first, "deny")],
    ):
        with pytest.raises((NotFound, Conflict)):
            await bench.inbox.decide(wrong)
    assert set(bench.state.approvals) == {first, second}
    await bench.inbox.decide([answer(first), answer(second, "deny", note="no")])
    bench.runner.wake()
    await task
    results = {e.call: e.result.status for e in bench.events(ToolFinished)}
    assert results == {"c1": "ok", "c2": "denied"}


def test_a_fork_inherits_no_grant_and_nothing_that_was_vouched_for() -> None:
    at, state = START, State()
    for seq, event in enumerate(
        (
            SessionStarted(session="s", agent="a", workdir="/"),
            ApprovalRequested(
                approval="a", call="c", tool="t", arguments={}, reason="", endorses=("x",)
            ),
            answer("a", scope="data"),
        ),
        1,
    ):
        evolve(state, Record(seq=seq, at=at, event=event))
    assert state.endorsed == ["x"]
    evolve(state, Record(seq=4, at=at, event=SessionForked(session="f", parent="s", at=3)))
    assert (state.endorsed, state.grants) == ([], [])


@given(
    tools=st.lists(st.sampled_from(("read", "run", "ask_run", "ask_pay")), min_size=1, max_size=4),
    crashes=st.lists(st.integers(0, 8), max_size=4),
    away=st.lists(st.sampled_from((0.0, 30.0, 90.0)), min_size=5, max_size=5),
    data=st.data(),
)
def test_crashes_and_expiries_leave_every_call_one_result_and_repeat_no_effect(
    tools: list[str], crashes: list[int], away: list[float], data: Any
) -> None:
    async def scenario() -> None:
        plan = [say("", *(call(f"c{n}", tool) for n, tool in enumerate(tools))), say("done")]
        world = World()
        records: list[Record] = []
        for n, crash in enumerate([*crashes, None]):
            bench = Bench(
                FakeModel(plan),
                world=world,
                records=records,
                die_after=None if crash is None else len(records) + 1 + crash,
                seed=n,
            )
            expiring(bench, 60)
            bench.clock.time += away[n]
            with contextlib.suppress(Crash):
                if not bench.state.messages:
                    await bench.say("go", key="k")
                await bench.runner.run()
            kept = data.draw(st.integers(bench.log.committed, len(bench.log.records)))
            records = bench.log.records[:kept]
        finished = [r.event.call for r in records if isinstance(r.event, ToolFinished)]
        assert sorted(finished) == [f"c{n}" for n in range(len(tools))]
        assert all(n <= 1 for n in world.effects.values())
        asked = {f"c{n}" for n, tool in enumerate(tools) if tool.startswith("ask_")}
        for record in records:
            if isinstance(record.event, ToolFinished) and record.event.call in asked:
                assert record.event.result.status == "denied"

    asyncio.run(scenario())
