"""The fold: what is true of a session now, computed from its events and nothing else.

`evolve` is the only writer of a State. It works in place, because a session has one state and copying
it per event would cost more than the event; folding the same records into a fresh State always gives
an equal State, which is what snapshots, forks and resumption after a crash rest on.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import msgspec

from .events import (
    AnyEvent,
    ApprovalDecided,
    ApprovalId,
    ApprovalRequested,
    CallId,
    CheckpointTaken,
    CompactionFailed,
    CompactionRequested,
    ContextCompacted,
    DeliveryEnded,
    DeliveryId,
    DeliveryQueued,
    DeliveryRetried,
    DeliveryStarted,
    DoubtSettled,
    Json,
    LimitReached,
    Limits,
    LimitScope,
    MessageId,
    MessageReceived,
    MessagesTaken,
    ModelFailed,
    ModelInterrupted,
    ModelRequested,
    ModelResponded,
    NoticeAdded,
    PrefixSet,
    Record,
    SessionConfigured,
    SessionForked,
    SessionId,
    SessionRenamed,
    SessionStarted,
    StopRequested,
    ToolCall,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnId,
    TurnStarted,
    Usage,
)
from .labels import LEAST, OWNER, UNKNOWN, Label

KEYS_KEPT = 1_000
"""How many senders' message keys are remembered for de-duplication."""


UNATTENDED = frozenset(("process", "schedule", "webhook"))
"""Kinds of messages that no person sends: what they set going has a budget of its own."""


class Call(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A tool call of the last response, until the model has seen all its results."""

    call: ToolCall
    started: ToolStarted | None = None
    started_at: datetime | None = None
    approval: ApprovalId | None = None
    decided: ApprovalDecided | None = None
    finished: bool = False

    @property
    def waiting(self) -> bool:
        """For the owner."""
        return self.approval is not None and self.decided is None and not self.finished


class Waiting(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A message in the inbox."""

    message: MessageId
    mode: Literal["steer", "queue", "interrupt"]
    seq: int
    deliver: str = ""
    unattended: bool = False
    """No person sent it."""


class Delivery(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An answer on its way out, or one that did not get there."""

    delivery: DeliveryId
    to: str
    text: str
    at: datetime
    attempts: int = 0
    started: bool = False
    """An attempt is under way, or was at a crash."""
    retry_at: datetime | None = None
    dead: Literal["", "failed", "unconfirmed"] = ""
    error: str = ""
    label: Label = UNKNOWN
    """Of the context it was written in."""


class Doubt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call that was under way at a crash: it may or may not have happened."""

    key: str
    tool: str
    arguments: dict[str, Json]
    at: datetime
    """When it had begun."""


class Turn(msgspec.Struct, kw_only=True, omit_defaults=True):
    turn: TurnId
    seq: int
    began: datetime
    limits: Limits
    messages: list[MessageId] = []
    deliver: list[str] = []
    """Channels that wait for its answer."""
    rounds: int = 0
    unattended: bool = False
    """No person began it: a process, a timer."""
    calls: int = 0
    """Tool calls that were started."""
    usage: Usage = Usage()
    cost_usd: float = 0.0
    answer_due: bool = True
    """The context's end is not yet answered by the model."""
    attempts: int = 0
    """Failed attempts since the last reply from the model now in use."""
    retry_at: datetime | None = None
    fallback: int = 0
    """Which of the agent's models is in use, 0 being its own."""
    failed: str = ""
    """The error with which the turn must end."""
    stop: int = 0
    """Number of the record that asked for the turn to stop; 0: none did."""
    limit: str = ""
    """The limit that was reached: tools are withdrawn, one last answer is asked for."""
    limit_scope: LimitScope = "turn"
    spent: LimitReached | None = None
    """A budget that left no room even for a last answer."""
    waiting_since: datetime | None = None
    waited: float = 0.0
    """Seconds spent waiting for the owner's approvals."""
    checkpointed: bool = False
    overflowed: bool = False
    """The provider refused the context as too long: compact before the next attempt."""


class State(msgspec.Struct, kw_only=True, omit_defaults=True):
    session: SessionId = SessionId("")
    agent: str = ""
    workdir: str = ""
    title: str = ""
    model: str = ""
    """The owner's choice for this session; empty: the agent's own."""
    parent: SessionId | None = None
    created: datetime | None = None
    updated: datetime | None = None
    seq: int = 0
    inbox: list[Waiting] = []
    keys: dict[str, tuple[MessageId, int]] = {}
    """Senders' keys: the message that first came with it, and its record's number."""
    stop_due: int = 0
    """A stop that was asked for when the turn was about to begin."""
    turn: Turn | None = None
    calls: dict[CallId, Call] = {}
    response: int = 0
    """Sequence number of the response that `calls` belong to."""
    approvals: dict[ApprovalId, ApprovalRequested] = {}
    """Those still open."""
    deliveries: dict[DeliveryId, Delivery] = {}
    """Those that have not arrived, dead letters included."""
    doubts: dict[str, Doubt] = {}
    """Those the owner has not settled, by idempotency key."""
    grants: list[str] = []
    """Rules the owner approved for this session."""
    endorsed: list[str] = []
    """Values the owner vouched for in this session."""
    label: Label = LEAST
    """The join of all that entered the context. It only rises: summaries and forks inherit it."""
    compaction_due: bool = False
    compaction_focus: str = ""
    failed: str = ""
    """The error with which the last turn ended."""
    turns: int = 0
    turns_refused: int = 0
    """Of these, how many a budget ended before a model was asked."""
    calls_made: int = 0
    """Tool calls that were started."""
    seconds: float = 0.0
    """Of turns that have ended, without waiting for the owner."""
    messages: int = 0
    last_request: ModelRequested | None = None
    usage: Usage = Usage()
    cost_usd: float = 0.0
    unpriced: bool = False
    """Some call had no known price: `cost_usd` is a lower bound."""

    @property
    def busy(self) -> bool:
        """Something is left to do."""
        return self.turn is not None or bool(self.inbox) or bool(self.due_deliveries())

    def due_deliveries(self) -> list[Delivery]:
        """Those still to be sent, now or later."""
        return [d for d in self.deliveries.values() if not d.dead]

    def open_calls(self) -> list[Call]:
        return [c for c in self.calls.values() if not c.finished]


def evolve(state: State, record: Record) -> State:
    """Fold one record. Total: any sequence of valid records is accepted."""
    event = record.event
    state.seq = record.seq
    state.updated = record.at
    handler = _HANDLERS.get(type(event))
    if handler is not None:
        handler(state, event, record)
    return state


def _session_started(s: State, e: SessionStarted, r: Record) -> None:
    s.session, s.agent, s.workdir, s.title = e.session, e.agent, e.workdir, e.title
    s.created = r.at


def _session_forked(s: State, e: SessionForked, r: Record) -> None:
    """A fork begins at rest: what its parent was in the middle of stays the parent's."""
    s.session, s.parent = e.session, e.parent
    s.inbox, s.turn, s.approvals, s.doubts, s.deliveries = [], None, {}, {}, {}
    s.compaction_due, s.grants, s.endorsed, s.keys, s.stop_due = False, [], [], {}, 0
    s.usage, s.cost_usd, s.unpriced = Usage(), 0.0, False
    for call in s.calls.values():
        call.finished = True


def _session_configured(s: State, e: SessionConfigured, r: Record) -> None:
    s.model = e.model


def _session_renamed(s: State, e: SessionRenamed, r: Record) -> None:
    s.title = e.title


def _message_received(s: State, e: MessageReceived, r: Record) -> None:
    alone = e.kind in UNATTENDED
    came = Waiting(message=e.message, mode=e.mode, seq=r.seq, deliver=e.deliver, unattended=alone)
    s.inbox.append(came)
    s.label = s.label.join(e.label or OWNER)
    s.messages += 1
    if e.key:
        s.keys[e.key] = (e.message, r.seq)
        if len(s.keys) > KEYS_KEPT:
            del s.keys[next(iter(s.keys))]
    if not s.title:
        s.title = _title(e)


def _title(e: MessageReceived) -> str:
    text = " ".join(p.text for p in e.parts if hasattr(p, "text"))
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"


def _taken(s: State, ids: tuple[MessageId, ...], turn: Turn | None) -> None:
    gone = set(ids)
    for waiting in s.inbox:
        if turn and waiting.deliver and waiting.message in gone:
            turn.deliver.append(waiting.deliver)
    s.inbox = [w for w in s.inbox if w.message not in gone]


def _turn_started(s: State, e: TurnStarted, r: Record) -> None:
    s.turn = Turn(turn=e.turn, seq=r.seq, began=r.at, limits=e.limits, messages=list(e.messages))
    begun = [w.unattended for w in s.inbox if w.message in e.messages]
    s.turn.unattended = bool(begun) and all(begun)
    s.turn.stop, s.stop_due = s.stop_due, 0
    _taken(s, e.messages, s.turn)
    s.turn.answer_due = len(e.blocked) < len(e.messages)
    s.calls, s.failed = {}, ""
    s.turns += 1


def _messages_taken(s: State, e: MessagesTaken, r: Record) -> None:
    _taken(s, e.messages, s.turn)
    if s.turn:
        s.turn.messages.extend(e.messages)
        if len(e.blocked) < len(e.messages):
            s.turn.answer_due = True


def _turn_ended(s: State, e: TurnEnded, r: Record) -> None:
    if s.turn:
        s.seconds += max(0.0, (r.at - s.turn.began).total_seconds() - s.turn.waited)
    s.turn = None
    s.approvals = {}
    s.failed = e.error if e.reason == "failed" else ""


def _prefix_set(s: State, e: PrefixSet, r: Record) -> None:
    s.label = s.label.join(e.label or OWNER)


def _model_requested(s: State, e: ModelRequested, r: Record) -> None:
    s.last_request = e
    if s.turn:
        s.turn.retry_at = None


def _spend(s: State, usage: Usage, cost_usd: float | None) -> None:
    for spender in (s, s.turn):
        if spender is not None:
            spender.usage = spender.usage.plus(usage)
            spender.cost_usd += cost_usd or 0.0
    s.unpriced = s.unpriced or (cost_usd is None and bool(usage.input or usage.output))


def _model_responded(s: State, e: ModelResponded, r: Record) -> None:
    _spend(s, e.usage, e.cost_usd)
    s.calls = {c.id: Call(call=c) for c in e.calls}
    s.response = r.seq
    if t := s.turn:
        t.rounds += 1
        t.attempts, t.retry_at, t.overflowed = 0, None, False
        # Invariant: after a limit nothing more is asked, whatever the model still wants.
        t.answer_due = bool(s.calls) and not t.limit


def _model_failed(s: State, e: ModelFailed, r: Record) -> None:
    _spend(s, e.usage, e.cost_usd)
    if not (t := s.turn):
        return
    t.attempts += 1
    if e.kind == "context_overflow" and (e.retry_at or e.fallback is not None):
        t.overflowed = True
    if e.fallback is not None and e.fallback != t.fallback:
        t.fallback, t.attempts = e.fallback, 0
    elif e.retry_at is None:
        t.failed = e.message or e.kind
    t.retry_at = e.retry_at


def _model_interrupted(s: State, e: ModelInterrupted, r: Record) -> None:
    """The next step answers whatever came in between, or ends the turn."""
    _spend(s, e.usage, e.cost_usd)


def _approval_requested(s: State, e: ApprovalRequested, r: Record) -> None:
    s.approvals[e.approval] = e
    if s.turn and s.turn.waiting_since is None:
        s.turn.waiting_since = r.at
    if call := s.calls.get(e.call):
        call.approval, call.decided = e.approval, None


def _approval_decided(s: State, e: ApprovalDecided, r: Record) -> None:
    request = s.approvals.pop(e.approval, None)
    if request and (call := s.calls.get(request.call)):
        call.decided = e
    if request and e.answer == "allow" and e.scope == "session" and request.rule:
        s.grants.append(request.rule)
    if request and e.answer == "allow" and e.scope == "data":
        s.endorsed += [v for v in request.endorses if v not in s.endorsed]
    _stop_waiting(s, r)


def _stop_waiting(s: State, r: Record) -> None:
    if s.turn and s.turn.waiting_since is not None and not s.approvals:
        s.turn.waited += (r.at - s.turn.waiting_since).total_seconds()
        s.turn.waiting_since = None


def _tool_started(s: State, e: ToolStarted, r: Record) -> None:
    if call := s.calls.get(e.call):
        call.started, call.started_at = e, r.at
        s.calls_made += 1
        if s.turn:
            s.turn.calls += 1


def _tool_finished(s: State, e: ToolFinished, r: Record) -> None:
    s.label = s.label.join(e.result.label or UNKNOWN)
    _spend(s, e.result.usage, e.result.cost_usd)
    if call := s.calls.get(e.call):
        call.finished = True
        if e.result.status == "in_doubt" and (begun := call.started):
            arguments = begun.arguments or call.call.arguments
            s.doubts[begun.key] = Doubt(
                key=begun.key, tool=e.tool, arguments=arguments, at=call.started_at or r.at
            )
        if call.approval and s.approvals.pop(call.approval, None):
            _stop_waiting(s, r)


def _delivery_queued(s: State, e: DeliveryQueued, r: Record) -> None:
    s.deliveries[e.delivery] = Delivery(
        delivery=e.delivery, to=e.to, text=e.text, at=r.at, label=e.label or UNKNOWN
    )


def _delivery_started(s: State, e: DeliveryStarted, r: Record) -> None:
    if delivery := s.deliveries.get(e.delivery):
        delivery.started, delivery.attempts = True, e.attempt


def _delivery_ended(s: State, e: DeliveryEnded, r: Record) -> None:
    if e.outcome == "delivered":
        s.deliveries.pop(e.delivery, None)
    elif delivery := s.deliveries.get(e.delivery):
        delivery.started, delivery.retry_at, delivery.error = False, e.retry_at, e.error
        delivery.dead = "" if e.outcome == "retry" else e.outcome


def _delivery_retried(s: State, e: DeliveryRetried, r: Record) -> None:
    if delivery := s.deliveries.get(e.delivery):
        delivery.dead, delivery.retry_at, delivery.attempts = "", None, 0


def _doubt_settled(s: State, e: DoubtSettled, r: Record) -> None:
    s.doubts.pop(e.key, None)


def _checkpoint_taken(s: State, e: CheckpointTaken, r: Record) -> None:
    if s.turn:
        s.turn.checkpointed = True


def _limit_reached(s: State, e: LimitReached, r: Record) -> None:
    if s.turn:
        s.turn.limit, s.turn.limit_scope = e.limit, e.scope
        s.turn.spent = e if e.final else None
        s.turns_refused += e.final and not s.turn.rounds


def _notice_added(s: State, e: NoticeAdded, r: Record) -> None:
    """What the model is told in the middle of a turn, it must get the chance to act on."""
    if s.turn and e.audience != "user":
        s.turn.answer_due = True


def _stop_requested(s: State, e: StopRequested, r: Record) -> None:
    if s.turn:
        s.turn.stop = s.turn.stop or r.seq
    elif s.inbox:
        s.stop_due = r.seq


def _compaction_requested(s: State, e: CompactionRequested, r: Record) -> None:
    s.compaction_due, s.compaction_focus = True, e.focus


def _context_compacted(s: State, e: ContextCompacted, r: Record) -> None:
    s.compaction_due = False
    _spend(s, e.usage, e.cost_usd)
    if s.turn:
        s.turn.overflowed = False


def _compaction_failed(s: State, e: CompactionFailed, r: Record) -> None:
    s.compaction_due = False
    _spend(s, e.usage, e.cost_usd)
    if s.turn and s.turn.overflowed and not e.interrupted:
        s.turn.overflowed = False
        s.turn.failed = f"the conversation is too long for the model, and {e.reason}"


_HANDLERS: dict[type[AnyEvent], Callable[[State, Any, Record], None]] = {
    SessionStarted: _session_started,
    SessionForked: _session_forked,
    SessionConfigured: _session_configured,
    SessionRenamed: _session_renamed,
    MessageReceived: _message_received,
    TurnStarted: _turn_started,
    MessagesTaken: _messages_taken,
    TurnEnded: _turn_ended,
    PrefixSet: _prefix_set,
    ModelRequested: _model_requested,
    ModelResponded: _model_responded,
    ModelFailed: _model_failed,
    ModelInterrupted: _model_interrupted,
    ApprovalRequested: _approval_requested,
    ApprovalDecided: _approval_decided,
    ToolStarted: _tool_started,
    ToolFinished: _tool_finished,
    DeliveryQueued: _delivery_queued,
    DeliveryStarted: _delivery_started,
    DeliveryEnded: _delivery_ended,
    DeliveryRetried: _delivery_retried,
    DoubtSettled: _doubt_settled,
    CheckpointTaken: _checkpoint_taken,
    NoticeAdded: _notice_added,
    LimitReached: _limit_reached,
    StopRequested: _stop_requested,
    CompactionRequested: _compaction_requested,
    ContextCompacted: _context_compacted,
    CompactionFailed: _compaction_failed,
}
