"""What happens next: a pure function of what is true and what time it is.

Start, resumption after a crash, an answered approval, a message in the middle of a turn: all of them
are this function applied to the state that the log gives. There is no other path.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from .events import LimitReached, MessageId, ResultStatus, TurnEndReason
from .limits import reached, told, used_up
from .state import Call, Delivery, State, Waiting

UNANSWERED = (
    "Not run: the owner was asked and did not answer before the question expired, which counts as "
    "denied. Go on without it, or say what it was needed for."
)


class Rest(msgspec.Struct, frozen=True):
    """Nothing to do until a message comes."""


class Await(msgspec.Struct, frozen=True):
    """The owner must decide on approvals first, or let one of them expire."""

    until: datetime | None


class Pause(msgspec.Struct, frozen=True):
    until: datetime


class StartTurn(msgspec.Struct, frozen=True):
    messages: tuple[MessageId, ...]


class TakeMessages(msgspec.Struct, frozen=True):
    messages: tuple[MessageId, ...]


class Execute(msgspec.Struct, frozen=True):
    """Judge these calls, and run those that may run, in order."""

    calls: tuple[Call, ...]


class CloseCalls(msgspec.Struct, frozen=True):
    """Give each of these its result without running it."""

    calls: tuple[Call, ...]
    status: ResultStatus
    why: str


class Withdraw(msgspec.Struct, frozen=True):
    """A limit is reached: tell the model to sum up without tools."""

    limit: LimitReached


class Compact(msgspec.Struct, frozen=True):
    pass


class CallModel(msgspec.Struct, frozen=True):
    tools: bool


class Deliver(msgspec.Struct, frozen=True):
    delivery: Delivery


class EndTurn(msgspec.Struct, frozen=True):
    reason: TurnEndReason
    error: str = ""


Step = (
    Rest
    | Await
    | Pause
    | StartTurn
    | TakeMessages
    | Execute
    | CloseCalls
    | Withdraw
    | Compact
    | CallModel
    | Deliver
    | EndTurn
)


def decide(state: State, now: datetime) -> Step:
    turn = state.turn
    if turn is None:
        return _between_turns(state, now)

    interrupted = any(w.mode == "interrupt" for w in state.inbox)
    if calls := state.open_calls():
        if turn.stop:
            return CloseCalls(tuple(calls), "interrupted", "The user stopped the turn.")
        if interrupted:
            return CloseCalls(tuple(calls), "interrupted", "Interrupted by a new message.")
        if turn.limit:
            return CloseCalls(tuple(calls), "skipped", used_up(turn))
        asked = state.approvals
        late = [c for c in calls if c.waiting and c.approval and asked[c.approval].expired(now)]
        if late:
            return CloseCalls(tuple(late), "denied", UNANSWERED)
        until = min((r.expires for r in asked.values() if r.expires), default=None)
        return Await(until) if calls[0].waiting else Execute(tuple(calls))

    # Invariant from here on: every call of the context has its one result (D3).
    if turn.stop:
        # What was said before the stop belongs to the stopped turn; what came later has its own.
        before = tuple(w.message for w in state.inbox if w.mode != "queue" and w.seq < turn.stop)
        return TakeMessages(before) if before else EndTurn("stopped")
    if turn.failed:
        return EndTurn("failed", turn.failed)
    if turn.spent is not None:
        more = "more " if turn.rounds or turn.attempts else ""
        return EndTurn("budget", f"{told(turn.spent)} Nothing {more}was asked.")
    if not turn.limit and (steering := _steering(state.inbox)):
        return TakeMessages(steering)
    if not turn.answer_due:
        whose: TurnEndReason = "limit" if turn.limit_scope == "turn" else "budget"
        return EndTurn(whose if turn.limit else "blocked" if turn.rounds == 0 else "done")
    if turn.retry_at is not None and now < turn.retry_at:
        return Pause(turn.retry_at)
    if turn.overflowed or state.compaction_due:
        return Compact()
    if not turn.limit and (limit := reached(turn, now)):
        return Withdraw(limit)
    return CallModel(tools=not turn.limit)


def _between_turns(state: State, now: datetime) -> Step:
    waiting = state.due_deliveries()
    for delivery in waiting:
        if delivery.retry_at is None or delivery.retry_at <= now:
            return Deliver(delivery)
    if state.inbox:
        return StartTurn(_burst(state.inbox))
    if state.compaction_due:
        return Compact()
    times = [d.retry_at for d in waiting if d.retry_at is not None]
    return Pause(min(times)) if times else Rest()


def _burst(inbox: list[Waiting]) -> tuple[MessageId, ...]:
    """The first message and those after it, up to one that asked for a turn of its own."""
    taken = [inbox[0].message]
    for waiting in inbox[1:]:
        if waiting.mode == "queue":
            break
        taken.append(waiting.message)
    return tuple(taken)


def _steering(inbox: list[Waiting]) -> tuple[MessageId, ...]:
    return tuple(w.message for w in inbox if w.mode != "queue")
