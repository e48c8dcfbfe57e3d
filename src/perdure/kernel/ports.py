"""The seams of the kernel. Every implementation of a port runs the port's conformance suite in
`tests/conformance/`; the in-memory doubles ship with the packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal, Protocol, TypeVar

from .events import (
    AnyDelta,
    AnyEvent,
    ApprovalDecided,
    ApprovalRequested,
    CheckpointTaken,
    DeliveryOutcome,
    HookActed,
    LimitReached,
    Record,
    RequestId,
    SessionId,
    ToolCall,
    ToolResult,
    ToolStarted,
    TurnId,
    Usage,
)
from .labels import UNKNOWN, Label
from .prompt import Prompt, Reply
from .state import Delivery, State

T = TypeVar("T")
Emit = Callable[[AnyDelta], None]


class Clock(Protocol):
    def now(self) -> datetime:
        """Aware, UTC."""

    def monotonic(self) -> float:
        """Seconds, for durations."""

    async def sleep(self, seconds: float) -> None: ...


class Ids(Protocol):
    def new(self, kind: str) -> str:
        """A fresh id that sorts by time, `kind` being its prefix: `s`, `m`, `t`, `r`, `a`."""

    def jitter(self) -> float:
        """Uniform in [0, 1); used to spread retries."""


class SessionLog(Protocol):
    """The append-only record of one session, with this process as its only writer (D6)."""

    @property
    def last(self) -> int:
        """Sequence number of the last record appended; 0 when empty."""

    def append(self, records: Sequence[Record]) -> None:
        """Queue records, which continue `last` without a gap. Does not block.
        Raises StorageError when the log is closed, read-only, or an earlier write failed."""

    async def commit(self) -> None:
        """Return once all appended so far is on stable storage; else raise StorageError, after which
        the log takes nothing more and must be reopened: what was not committed may be gone."""

    def read(self, after: int = 0, through: int | None = None) -> Iterator[Record]:
        """Committed records with after < seq <= through, in order."""

    async def close(self) -> None:
        """Commit what can be, release the lock. Idempotent; never raises."""


class Model(Protocol):
    """One model, talking with one session: it keeps that session's transcript in its wire format."""

    @property
    def name(self) -> str:
        """`provider/model`."""

    async def call(self, prompt: Prompt, request: RequestId, emit: Emit) -> Reply:
        """Send, stream deltas to `emit`, return the whole reply. One attempt: no retries of its own.
        Raises ModelError only. Cancelling closes the connection."""

    async def close(self) -> None: ...


class Context(Protocol):
    """Folds a session's records into what its model will see."""

    def feed(self, record: Record) -> None:
        """Every record, in order, once."""

    def prepare(self, state: State) -> Sequence[AnyEvent]:
        """Events to append before the next call to keep prefix and window right: PrefixSet,
        ResultsCleared. Empty when nothing is due. Pure but for reading agent files."""

    @property
    def tokens(self) -> int:
        """Estimate of the next request, also where there was none so far."""

    def prompt(self, state: State, *, tools: bool = True) -> Prompt:
        """The next request. Raises AssertionError if a call lacks its one result (D3)."""

    def wants_compaction(self, state: State) -> bool:
        """The window would be overrun, or the owner asked."""

    async def compact(
        self, state: State, model: Model, request: RequestId, *, max_output: int | None = None
    ) -> AnyEvent:
        """ContextCompacted, or CompactionFailed: never raises ModelError. `max_output`: tokens that all
        of the model's answers together may have."""


class Allow(Protocol):
    """A permit: proof that the gate let this very call pass. Only gates make them."""

    @property
    def call(self) -> ToolCall: ...

    @property
    def started(self) -> ToolStarted:
        """The intent to record; `effects` empty means the call only reads."""

    @property
    def parallel(self) -> bool:
        """May run beside other parallel calls."""

    @property
    def marks(self) -> bool:
        """It only reads, and notes that it has read: its key must be the same after a crash."""


class Ask:
    """The owner must decide first."""

    __slots__ = ("request",)

    def __init__(self, request: ApprovalRequested) -> None:
        self.request = request


class Refuse:
    """The call does not run; its result tells the model why (denied, invalid, unknown tool)."""

    __slots__ = ("result",)

    def __init__(self, result: ToolResult) -> None:
        self.result = result


Verdict = Allow | Ask | Refuse


class Gate(Protocol):
    """Stands before the toolbox and owns it: there is no other way to run a tool."""

    async def judge(
        self,
        call: ToolCall,
        *,
        key: str,
        decided: ApprovalDecided | None = None,
        grants: Sequence[str] = (),
        endorsed: Sequence[str] = (),
        label: Label = UNKNOWN,
    ) -> Verdict:
        """May this call run? `decided` is the owner's answer to an earlier Ask for this same call,
        `grants` the rules and `endorsed` the values the owner approved for this session, `label` that
        of the context the call was thought up in. Never raises; what it cannot judge it refuses or
        asks."""

    def feed(self, record: Record) -> None:
        """Every record appended while the session is open, in order, once; some not yet committed."""

    async def run(self, permit: Allow, emit: Emit, *, resumed: bool) -> ToolResult:
        """Run it. `resumed`: an earlier attempt was cut off by a crash. Never raises but on
        cancellation, by when the whole process tree is gone and CancelledError carries on."""

    def recovery(self, started: ToolStarted) -> Literal["rerun", "rejoin", "doubt"]:
        """What a crash after `started` allows: reads and idempotent calls rerun, supervised
        commands are rejoined, anything else may or may not have happened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """What an attempt at a delivery came to."""

    outcome: DeliveryOutcome
    receipt: str = ""
    error: str = ""
    retry_after: float | None = None
    """Seconds the channel asked us to wait."""


class Outbox(Protocol):
    async def send(self, session: SessionId, delivery: Delivery, *, resumed: bool) -> Sent:
        """One attempt. `resumed`: the same attempt was under way at a crash; find out what became of
        it, repeat it only where that is harmless, else say `unconfirmed`. Never raises but on
        cancellation."""

    async def ended(self, session: SessionId, delivery: Delivery, *, arrived: bool) -> None:
        """What the last attempt came to is on record, and in `delivery` unless it arrived. Keeps the
        list of those that have not. Never raises: the list is derived."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reservation:
    """Room that was made for one model call before it is made."""

    limit: LimitReached | None = None
    """There is no room: nothing was reserved."""
    max_output: int | None = None
    """Tokens the answer may have, so that it fits. None: as many as the model gives."""
    calls: int | None = None
    """Tool calls of the answer that may run. None: any number."""
    notices: tuple[str, ...] = ()
    """For the owner: a budget is nearly used up."""


class Budgets(Protocol):
    """What may be spent beyond one turn: by session, agent, day and month (S11)."""

    async def reserve(
        self, state: State, request: RequestId, *, model: str, tokens: int, last: bool
    ) -> Reservation:
        """Make room for a call of at most that many input tokens, from a worst-case estimate. `last`:
        the one in which the model sums up, for which room was kept. Raises PerdureError when the
        books cannot be read or written: then nothing is spent."""

    async def settle(
        self, request: RequestId, usage: Usage, cost_usd: float | None, *, calls: int
    ) -> None:
        """What it came to; the rest of its reservation is free again. `calls`: those of the reply, all
        of which may yet run. Never raises: what cannot be settled counts as reserved."""

    def closed(self, request: RequestId, *, calls: int) -> None:
        """All calls of the reply have their results; `calls` of them were started, and only these
        count. Never raises."""


class Checkpointer(Protocol):
    """Keeps the session's working folder, so that what a turn changes can be taken back."""

    async def take(self, turn: TurnId, seq: int) -> CheckpointTaken | None:
        """Before a turn's first call with effects. None where checkpoints are turned off.
        Never raises: what went wrong is in the event."""


HookPoint = Literal[
    "on_user_message",
    "before_model",
    "on_model_response",
    "before_tool",
    "on_tool_call",
    "on_tool_result",
    "on_turn_end",
    "on_error",
]


@dataclass(frozen=True, slots=True)
class HookOutcome(Generic[T]):
    """What the hooks at a point made of a value."""

    value: T
    """The value given, or what hooks rewrote it to."""
    block: str = ""
    """Why it must not go on; shown to the owner, and to the model where it was a tool call."""
    again: str = ""
    """Tell the model this and let it take one more step (on_model_response, on_turn_end)."""
    acts: tuple[HookActed, ...] = ()
    """To be recorded."""


class Hooks(Protocol):
    """Owner's code at fixed points of a turn. A slow or failing hook cannot break a turn."""

    def wants(self, point: HookPoint) -> bool:
        """Cheap: is anything registered there?"""

    async def fire(self, point: HookPoint, value: T) -> HookOutcome[T]:
        """Run the hooks of a point in order, each with its own time-out, on: MessageReceived for
        on_user_message, Prompt for before_model (its tail may be rewritten), Reply for
        on_model_response, ToolCall for before_tool (before the gate) and on_tool_call (as it starts),
        CallResult for on_tool_result, TurnEnded for on_turn_end, ModelFailed for on_error.
        Never raises: a failing hook is an act, and blocks only if it declared fail-closed."""
