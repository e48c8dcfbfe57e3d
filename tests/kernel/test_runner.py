"""What a session does, told through its runner."""

from __future__ import annotations

import asyncio

import pytest

from perdure.kernel.errors import Conflict, ModelError, NotFound, StorageError
from perdure.kernel.events import (
    ApprovalDecided,
    ApprovalRequested,
    ContextCompacted,
    HookActed,
    LimitReached,
    Limits,
    MessagesTaken,
    ModelFailed,
    ModelInterrupted,
    ModelRequested,
    ModelResponded,
    NoticeAdded,
    Text,
    ToolCall,
    ToolFinished,
    ToolResult,
    ToolStarted,
    TurnEnded,
    TurnStarted,
    Usage,
)
from perdure.kernel.ports import HookOutcome
from perdure.kernel.prompt import AssistantItem, CallResult, Reply, UserItem

from .world import Bench, FakeModel, answer, call, say


async def test_a_message_is_answered_and_the_session_rests() -> None:
    bench = Bench(FakeModel([say("hello")]))
    await bench.say("hi")
    await bench.runner.run()
    assert [type(e) for e in bench.events()][-4:] == [
        TurnStarted,
        ModelRequested,
        ModelResponded,
        TurnEnded,
    ]
    assert not bench.state.busy
    assert bench.state.title == "hi"
    assert [r.seq for r in bench.published] == list(range(1, bench.state.seq + 1))


async def test_nothing_is_shown_before_it_is_on_disk() -> None:
    bench = Bench(FakeModel([say("", call("c1", "pay")), say("done")]))
    seen: list[tuple[int, int]] = []
    bench.journal._publish = lambda r: seen.append((r.seq, bench.log.committed))
    await bench.say("go")
    await bench.runner.run()
    assert seen and all(seq <= committed for seq, committed in seen)


async def test_intent_is_on_disk_before_a_tool_with_effects_runs() -> None:
    bench = Bench(FakeModel([say("", call("c1", "pay")), say("done")]))
    run = bench.gate.run
    committed: list[bool] = []

    async def watched(permit, emit, *, resumed):  # type: ignore[no-untyped-def]
        seq = next(r.seq for r in bench.log.records if isinstance(r.event, ToolStarted))
        committed.append(bench.log.committed >= seq)
        return await run(permit, emit, resumed=resumed)

    bench.gate.run = watched  # type: ignore[method-assign]
    await bench.say("go")
    await bench.runner.run()
    assert committed == [True]


async def test_a_read_that_notes_what_it_has_read_is_on_disk_before_it_runs() -> None:
    """Else it would be read again under another key after a crash, and find nothing new."""
    bench = Bench(FakeModel([say("", call("c1")), say("", call("c2")), say("done")]))
    bench.gate.marks.add("c2")
    run = bench.gate.run
    committed: dict[str, bool] = {}

    async def watched(permit, emit, *, resumed):  # type: ignore[no-untyped-def]
        committed[permit.call.id] = bench.log.committed >= bench.log.records[-1].seq
        return await run(permit, emit, resumed=resumed)

    bench.gate.run = watched  # type: ignore[method-assign]
    await bench.say("go")
    await bench.runner.run()
    assert committed == {"c1": False, "c2": True}


async def test_results_are_on_disk_before_the_model_sees_them() -> None:
    bench = Bench(model := FakeModel([say("", call("c1"), call("c2")), say("done")]))
    seen: list[bool] = []
    original = model.call

    async def watched(prompt, request, emit):  # type: ignore[no-untyped-def]
        last = max(
            (r.seq for r in bench.log.records if isinstance(r.event, ToolFinished)), default=0
        )
        seen.append(bench.log.committed >= last)
        return await original(prompt, request, emit)

    model.call = watched  # type: ignore[method-assign]
    await bench.say("go")
    await bench.runner.run()
    assert seen == [True, True]


async def test_reads_run_together_and_writes_in_order() -> None:
    calls = [call("r1"), call("r2"), call("w1", "pay"), call("w2", "pay"), call("r3")]
    bench = Bench(FakeModel([say("", *calls), say("done")]))
    await bench.say("go")
    await bench.runner.run()
    kinds = [(type(e).__name__, e.call) for e in bench.events(ToolStarted, ToolFinished)]
    assert kinds[:2] == [("ToolStarted", "r1"), ("ToolStarted", "r2")]
    assert bench.world.order == ["w1", "w2"]
    assert kinds.index(("ToolFinished", "w1")) < kinds.index(("ToolStarted", "w2"))
    assert kinds.index(("ToolFinished", "w2")) < kinds.index(("ToolStarted", "r3"))


async def test_a_message_during_a_turn_steers_it_at_the_next_step() -> None:
    bench: Bench

    async def interject() -> Reply:
        await bench.say("and mind the gap")
        return say("", call("c1"))

    bench = Bench(model := FakeModel([interject, say("done")]))
    await bench.say("go")
    await bench.runner.run()
    assert len(bench.events(TurnStarted)) == 1
    assert len(bench.events(MessagesTaken)) == 1
    last = model.prompts[-1][-1]
    assert isinstance(last, UserItem) and last.parts == (Text(text="and mind the gap"),)


async def test_a_queued_message_waits_for_a_turn_of_its_own() -> None:
    bench: Bench

    async def interject() -> Reply:
        await bench.say("later", mode="queue")
        return say("first done")

    bench = Bench(FakeModel([interject, say("second done")]))
    await bench.say("go")
    await bench.runner.run()
    assert len(bench.events(TurnEnded)) == 2
    assert not bench.events(MessagesTaken)


async def test_a_message_after_the_last_answer_is_not_dropped() -> None:
    bench: Bench

    async def interject() -> Reply:
        await bench.say("one more")
        return say("all done?")

    bench = Bench(FakeModel([interject, say("now done")]))
    await bench.say("go")
    await bench.runner.run()
    assert [e.text for e in bench.events(ModelResponded)] == ["all done?", "now done"]


async def test_a_burst_before_the_turn_is_taken_together() -> None:
    bench = Bench(FakeModel([say("ok")]), collect=1.5)
    await bench.say("one")
    await bench.say("two")
    await bench.say("three", mode="queue")
    await bench.runner.run()
    turns = bench.events(TurnStarted)
    assert [len(t.messages) for t in turns] == [2, 1]
    assert bench.clock.slept == [1.5, 1.5]


async def test_an_interrupting_message_leaves_the_running_tool_and_is_answered() -> None:
    bench = Bench(FakeModel([say("", call("c1", "slow"), call("c2", "pay")), say("switched")]))
    await bench.say("go")
    task = asyncio.ensure_future(bench.runner.run())
    await bench.gate.started.wait()
    await bench.say("no, this instead", mode="interrupt")
    await task
    finished = bench.events(ToolFinished)
    assert [(f.call, f.result.status) for f in finished] == [
        ("c1", "interrupted"),
        ("c2", "interrupted"),
    ]
    assert not bench.world.effects
    assert bench.events(ModelResponded)[-1].text == "switched"
    assert len(bench.events(TurnEnded)) == 1


async def test_stop_ends_the_turn_and_keeps_what_had_streamed() -> None:
    bench: Bench
    streaming = asyncio.Event()

    class Slow(FakeModel):
        async def call(self, prompt, request, emit):  # type: ignore[no-untyped-def]
            from perdure.kernel.events import TextDelta

            emit(TextDelta(request=request, text="half an ans"))
            streaming.set()
            await asyncio.Event().wait()

    bench = Bench(Slow([]))
    await bench.say("go")
    task = asyncio.ensure_future(bench.runner.run())
    await streaming.wait()
    assert await bench.inbox.stop(by="owner", reason="")
    bench.runner.wake(interrupt=True)
    await task
    assert bench.events(ModelInterrupted)[0].text == "half an ans"
    assert bench.events(TurnEnded)[0].reason == "stopped"
    assert not await bench.inbox.stop(by="owner", reason="")


async def test_a_cancelled_runner_records_nothing_so_that_the_turn_resumes() -> None:
    bench = Bench(FakeModel([say("", call("c1", "slow"))]))
    await bench.say("go")
    task = asyncio.ensure_future(bench.runner.run())
    await bench.gate.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not bench.events(ToolFinished, TurnEnded)


async def test_approvals_of_a_response_come_together_and_are_awaited() -> None:
    calls = [call("c1", "ask_pay"), call("c2"), call("c3", "ask_pay")]
    bench = Bench(FakeModel([say("", *calls), say("done")]))
    await bench.say("go")
    task = asyncio.ensure_future(bench.runner.run())
    await bench.until(ApprovalRequested, 2)
    first, second = (e.approval for e in bench.events(ApprovalRequested))
    assert not bench.events(ToolStarted)
    await bench.inbox.decide([answer(first, "allow")])
    bench.runner.wake()
    await bench.until(ToolFinished, 2)
    await bench.inbox.decide([answer(second, "deny", note="too dear")])
    bench.runner.wake()
    await task
    results = {e.call: e.result for e in bench.events(ToolFinished)}
    assert [results[c].status for c in ("c1", "c2", "c3")] == ["ok", "ok", "denied"]
    assert results["c3"].text == "too dear"
    assert sum(bench.world.effects.values()) == 1


async def test_an_approval_is_answered_once_and_only_as_offered() -> None:
    bench = Bench(FakeModel([say("", call("c1", "ask_pay")), say("done")]))
    await bench.say("go")
    task = asyncio.ensure_future(bench.runner.run())
    await bench.until(ApprovalRequested)
    approval = bench.events(ApprovalRequested)[0].approval
    with pytest.raises(NotFound):
        await bench.inbox.decide([answer("a.none", "allow")])
    with pytest.raises(Conflict):
        await bench.inbox.decide([answer(approval, "allow", "always")])
    await bench.inbox.decide([answer(approval, "allow")])
    with pytest.raises(NotFound):
        await bench.inbox.decide([answer(approval, "deny")])
    bench.runner.wake()
    await task
    assert len(bench.events(ApprovalDecided)) == 1


async def test_an_approval_for_the_session_is_not_asked_again() -> None:
    plan = [say("", call("c1", "ask_pay")), say("", call("c2", "ask_pay")), say("done")]
    bench = Bench(FakeModel(plan))
    await bench.say("go")
    task = asyncio.ensure_future(bench.runner.run())
    await bench.until(ApprovalRequested)
    approval = bench.events(ApprovalRequested)[0].approval
    await bench.inbox.decide([answer(approval, "allow", "session")])
    bench.runner.wake()
    await task
    assert len(bench.events(ApprovalRequested)) == 1
    assert sum(bench.world.effects.values()) == 2


async def test_failures_are_events_with_growing_delays_and_honour_retry_after() -> None:
    failures = [
        ModelError(kind="overloaded", status=529),
        ModelError(kind="rate_limited", status=429, retry_after=40.0),
        ModelError(kind="cut", partial="so f"),
        say("at last"),
    ]
    bench = Bench(FakeModel([lambda: _value(failures)]))
    await bench.say("go")
    await bench.runner.run()
    failed = bench.events(ModelFailed)
    assert [f.kind for f in failed] == ["overloaded", "rate_limited", "cut"]
    assert failed[2].partial == "so f"
    assert 0.5 <= bench.clock.slept[0] <= 1
    assert bench.clock.slept[1] == pytest.approx(40.0)
    assert [r.attempt for r in bench.events(ModelRequested)] == [1, 2, 3, 4]
    assert bench.events(TurnEnded)[0].reason == "done"


async def _value(value):  # type: ignore[no-untyped-def]
    return value


async def test_a_fallback_takes_over_also_after_a_cut_stream() -> None:
    bad = FakeModel([lambda: _value(ModelError(kind="cut"))], name="bad/one")
    good = FakeModel([say("from the other")], name="good/one")
    bench = Bench(bad, good)
    await bench.say("go")
    await bench.runner.run()
    assert [f.fallback for f in bench.events(ModelFailed)] == [None, None, 1]
    assert bench.events(ModelResponded)[0].model == "good/one"
    assert bench.events(TurnEnded)[0].reason == "done"


async def test_a_hopeless_failure_ends_the_turn_with_its_message() -> None:
    bench = Bench(FakeModel([lambda: _value(ModelError("bad key", kind="auth", hint="login"))]))
    await bench.say("go")
    await bench.runner.run()
    ended = bench.events(TurnEnded)[0]
    assert ended.reason == "failed" and "bad key" in ended.error and "login" in ended.error
    await bench.say("again")
    await bench.runner.run()
    assert len(bench.events(TurnEnded)) == 2


async def test_a_context_overflow_compacts_and_tries_again() -> None:
    answers = [ModelError(kind="context_overflow", status=400), say("fits now")]
    bench = Bench(FakeModel([lambda: _value(answers)]))
    await bench.say("go")
    await bench.runner.run()
    assert bench.events(ContextCompacted)
    assert bench.events(ModelResponded)[0].text == "fits now"


async def test_at_a_limit_tools_are_withdrawn_and_the_model_sums_up() -> None:
    plan = [say("", call(f"c{i}")) for i in range(3)] + [say("", call("c9")), say("never")]
    bench = Bench(model := FakeModel(plan), limits=Limits(rounds=3))
    await bench.say("go")
    await bench.runner.run()
    assert bench.events(LimitReached)[0].limit == "rounds"
    assert model.tools == [True, True, True, False]
    assert bench.events(TurnEnded)[0].reason == "limit"
    assert bench.events(ToolFinished)[-1].result.status == "skipped"


async def test_a_cost_limit_counts_what_the_calls_cost() -> None:
    dear = Reply(
        model="m", parts=(call("c1"),), stop="tools", cost_usd=0.5, usage=Usage(input=10, output=5)
    )
    bench = Bench(FakeModel([dear, say("sum")]), limits=Limits(cost_usd=0.4))
    await bench.say("go")
    await bench.runner.run()
    assert bench.events(LimitReached)[0].limit == "cost_usd"
    assert bench.state.cost_usd == 0.5


async def test_the_same_key_is_accepted_once() -> None:
    bench = Bench(FakeModel([say("ok")]))
    first = await bench.say("hi", key="tg:1")
    second = await bench.say("hi", key="tg:1")
    assert second.duplicate and second.message == first.message
    await bench.runner.run()
    assert bench.state.messages == 1


async def test_a_defect_in_a_step_ends_the_turn_with_every_call_answered() -> None:
    bench = Bench(FakeModel([say("", call("c1"), call("c2", "boom")), say("never")]))
    await bench.say("go")
    await bench.runner.run()
    assert bench.events(TurnEnded)[0].reason == "failed"
    assert "a defect in the gate" in bench.events(TurnEnded)[0].error
    await bench.say("again")
    await bench.runner.run()
    assert bench.events(TurnEnded)[-1].reason == "done"


async def test_a_refused_call_has_its_result_and_the_turn_goes_on() -> None:
    bench = Bench(FakeModel([say("", call("c1", "no"), call("c2")), say("ok")]))
    await bench.say("go")
    await bench.runner.run()
    statuses = {e.call: e.result.status for e in bench.events(ToolFinished)}
    assert statuses == {"c1": "denied", "c2": "ok"}


async def test_a_full_disk_acknowledges_nothing() -> None:
    bench = Bench(FakeModel([say("ok")]))
    bench.log.broken = True
    seq = bench.state.seq
    with pytest.raises(StorageError):
        await bench.say("hi")
    assert bench.state.seq == seq and not bench.state.inbox


class Hooked:
    """Hooks given as functions by point."""

    def __init__(self, **hooks: object) -> None:
        self.hooks = hooks

    def wants(self, point: str) -> bool:
        return point in self.hooks

    async def fire(self, point, value):  # type: ignore[no-untyped-def]
        return self.hooks[point](value)


async def test_hooks_rewrite_block_and_force_a_step() -> None:
    again = iter(["check your work", ""])

    def no_secrets(m):  # type: ignore[no-untyped-def]
        if "forbidden" in m.parts[0].text:
            return HookOutcome(m, block="not here")
        import msgspec

        return HookOutcome(msgspec.structs.replace(m, parts=(Text(text="rewritten"),)))

    def result(r):  # type: ignore[no-untyped-def]
        import msgspec

        act = HookActed(hook="h", point="on_tool_result", action="rewrote")
        changed = ToolResult(parts=(Text(text="masked"),))
        return HookOutcome(msgspec.structs.replace(r, result=changed), acts=(act,))

    hooks = Hooked(
        on_user_message=no_secrets,
        before_tool=lambda c: HookOutcome(
            ToolCall(id=c.id, name=c.name, arguments={"path": "safe"})
        ),
        on_tool_result=result,
        on_turn_end=lambda e: HookOutcome(e, again=next(again, "")),
    )
    bench = Bench(
        model := FakeModel([say("", call("c1", "pay")), say("done"), say("checked")]), hooks=hooks
    )
    await bench.say("hello")
    await bench.say("forbidden")
    await bench.runner.run()
    assert bench.events(TurnStarted)[0].blocked
    assert model.prompts[0][0].parts == (Text(text="rewritten"),)  # type: ignore[union-attr]
    assert bench.events(ToolStarted)[0].arguments == {"path": "safe"}
    assert bench.events(ToolFinished)[0].result.text == "masked"
    assert [e.text for e in bench.events(NoticeAdded) if e.audience == "model"] == [
        "check your work"
    ]
    assert bench.events(ModelResponded)[-1].text == "checked"


async def test_a_turn_whose_only_message_is_blocked_ends_without_a_model_call() -> None:
    hooks = Hooked(on_user_message=lambda m: HookOutcome(m, block="no"))
    bench = Bench(FakeModel([say("never")]), hooks=hooks)
    await bench.say("x")
    await bench.runner.run()
    assert bench.events(TurnEnded)[0].reason == "blocked"
    assert not bench.events(ModelRequested)


async def test_a_reply_a_hook_changed_loses_its_native_form() -> None:
    import msgspec

    from perdure.kernel.events import Native

    native = Native(format="x", body=msgspec.Raw(b"{}"))
    reply = Reply(model="m", parts=(Text(text="a"),), stop="end", native=native)

    def change(r):  # type: ignore[no-untyped-def]
        return HookOutcome(msgspec.structs.replace(r, parts=(Text(text="b"),)))

    bench = Bench(FakeModel([reply]), hooks=Hooked(on_model_response=change))
    await bench.say("x")
    await bench.runner.run()
    responded = bench.events(ModelResponded)[0]
    assert responded.text == "b" and responded.native is None


async def test_a_slow_result_of_one_read_does_not_hold_back_the_record_of_another() -> None:
    bench = Bench(FakeModel([say("", call("r1"), call("r2")), say("ok")]))
    await bench.say("go")
    await bench.runner.run()
    result = bench.context.items[2]
    assert [r.call for r in result.results] == ["r1", "r2"]  # type: ignore[union-attr]
    assert isinstance(bench.context.items[1], AssistantItem)
    assert isinstance(result.results[0], CallResult)  # type: ignore[union-attr]


async def test_a_stop_before_the_turn_began_stops_it() -> None:
    bench = Bench(model := FakeModel([say("never")]))
    await bench.say("go")
    assert await bench.inbox.stop(by="owner", reason="")
    await bench.runner.run()
    assert bench.events(TurnEnded)[0].reason == "stopped"
    assert not model.prompts
    await bench.say("now")
    await bench.runner.run()
    assert bench.events(TurnEnded)[1].reason == "done"


async def test_what_was_said_before_a_stop_is_stopped_too_and_what_comes_later_is_answered() -> (
    None
):
    bench = Bench(FakeModel([say("", call("c1", "slow")), say("answered")]))
    await bench.say("go")
    task = asyncio.ensure_future(bench.runner.run())
    await bench.gate.started.wait()
    await bench.say("and this")
    await bench.inbox.stop(by="owner", reason="")
    await bench.say("but this")
    bench.runner.wake(interrupt=True)
    await task
    assert [e.reason for e in bench.events(TurnEnded)] == ["stopped", "done"]
    assert [len(t.messages) for t in bench.events(TurnStarted)] == [1, 1]
    assert len(bench.events(MessagesTaken)) == 1


class Slow(Hooked):
    """One point's hook never answers."""

    def __init__(self, point: str) -> None:
        super().__init__(**{point: None})
        self.asked = asyncio.Event()

    async def fire(self, point, value):  # type: ignore[no-untyped-def]
        self.asked.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    "point", ["before_model", "on_model_response", "before_tool", "on_tool_call", "on_tool_result"]
)
async def test_a_stop_does_not_wait_for_a_hook(point: str) -> None:
    hooks = Slow(point)
    bench = Bench(FakeModel([say("", call("c1", "pay")), say("never")]), hooks=hooks)
    await bench.say("go")
    task = asyncio.ensure_future(bench.runner.run())
    await hooks.asked.wait()
    await bench.inbox.stop(by="owner", reason="")
    bench.runner.wake(interrupt=True)
    await asyncio.wait_for(task, 5)
    assert bench.events(TurnEnded)[0].reason == "stopped"
    finished = [e.result.status for e in bench.events(ToolFinished)]
    expected = {
        "before_tool": ["interrupted"],
        "on_tool_call": ["interrupted"],
        "on_tool_result": ["ok"],
    }
    assert finished == expected.get(point, [])


async def test_a_reply_that_a_hook_keeps_back_was_paid_all_the_same() -> None:
    dear = Reply(model="m", parts=(Text(text="x"),), stop="end", cost_usd=0.5, usage=Usage(input=9))
    bench = Bench(
        FakeModel([dear]), hooks=Hooked(on_model_response=lambda r: HookOutcome(r, block="no"))
    )
    await bench.say("go")
    await bench.runner.run()
    assert bench.state.cost_usd == 0.5 and bench.state.usage.input == 9
    assert bench.events(ModelFailed)[0].request == bench.events(ModelRequested)[0].request


async def test_a_duplicate_gets_the_receipt_of_the_first() -> None:
    bench = Bench(FakeModel([say("ok")]))
    first = await bench.say("hi", key="k")
    await bench.runner.run()
    again = await bench.say("hi", key="k")
    assert (again.message, again.seq, again.duplicate) == (first.message, first.seq, True)


async def test_calls_that_share_an_id_each_have_their_own_result() -> None:
    bench = Bench(model := FakeModel([say("", call("x"), call("x-2"), call("x")), say("ok")]))
    await bench.say("go")
    await bench.runner.run()
    assert sorted(e.call for e in bench.events(ToolFinished)) == ["x", "x-2", "x-3"]
    assert len(model.prompts) == 2


async def test_thousands_of_calls_in_one_reply_are_capped() -> None:
    calls = [call(f"c{n}") for n in range(1_000)]
    bench = Bench(FakeModel([say("", *calls), say("ok")]))
    await bench.say("go")
    await bench.runner.run()
    statuses = [e.result.status for e in bench.events(ToolFinished)]
    assert statuses.count("ok") == 256 and statuses.count("skipped") == 744
    assert bench.events(TurnEnded)[0].reason == "done"


async def test_who_watches_sees_that_a_turn_has_begun_while_the_model_thinks() -> None:
    bench: Bench
    shown: list[list[type]] = []

    async def think() -> Reply:
        shown.append([type(r.event) for r in bench.published])
        return say("hm")

    bench = Bench(FakeModel([think]))
    await bench.say("go")
    await bench.runner.run()
    assert shown[0][-2:] == [TurnStarted, ModelRequested]
