"""The tools' steps: judge, record intent, run, record the result, in that order (D2)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from .desk import Desk, shown, told
from .events import CallId, ResultStatus, ToolCall, ToolFinished, ToolResult, ToolStarted
from .labels import UNKNOWN
from .ports import Allow, Ask, Refuse
from .prompt import CallResult
from .state import Call

CALLS_PER_REPLY = 256
"""Those beyond are skipped, and the model is told so."""


class Acting:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._calls: dict[CallId, ToolCall] = {}
        """Calls as hooks left them."""
        self._permits: dict[CallId, Allow] = {}
        self._response = 0
        """The response that both belong to."""

    async def execute(self, calls: Sequence[Call]) -> None:
        """Judge all of these, so that approvals come together; then run the first that may."""
        state = self._desk.journal.state
        if state.response != self._response:
            self._calls, self._permits, self._response = {}, {}, state.response
        self._cap(calls)
        batch: list[tuple[Allow, bool]] = []
        blocked = False
        for n, call in enumerate(calls):
            if n % 64 == 63:
                await asyncio.sleep(0)  # other sessions are alive too
            if call.finished:
                continue
            if call.waiting:
                blocked = True
            elif call.started is not None and self._doubtful(call.started):
                self._in_doubt(call, call.started)
            elif permit := await self._judge(call):
                # Invariant: nothing runs before a call that comes earlier, unless both only read.
                if not blocked and (not batch or (permit.parallel and batch[-1][0].parallel)):
                    batch.append((permit, call.started is not None))
                else:
                    blocked = True
            elif not call.finished:
                blocked = True
        if batch and state.turn is not None and not state.turn.stop:
            await self._run(batch)

    def _cap(self, calls: Sequence[Call]) -> None:
        """No more than a sane number of one reply's calls run."""
        state = self._desk.journal.state
        if len(state.calls) > CALLS_PER_REPLY:
            allowed = set(list(state.calls)[:CALLS_PER_REPLY])
            over = [c for c in calls if c.call.id not in allowed and not c.finished]
            text = f"Not run: one reply may hold {CALLS_PER_REPLY} calls. Make it again if needed."
            self.close(over, "skipped", text)
        turn, asked = state.turn, state.last_request
        left = [turn.limits.calls - turn.calls] if turn and turn.limits.calls is not None else []
        if asked is not None and asked.most_calls is not None:
            left.append(asked.most_calls - sum(c.started is not None for c in state.calls.values()))
        if left:
            new = [c for c in calls if c.started is None and not c.finished]
            self.close(new[max(0, min(left)) :], "skipped", "Not run: no tool call is left.")

    def close(self, calls: Sequence[Call], status: ResultStatus, why: str) -> None:
        """Give each its result without running it."""
        for call in calls:
            self._finish(call.call, told(status, why))

    async def _judge(self, call: Call) -> Allow | None:
        """A permit, or None with the outcome on record: an approval to wait for, or a refusal."""
        desk, id_ = self._desk, call.call.id
        if (permit := self._permits.get(id_)) is not None:
            return permit
        wanted = self._calls.get(id_, call.call)
        if id_ not in self._calls and desk.hooks.wants("before_tool"):
            outcome = await desk.interruptible(desk.hooks.fire("before_tool", wanted))
            desk.record(outcome.acts)
            if outcome.block:
                self._finish(wanted, told("denied", f"Blocked by a hook: {outcome.block}"))
                return None
            wanted = msgspec.structs.replace(wanted, arguments=outcome.value.arguments)
        self._calls[id_] = wanted
        state = desk.journal.state
        verdict = await desk.gate.judge(
            wanted,
            key=self._key(id_),
            decided=call.decided,
            grants=state.grants,
            endorsed=state.endorsed,
            label=state.label,
        )
        if isinstance(verdict, Ask):
            desk.journal.append(verdict.request)
            return None
        if isinstance(verdict, Refuse):
            self._finish(wanted, verdict.result)
            return None
        self._permits[id_] = verdict
        return verdict

    def _key(self, call: CallId) -> str:
        """The idempotency key of a call: the same after every restart."""
        state = self._desk.journal.state
        return f"{state.session}.{state.response}.{call}"

    async def _run(self, batch: Sequence[tuple[Allow, bool]]) -> None:
        desk = self._desk
        events = [self._intent(permit) for permit, resumed in batch if not resumed]
        lasting = any(p.started.effects or p.marks for p, resumed in batch if not resumed)
        if any("writes" in event.effects for event in events):
            await self._checkpoint()
        if events:
            desk.journal.append(*events)
        if lasting:
            await desk.journal.commit()  # D2: intent before effect
        # Most replies make one call: it needs no task of its own. Invariant: both ways end alike, with
        # what ran on record, and Interrupted where they were broken off.
        single = len(batch) == 1
        await desk.interruptible(self._run_one(*batch[0]) if single else self._together(batch))

    async def _together(self, batch: Sequence[tuple[Allow, bool]]) -> None:
        tasks = [asyncio.ensure_future(self._run_one(p, resumed)) for p, resumed in batch]
        cut: asyncio.CancelledError | None = None
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as error:
            # Each task records its own interruption; a result that was already there stays.
            cut = error
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled():
                task.result()
        if cut is not None:
            raise cut

    async def _checkpoint(self) -> None:
        """Before the turn's first change to anything."""
        desk = self._desk
        turn = desk.journal.state.turn
        if desk.checkpointer is None or turn is None or turn.checkpointed:
            return
        work = desk.checkpointer.take(turn.turn, desk.journal.state.seq)
        taken = await desk.interruptible(work)
        if taken is not None:
            desk.journal.append(taken)

    def _intent(self, permit: Allow) -> ToolStarted:
        intent, asked = permit.started, self._desk.journal.state.calls[permit.call.id].call
        changed = permit.call.arguments != asked.arguments
        arguments = permit.call.arguments if changed else None
        return msgspec.structs.replace(intent, arguments=arguments, boot=self._desk.boot)

    async def _run_one(self, permit: Allow, resumed: bool) -> None:
        desk, call, began = self._desk, permit.call, self._desk.clock.monotonic()
        if desk.hooks.wants("on_tool_call"):
            desk.record((await desk.hooks.fire("on_tool_call", call)).acts)
        try:
            result = await desk.gate.run(permit, desk.emit, resumed=resumed)
        except asyncio.CancelledError:
            if desk.interruption.requested:  # not a shutdown, after which the call is resumed
                text = "Interrupted; it may have done part of its work."
                self._finish(call, told("interrupted", text), began)
                await desk.journal.commit()
            raise
        try:
            result = await self._screened(call, result)
        finally:  # what has happened is on record, even if the owner stops while a hook looks at it
            self._finish(call, result, began)
        await desk.journal.commit()  # D2: outcome before use

    async def _screened(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """The result, after the owner's hooks."""
        desk = self._desk
        if not desk.hooks.wants("on_tool_result"):
            return result
        seen = CallResult(call=call.id, tool=call.name, seq=0, result=result)
        outcome = await desk.hooks.fire("on_tool_result", seen)
        desk.record(outcome.acts)
        if outcome.block:
            return told("denied", f"A hook withheld the result: {outcome.block}")
        # Hooks cannot wash what they have seen.
        rewritten, label = outcome.value.result, result.label or UNKNOWN
        label = label.join(rewritten.label) if rewritten.label else label
        return msgspec.structs.replace(
            rewritten, label=label, usage=result.usage, cost_usd=result.cost_usd
        )

    def _finish(self, call: ToolCall, result: ToolResult, began: float | None = None) -> None:
        desk = self._desk
        ms = 0 if began is None else round((desk.clock.monotonic() - began) * 1000)
        self._permits.pop(call.id, None)
        desk.journal.append(ToolFinished(call=call.id, tool=call.name, result=result, ms=ms))
        calls, asked = desk.journal.state.calls.values(), desk.journal.state.last_request
        if desk.budgets is not None and asked is not None and all(c.finished for c in calls):
            started = sum(c.started is not None for c in calls)
            desk.budgets.closed(asked.request, calls=started)

    def _doubtful(self, started: ToolStarted) -> bool:
        return self._desk.gate.recovery(started) == "doubt"

    def _in_doubt(self, call: Call, started: ToolStarted) -> None:
        """D4: an effect that was under way at the crash is never repeated silently."""
        arguments = shown(started.arguments or call.call.arguments)
        when = f" at {call.started_at:%Y-%m-%d %H:%M:%S} UTC" if call.started_at else ""
        text = (
            f"{started.tool} {arguments}, begun{when}, was under way when the runtime stopped: it may or "
            "may not have happened. Check before doing it again."
        )
        self._finish(call.call, told("in_doubt", text))
        self._desk.tell_owner(text, level="warning")
