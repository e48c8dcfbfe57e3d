"""From records to items: the rules by which a conversation grows, and the few by which it shrinks.

`Folded` is everything a context remembers; it is what a snapshot holds, and folding the same records
into a fresh one gives an equal one.

# Invariant: an assistant item with calls is followed by exactly one results item holding one result
# per call, in the calls' order (D3). While results are missing they wait in `results`, and whatever
# else enters the context waits in `held`.
# Invariant: `items` only grows at its end while `revision` is unchanged; a change before the end makes
# a new list in which untouched items are the same objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from perdure.kernel.events import (
    AnyEvent,
    ArtifactId,
    CompactionFailed,
    ContextCompacted,
    MessageId,
    MessageReceived,
    MessagesTaken,
    ModelFailed,
    ModelInterrupted,
    ModelRequested,
    ModelResponded,
    NoticeAdded,
    Part,
    PrefixSet,
    Record,
    ResultsCleared,
    SessionConfigured,
    SessionForked,
    Text,
    ToolCall,
    ToolFinished,
    ToolResult,
    TurnEnded,
    TurnStarted,
)
from perdure.kernel.labels import OWNER, SELF, Label
from perdure.kernel.prompt import AssistantItem, CallResult, Item, ResultsItem, UserItem

from .budget import BYTES_PER_TOKEN, ContextBudget, weigh, weigh_parts, weigh_text
from .items import Items
from .words import cleared, fit, from_runtime, said, summary_text

CLEARABLE = 400
"""Results of fewer bytes stay: clearing them would free next to nothing."""

TOGETHER = 0.4
"""Share of the window that the results of one response may take."""

Keep = Callable[[bytes, str], ArtifactId | None]
"""Stores bytes with an extension as an artifact; None when that is not possible now."""


class Folded(msgspec.Struct, kw_only=True, omit_defaults=True):
    items: Items = msgspec.field(default_factory=Items)
    revision: int = 0
    weight: int = 0
    """Bytes of all items."""
    waiting: dict[MessageId, tuple[Part, ...]] = {}
    """Messages accepted and not yet taken."""
    foreign: dict[MessageId, Label] = {}
    """Labels of those that are not the owner's."""
    open: tuple[ToolCall, ...] = ()
    """Calls of the last assistant item, until all their results are there."""
    results: dict[str, CallResult] = {}
    held: list[UserItem] = []
    in_turn: bool = False
    seq: int = 0
    cleared: int = 0
    """Results recorded at or before this are cleared."""
    spilled: list[ArtifactId] = []
    """Where the owner's earliest messages went that had no more room."""
    spilled_messages: int = 0
    prefix: PrefixSet | None = None
    prefix_weight: int = 0
    rebuild: str = ""
    """Why the prefix is to be rebuilt at the next opportunity."""
    asked: int = 0
    """Bytes of the last request."""
    ratio: float = 1 / BYTES_PER_TOKEN
    """Tokens per byte, as the provider last counted."""
    ceiling: int = 0
    """Tokens that the provider refused as too many; 0 when it has not."""
    failed_at: int = 0
    """Tokens at which a compaction last failed; 0 when none did since the last success."""

    @property
    def tokens(self) -> int:
        """Estimate of the next request without its tail."""
        return int((self.weight + self.prefix_weight) * self.ratio)


def fold(f: Folded, record: Record, budget: ContextBudget, keep: Keep) -> None:
    """Take in one record. Records already folded are passed over; any order of valid ones is fine."""
    if record.seq <= f.seq:
        return
    f.seq = record.seq
    rule = _RULES.get(type(record.event))
    if rule is not None:
        rule(f, record.event, record.seq, budget)
        return
    event = record.event
    if isinstance(event, ResultsCleared):
        clear_results(f, event.through, keep)
    elif isinstance(event, ContextCompacted):
        _compacted(f, event, budget, keep)


def _add(f: Folded, item: Item) -> None:
    f.items.append(item)
    f.weight += weigh(item)


def _say(f: Folded, item: UserItem) -> None:
    if f.open:
        f.held.append(item)
    else:
        _add(f, item)


def _complete(f: Folded, seq: int, missing: str, budget: ContextBudget) -> None:
    """Close the open calls; `missing` is what the model reads where there is no result."""
    if not f.open:
        return
    results = tuple([f.results.get(c.id) or _absent(c, seq, missing) for c in f.open])
    f.open, f.results = (), {}
    _add(f, ResultsItem(seq=seq, results=_together(results, budget)))
    if not f.held:
        return
    held, f.held = f.held, []
    for item in held:
        # Sequence numbers of items never fall, so that a compaction can cut at one.
        _add(f, UserItem(seq=seq, parts=item.parts, kind=item.kind, label=item.label))


def _absent(call: ToolCall, seq: int, missing: str) -> CallResult:
    result = ToolResult(status="skipped", parts=(Text(text=missing),), label=SELF)
    return CallResult(call=call.id, tool=call.name, seq=seq, result=result)


def _together(results: tuple[CallResult, ...], budget: ContextBudget) -> tuple[CallResult, ...]:
    """Results that came at once share a part of the window, however many they are."""
    room = int(budget.window * TOGETHER * BYTES_PER_TOKEN)
    if sum([weigh_parts(r.result.parts) for r in results]) <= room:
        return results
    each = max(CLEARABLE, room // len(results))
    return tuple(
        CallResult(call=r.call, tool=r.tool, seq=r.seq, result=fit(r.result, each, r.seq))
        for r in results
    )


def _message_received(f: Folded, e: MessageReceived, seq: int, budget: ContextBudget) -> None:
    f.waiting[e.message] = e.parts
    if e.label is not None and e.label != OWNER:
        f.foreign[e.message] = e.label


def _take(f: Folded, e: TurnStarted | MessagesTaken, seq: int, budget: ContextBudget) -> None:
    for id_ in e.messages:
        parts, label = f.waiting.pop(id_, None), f.foreign.pop(id_, None)
        if id_ not in e.blocked and (parts := e.rewritten.get(id_, parts)) is not None:
            _say(f, UserItem(seq=seq, parts=said(parts), label=label))


def _turn_started(f: Folded, e: TurnStarted, seq: int, budget: ContextBudget) -> None:
    _complete(f, seq, "No result: the turn ended before this call ran.", budget)
    f.in_turn = True
    _take(f, e, seq, budget)


def _turn_ended(f: Folded, e: TurnEnded, seq: int, budget: ContextBudget) -> None:
    _complete(f, seq, "No result: the turn ended before this call ran.", budget)
    f.in_turn = False


def _session_forked(f: Folded, e: SessionForked, seq: int, budget: ContextBudget) -> None:
    _complete(f, seq, "No result: this conversation was forked before the call finished.", budget)
    f.in_turn, f.waiting, f.foreign = False, {}, {}


def _session_configured(f: Folded, e: SessionConfigured, seq: int, budget: ContextBudget) -> None:
    """Another model counts, and may hold, differently."""
    f.ceiling, f.failed_at, f.ratio = 0, 0, 1 / BYTES_PER_TOKEN


def _model_requested(f: Folded, e: ModelRequested, seq: int, budget: ContextBudget) -> None:
    f.asked = f.weight + f.prefix_weight + weigh_text(e.tail)


def _model_responded(f: Folded, e: ModelResponded, seq: int, budget: ContextBudget) -> None:
    _complete(f, seq, "No result: the turn went on without this call.", budget)
    if e.usage.input and f.asked:
        # Bounded, because a server that does not count well must not upset the window.
        f.ratio = min(0.7, max(0.15, e.usage.input / f.asked))
    if not e.parts and e.native is None:
        return
    _add(f, AssistantItem(seq=seq, parts=e.parts, native=e.native, model=e.model))
    f.open = e.calls


def _model_failed(f: Folded, e: ModelFailed, seq: int, budget: ContextBudget) -> None:
    if e.kind == "context_overflow":
        f.ceiling = min(f.ceiling or f.tokens, f.tokens)


def _model_interrupted(f: Folded, e: ModelInterrupted, seq: int, budget: ContextBudget) -> None:
    if e.text.strip():
        _complete(f, seq, "No result: the turn was interrupted.", budget)
        _add(f, AssistantItem(seq=seq, parts=(Text(text=e.text.rstrip()),)))


def _notice_added(f: Folded, e: NoticeAdded, seq: int, budget: ContextBudget) -> None:
    told = e.audience == "model" or (f.in_turn and e.audience == "both")
    if told and e.text.strip():
        _say(f, UserItem(seq=seq, parts=(Text(text=from_runtime(e.text)),), kind="notice"))


def _tool_finished(f: Folded, e: ToolFinished, seq: int, budget: ContextBudget) -> None:
    if e.call in f.results or e.call not in [c.id for c in f.open]:
        return
    result = fit(e.result, int(budget.max_result_tokens * BYTES_PER_TOKEN), seq)
    f.results[e.call] = CallResult(call=e.call, tool=e.tool, seq=seq, result=result)
    if all(c.id in f.results for c in f.open):
        _complete(f, seq, "", budget)


def _prefix_set(f: Folded, e: PrefixSet, seq: int, budget: ContextBudget) -> None:
    f.prefix, f.rebuild = e, ""
    f.prefix_weight = int(e.tokens * BYTES_PER_TOKEN)


def _compaction_failed(f: Folded, e: CompactionFailed, seq: int, budget: ContextBudget) -> None:
    f.failed_at = f.tokens


def clear_results(f: Folded, through: int, keep: Keep) -> None:
    """Replace the results recorded at or before `through` by a line saying where the whole is."""
    changed, items = False, list(f.items)
    for n, item in enumerate(items):
        if isinstance(item, ResultsItem) and item.seq > f.cleared:
            results = tuple(
                _clear(r, keep) if f.cleared < r.seq <= through and clearable(r) else r
                for r in item.results
            )
            if any(a is not b for a, b in zip(results, item.results, strict=True)):
                items[n], changed = ResultsItem(seq=item.seq, results=results), True
    f.cleared = max(f.cleared, through)
    if changed:
        replace(f, items)


def clearable(r: CallResult) -> bool:
    return weigh_parts(r.result.parts) >= CLEARABLE


def _clear(r: CallResult, keep: Keep) -> CallResult:
    artifact = r.result.artifact or keep(r.result.text.encode(errors="replace"), "txt")
    return CallResult(
        call=r.call, tool=r.tool, seq=r.seq, result=cleared(r.result, artifact, r.seq)
    )


def replace(f: Folded, items: list[Item]) -> None:
    f.items, f.revision = Items(items), f.revision + 1
    f.weight = sum(map(weigh, items))


def split(f: Folded, through: int) -> int:
    """Index of the first item that stays when everything through a sequence number is compacted.
    Never between a call and its result."""
    items = f.items
    n = next((i for i, item in enumerate(items) if item.seq > through), len(items))
    if n and (n < len(items) or f.open):
        last = items[n - 1]
        if isinstance(last, AssistantItem) and any(isinstance(p, ToolCall) for p in last.parts):
            n -= 1
    return n


def owners(items: Iterable[Item]) -> list[UserItem]:
    return [i for i in items if isinstance(i, UserItem) and i.kind == "message"]


def _compacted(f: Folded, e: ContextCompacted, budget: ContextBudget, keep: Keep) -> None:
    n = split(f, e.through)
    messages, kept = owners(f.items[:n]), f.items[n:]
    messages = _spill(f, messages, int(budget.window * budget.owner_share * BYTES_PER_TOKEN), keep)
    text = from_runtime(summary_text(e.summary, f.spilled, f.spilled_messages))
    summary = UserItem(seq=f.items[n - 1].seq if n else 0, parts=(Text(text=text),), kind="summary")
    replace(f, [*messages, summary, *kept])
    f.failed_at = 0
    f.rebuild = "compaction"


def _spill(f: Folded, messages: list[UserItem], room: int, keep: Keep) -> list[UserItem]:
    """Keep the newest messages that fit; write the rest to an artifact that the summary names."""
    first = len(messages)
    while first and (room := room - weigh(messages[first - 1])) >= 0:
        first -= 1
    if first == 0:
        return messages
    body = "\n\n".join(_as_text(m) for m in messages[:first])
    artifact = keep(body.encode(errors="replace"), "txt")
    if artifact is None:
        return messages
    f.spilled.append(artifact)
    f.spilled_messages += first
    return messages[first:]


def _as_text(message: UserItem) -> str:
    parts = (
        p.text if isinstance(p, Text) else f"[image artifact:{p.artifact}]" for p in message.parts
    )
    return f"[{message.seq}] " + "\n".join(parts)


_RULES: dict[type[AnyEvent], Callable[[Folded, Any, int, ContextBudget], None]] = {
    MessageReceived: _message_received,
    TurnStarted: _turn_started,
    MessagesTaken: _take,
    TurnEnded: _turn_ended,
    SessionForked: _session_forked,
    SessionConfigured: _session_configured,
    ModelRequested: _model_requested,
    ModelResponded: _model_responded,
    ModelFailed: _model_failed,
    ModelInterrupted: _model_interrupted,
    NoticeAdded: _notice_added,
    ToolFinished: _tool_finished,
    PrefixSet: _prefix_set,
    CompactionFailed: _compaction_failed,
}
