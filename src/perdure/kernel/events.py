"""What can happen in a session: one closed union of frozen events, named in the past tense.

An event is one JSON object with a `type`. On disk it stands in a `Record`, which adds its sequence
number and time; the log adds a checksum (docs/formats.md). Fields are only ever added, with defaults.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NewType

import msgspec

from .labels import Label

SessionId = NewType("SessionId", str)
MessageId = NewType("MessageId", str)
TurnId = NewType("TurnId", str)
CallId = NewType("CallId", str)
"""A tool call's id: the provider's, made unique within its response by the adapter."""
RequestId = NewType("RequestId", str)
"""One attempt to call a model."""
ApprovalId = NewType("ApprovalId", str)
DeliveryId = NewType("DeliveryId", str)
"""`turn.channel`: the same however often the end of the turn is computed."""
ArtifactId = NewType("ArtifactId", str)
"""Name of a file under the session's `artifacts/`: SHA-256 of its content, then an extension."""

if TYPE_CHECKING:
    Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
else:
    Json = Any  # the codec takes no recursive alias; any JSON value is what it reads there

FORMAT = 1
"""Version of the event format, written into `session_started`."""


class _Base(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A plain value. Unknown fields are ignored on reading, so older code reads newer logs."""


# Parts of content ------------------------------------------------------------------------------


class Text(_Base, frozen=True, kw_only=True, tag_field="part", tag="text"):
    text: str


class Image(_Base, frozen=True, kw_only=True, tag_field="part", tag="image"):
    media_type: str
    artifact: ArtifactId


class Thinking(_Base, frozen=True, kw_only=True, tag_field="part", tag="thinking"):
    """What a model thought aloud; signatures live in `ModelResponded.native`."""

    text: str


class ToolCall(_Base, frozen=True, kw_only=True, tag_field="part", tag="call"):
    id: CallId
    name: str
    arguments: dict[str, Json]
    unparsed: str = ""
    """What the model sent as arguments, cut to 2,000 characters, when it was not a JSON object."""


Part = Text | Image
AssistantPart = Text | Thinking | ToolCall


class Native(_Base, frozen=True, kw_only=True):
    """The provider's own form of a reply, kept to the byte so that signatures round-trip (C2)."""

    format: str
    """Which adapter wrote it, e.g. `anthropic`; only the same one may send it back."""
    body: msgspec.Raw
    """JSON: one message, or a list of items."""


class Usage(_Base, frozen=True, kw_only=True):
    """Tokens of one model call, or the sum over many."""

    input: int = 0
    """All input tokens, cached ones included."""
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    """All output tokens, reasoning included."""
    reasoning: int = 0

    def plus(self, other: Usage) -> Usage:
        return Usage(
            input=self.input + other.input,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
        )


ResultStatus = Literal[
    "ok", "error", "invalid", "denied", "timeout", "interrupted", "in_doubt", "skipped"
]


class ToolResult(_Base, frozen=True, kw_only=True):
    """What a tool call came to, as the model will see it. Errors are results, never crashes."""

    status: ResultStatus = "ok"
    parts: tuple[Part, ...] = ()
    data: dict[str, Json] = {}
    """Structured facts for programs and people: exit code, duration, diff, counts."""
    artifact: ArtifactId | None = None
    """The whole output, where `parts` holds only an excerpt."""
    label: Label | None = None
    """None: nobody said, so the worst is assumed."""
    usage: Usage = Usage()
    """Of models that the tool asked."""
    cost_usd: float | None = None

    @property
    def text(self) -> str:
        return "".join(p.text for p in self.parts if isinstance(p, Text))


class Limits(_Base, frozen=True, kw_only=True):
    """What one turn may use before its tools are withdrawn; None means unlimited."""

    rounds: int | None = 100
    calls: int | None = None
    """Tool calls."""
    tokens: int | None = None
    cost_usd: float | None = None
    seconds: float | None = None


# Events ----------------------------------------------------------------------------------------


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


class Event(_Base, frozen=True, kw_only=True, tag_field="type", tag=_snake):
    """Every event derives from this; the tag is the class name in snake case."""


class SessionStarted(Event, frozen=True, kw_only=True):
    session: SessionId
    agent: str
    workdir: str
    title: str = ""
    format: int = FORMAT


class SessionForked(Event, frozen=True, kw_only=True):
    """First own event of a fork: the records before it are its parent's, copied."""

    session: SessionId
    parent: SessionId
    at: int
    """Sequence number of the last record taken from the parent."""


class SessionConfigured(Event, frozen=True, kw_only=True):
    """The owner chose another model for this session; empty returns to the agent's."""

    model: str = ""


class SessionRenamed(Event, frozen=True, kw_only=True):
    title: str


MessageMode = Literal["steer", "queue", "interrupt"]


class MessageReceived(Event, frozen=True, kw_only=True):
    """A message was accepted. Its sender hears so only once this is on disk (D1)."""

    message: MessageId
    parts: tuple[Part, ...]
    mode: MessageMode = "steer"
    source: str = "terminal"
    """Its kind, and after a colon which one: `schedule:daily`."""
    sender: str = ""
    key: str = ""
    """The sender's own id for it; a second message with the same key is a duplicate (D7)."""
    deliver: str = ""
    """Channel of the outbox that the answer is to go to, besides those who watch."""
    label: Label | None = None
    """None: the owner's own words."""

    @property
    def kind(self) -> str:
        return self.source.partition(":")[0]


class TurnStarted(Event, frozen=True, kw_only=True):
    turn: TurnId
    messages: tuple[MessageId, ...]
    limits: Limits
    rewritten: dict[str, tuple[Part, ...]] = {}
    """Message id to the parts a hook put in their place."""
    blocked: tuple[MessageId, ...] = ()
    """Of `messages`, those a hook kept from the model."""


class MessagesTaken(Event, frozen=True, kw_only=True):
    """Messages that came while the turn ran entered its context, at a step boundary."""

    messages: tuple[MessageId, ...]
    rewritten: dict[str, tuple[Part, ...]] = {}
    blocked: tuple[MessageId, ...] = ()


TurnEndReason = Literal["done", "stopped", "failed", "limit", "budget", "blocked"]
"""`limit`: what one turn may use was used up. `budget`: what a session, day or month may use."""


class TurnEnded(Event, frozen=True, kw_only=True):
    turn: TurnId
    reason: TurnEndReason
    error: str = ""


class PrefixSet(Event, frozen=True, kw_only=True):
    """The stable head of the prompt was (re)built: what it holds and where it is kept (C1)."""

    digest: str
    artifact: ArtifactId
    """JSON of the `Prefix`."""
    why: str
    sources: tuple[str, ...] = ()
    tokens: int = 0
    label: Label | None = None
    """Of the memory in it. None: the owner's."""


class ModelRequested(Event, frozen=True, kw_only=True):
    """A model is about to be called, and with what (C5)."""

    request: RequestId
    model: str
    prefix: str
    """Digest of the prefix."""
    items: int
    """How many messages of the context were sent."""
    revision: int = 0
    """How often the context before its end was changed (trimmed or compacted)."""
    tail: str = ""
    tokens: int = 0
    """Estimate of the whole request."""
    tools: bool = True
    most_calls: int | None = None
    """Tool calls of its reply that may run, by the budgets beyond the turn. None: any number."""
    attempt: int = 1


StopReason = Literal["end", "tools", "length", "refusal", "other"]


class ModelResponded(Event, frozen=True, kw_only=True):
    request: RequestId
    model: str
    parts: tuple[AssistantPart, ...]
    stop: StopReason = "end"
    usage: Usage = Usage()
    cost_usd: float | None = None
    """US dollars by genai-prices; None where no price is known."""
    native: Native | None = None
    ms: int = 0

    @property
    def text(self) -> str:
        return "".join(p.text for p in self.parts if isinstance(p, Text))

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        return tuple(p for p in self.parts if isinstance(p, ToolCall))


class ModelFailed(Event, frozen=True, kw_only=True):
    request: RequestId
    model: str
    kind: str
    message: str
    status: int | None = None
    partial: str = ""
    usage: Usage = Usage()
    cost_usd: float | None = None
    """Of a reply that was paid for and then kept back by a hook."""
    retry_at: datetime | None = None
    """When the next attempt is due; None with no `fallback`: the turn ends."""
    fallback: int | None = None
    """Index of the model to try next, 0 being the agent's own."""


class ModelInterrupted(Event, frozen=True, kw_only=True):
    """A stop, or an interrupting message, closed the stream; `text` is what had arrived."""

    request: RequestId
    text: str = ""
    usage: Usage = Usage()
    cost_usd: float | None = None
    """Where the whole reply had come, and a hook was still looking at it."""


class Source(_Base, frozen=True, kw_only=True):
    """Where an argument of a call came from."""

    argument: str
    """Its path in the arguments, e.g. `recipients[1]`."""
    value: str
    """As it will be used, cut to 200 characters."""
    origin: str
    """In plain words: `you wrote it`, `from web:example.org`, `the model made it up`."""
    endorsed: bool


class ApprovalRequested(Event, frozen=True, kw_only=True):
    approval: ApprovalId
    call: CallId
    tool: str
    arguments: dict[str, Json]
    reason: str
    preview: str = ""
    """What a person should see before deciding, e.g. a diff or the command."""
    offers: tuple[str, ...] = ("once", "session")
    rule: str = ""
    """The rule that `always` would store."""
    expires: datetime | None = None
    """From then on it counts as denied. None: never."""
    destination: str = ""
    """Where data would go, in plain words; empty: nowhere outside."""
    label: Label | None = None
    """Of the data that the call could carry out."""
    sources: tuple[Source, ...] = ()
    """Where its critical arguments came from."""
    endorses: tuple[str, ...] = ()
    """Values that an answer with the scope `data` vouches for, for this session."""
    cut: bool = False
    """`preview` is not whole."""

    def expired(self, now: datetime) -> bool:
        return self.expires is not None and now >= self.expires


ApprovalAnswer = Literal["allow", "deny"]
ApprovalScope = Literal["data", "once", "session", "always"]
"""`data`: the values asked about are right; what may be done with them is judged as ever."""


class ApprovalDecided(Event, frozen=True, kw_only=True):
    approval: ApprovalId
    answer: ApprovalAnswer
    scope: ApprovalScope = "once"
    by: str = ""
    note: str = ""


class ToolStarted(Event, frozen=True, kw_only=True):
    """Durable before a tool with effects runs (D2)."""

    call: CallId
    tool: str
    arguments: dict[str, Json] | None = None
    """Only where a hook or the gate changed what the model asked for."""
    effects: tuple[str, ...] = ()
    key: str = ""
    """Idempotency key: the same for every attempt at this call."""
    permit: str = ""
    """Why it was allowed."""
    boot: str = ""
    """The machine's boot id: tells a crash of the process from one of the machine."""


class ToolFinished(Event, frozen=True, kw_only=True):
    call: CallId
    tool: str
    result: ToolResult
    ms: int = 0


class DeliveryQueued(Event, frozen=True, kw_only=True):
    """An answer is to go out. Recorded together with the end of its turn (D7)."""

    delivery: DeliveryId
    to: str
    text: str
    label: Label | None = None
    """Of the context it was written in."""


class DeliveryStarted(Event, frozen=True, kw_only=True):
    """Durable before an attempt."""

    delivery: DeliveryId
    attempt: int


DeliveryOutcome = Literal["delivered", "retry", "failed", "unconfirmed"]
"""`unconfirmed`: it may have arrived, and nothing can tell; it is not sent again by itself."""


class DeliveryEnded(Event, frozen=True, kw_only=True):
    delivery: DeliveryId
    attempt: int
    outcome: DeliveryOutcome
    receipt: str = ""
    """What the channel gave as evidence."""
    error: str = ""
    retry_at: datetime | None = None


class DeliveryRetried(Event, frozen=True, kw_only=True):
    """The owner wants a dead letter sent again."""

    delivery: DeliveryId
    by: str = "owner"


class DoubtSettled(Event, frozen=True, kw_only=True):
    """The owner said what became of a call whose outcome a crash had put in doubt."""

    key: str
    """The call's idempotency key."""
    answer: Literal["happened", "again"]
    by: str = "owner"


class CheckpointTaken(Event, frozen=True, kw_only=True):
    """The working folder was kept as it is, before a turn's first change to it."""

    checkpoint: str
    files: int = 0
    bytes: int = 0
    skipped: int = 0
    """Files left out: too large, secret, unreadable."""
    ms: int = 0
    error: str = ""
    """Why none could be taken; the turn goes on without."""


class NoticeAdded(Event, frozen=True, kw_only=True):
    """The runtime has something to say that neither the owner nor the model said."""

    text: str
    audience: Literal["model", "user", "both"] = "both"
    level: Literal["info", "warning", "error"] = "info"


class HookActed(Event, frozen=True, kw_only=True):
    """A hook blocked, rewrote, forced a step, or failed."""

    hook: str
    point: str
    action: Literal["blocked", "rewrote", "continued", "failed"]
    detail: str = ""


LimitKind = Literal["rounds", "calls", "turns", "tokens", "cost_usd", "seconds"]
LimitScope = Literal["turn", "session", "unattended", "day", "month", "workspace"]
"""`day`, `month`: of one agent. `unattended`: turns of a day that no person began. `workspace`: of all
agents together."""


class LimitReached(Event, frozen=True, kw_only=True):
    """Nothing more may be used: the tools are withdrawn, and the model is asked to sum up."""

    limit: LimitKind
    used: float
    allowed: float
    scope: LimitScope = "turn"
    reserved: float = 0.0
    """What the next step could have used at most."""
    again: str = ""
    """What the next step could take, and when there is room again, in words."""
    final: bool = False
    """Not even for summing up is there room: nothing is asked, and the turn ends."""


class ResultsCleared(Event, frozen=True, kw_only=True):
    """Old tool results left the context, their calls stayed; the log keeps them (D10)."""

    through: int
    """Results recorded at or before this sequence number are cleared."""
    freed: int = 0
    """Estimated tokens."""


class CompactionRequested(Event, frozen=True, kw_only=True):
    by: str = "owner"
    focus: str = ""


class ContextCompacted(Event, frozen=True, kw_only=True):
    """What came before `through` is represented by `summary`; owner's messages stay verbatim."""

    through: int
    summary: str
    before: int = 0
    after: int = 0
    """Estimated tokens."""
    model: str = ""
    usage: Usage = Usage()
    cost_usd: float | None = None


class CompactionFailed(Event, frozen=True, kw_only=True):
    """Nothing was changed."""

    reason: str
    interrupted: bool = False
    usage: Usage = Usage()
    cost_usd: float | None = None


class StopRequested(Event, frozen=True, kw_only=True):
    by: str = "owner"
    reason: str = ""


AnyEvent = (
    SessionStarted
    | SessionForked
    | SessionConfigured
    | SessionRenamed
    | MessageReceived
    | TurnStarted
    | MessagesTaken
    | TurnEnded
    | PrefixSet
    | ModelRequested
    | ModelResponded
    | ModelFailed
    | ModelInterrupted
    | ApprovalRequested
    | ApprovalDecided
    | ToolStarted
    | ToolFinished
    | DeliveryQueued
    | DeliveryStarted
    | DeliveryEnded
    | DeliveryRetried
    | DoubtSettled
    | CheckpointTaken
    | NoticeAdded
    | HookActed
    | LimitReached
    | ResultsCleared
    | CompactionRequested
    | ContextCompacted
    | CompactionFailed
    | StopRequested
)


class Record(_Base, frozen=True, kw_only=True):
    """An event in its place: numbered from 1 without gaps, with the time it was appended (UTC)."""

    seq: int
    at: datetime
    event: AnyEvent


# Live deltas: shown while something runs, never stored -------------------------------------------


class Delta(_Base, frozen=True, kw_only=True, tag_field="type", tag=_snake):
    """A live piece of something that is still running."""


class TextDelta(Delta, frozen=True, kw_only=True):
    request: RequestId
    text: str


class ThinkingDelta(Delta, frozen=True, kw_only=True):
    request: RequestId
    text: str


class CallDelta(Delta, frozen=True, kw_only=True):
    """A piece of a tool call's arguments as they stream in."""

    request: RequestId
    index: int
    name: str = ""
    arguments: str = ""


class OutputDelta(Delta, frozen=True, kw_only=True):
    """A piece of a running tool's output."""

    call: CallId
    stream: Literal["stdout", "stderr"]
    text: str


AnyDelta = TextDelta | ThinkingDelta | CallDelta | OutputDelta
