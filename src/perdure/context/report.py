"""What a call to the model contained, reconstructed from the log (C5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import msgspec

from perdure.kernel.errors import NotFound, StorageError
from perdure.kernel.events import (
    ArtifactId,
    AssistantPart,
    ContextCompacted,
    Json,
    ModelFailed,
    ModelInterrupted,
    ModelRequested,
    ModelResponded,
    Part,
    PrefixSet,
    Record,
    ResultsCleared,
    Text,
    Thinking,
    ToolCall,
)
from perdure.kernel.labels import OWNER, SELF, UNKNOWN, Label
from perdure.kernel.prompt import AssistantItem, Item, Prefix, UserItem
from perdure.kernel.state import State, evolve

from .budget import ContextBudget, weigh, weigh_text
from .fold import Folded, fold

Read = Callable[[ArtifactId], bytes]


def context_report(
    records: Sequence[Record],
    request: str | None,
    read: Read,
    budget: ContextBudget | None = None,
) -> dict[str, Json]:
    """The call with this request id, or the last one. Raises NotFound when there is no such call.

    `records`: the whole session from its first. `read`: of its artifacts. `budget`: the session's,
    which decides how long results were cut."""
    at = _find(records, request)
    folded = Folded()
    for record in records[: at + 1]:
        fold(folded, record, budget or ContextBudget(), _name_only)
    asked = records[at].event
    assert isinstance(asked, ModelRequested)
    state = State()
    for record in records[: at + 1]:
        evolve(state, record)
    return {
        "request": asked.request,
        "seq": records[at].seq,
        "at": records[at].at.isoformat(),
        "model": asked.model,
        "attempt": asked.attempt,
        "tools_offered": asked.tools,
        "label": state.label.words,
        "tokens": asked.tokens,
        "revision": asked.revision,
        "prefix": _prefix(folded.prefix, read, folded.ratio),
        "items": [_item(item, folded.ratio, state.label) for item in folded.items],
        "tail": asked.tail,
        "changes": [c for r in records[:at] if (c := _change(r))],
        "outcome": next((o for r in records[at + 1 :] if (o := _outcome(r, asked))), None),
    }


def _find(records: Sequence[Record], request: str | None) -> int:
    for n in range(len(records) - 1, -1, -1):
        event = records[n].event
        if isinstance(event, ModelRequested) and request in (None, event.request):
            return n
    if request is None:
        raise NotFound("this session has not called a model yet")
    raise NotFound(f"this session has no model call {request}")


def _name_only(data: bytes, ext: str) -> ArtifactId:
    """The artifact was stored when this happened; here only its name is needed."""
    return ArtifactId(f"{sha256(data).hexdigest()}.{ext}")


def _prefix(event: PrefixSet | None, read: Read, ratio: float) -> dict[str, Json]:
    if event is None:
        return {}
    report: dict[str, Json] = {
        "digest": event.digest,
        "artifact": event.artifact,
        "why": event.why,
        "sources": list(event.sources),
        "label": (event.label or OWNER).words,
    }
    try:
        prefix = msgspec.json.decode(read(event.artifact), type=Prefix)
    except (NotFound, StorageError, msgspec.DecodeError) as error:
        return {**report, "error": str(error)}
    tools: list[Json] = [
        {"name": t.name, "tokens": int(len(msgspec.json.encode(t)) * ratio)} for t in prefix.tools
    ]
    tokens = int(weigh_text(prefix.system) * ratio)
    return {**report, "system": prefix.system, "system_tokens": tokens, "tools": tools}


def _item(item: Item, ratio: float, whole: Label) -> dict[str, Json]:
    """`whole`: the label of the conversation, which a model's words and a summary have."""
    report: dict[str, Json] = {"seq": item.seq, "tokens": int(weigh(item) * ratio)}
    if isinstance(item, UserItem):
        label = whole if item.kind == "summary" else SELF if item.kind == "notice" else OWNER
        report["label"] = (item.label or label).words
        return {**report, "role": "user", "kind": item.kind, "parts": _parts(item.parts)}
    if isinstance(item, AssistantItem):
        native = item.native.format if item.native else ""
        report["label"] = SELF.join(whole).words
        return {**report, "role": "assistant", "native": native, "parts": _parts(item.parts)}
    results: list[Json] = [
        {
            "call": r.call,
            "tool": r.tool,
            "status": r.result.status,
            "label": (r.result.label or UNKNOWN).words,
            "artifact": r.result.artifact,
            "parts": _parts(r.result.parts),
        }
        for r in item.results
    ]
    return {**report, "role": "results", "results": results}


def _parts(parts: Sequence[Part | AssistantPart]) -> list[Json]:
    shown: list[Json] = []
    for part in parts:
        if isinstance(part, Text):
            shown.append({"text": part.text})
        elif isinstance(part, Thinking):
            shown.append({"thinking": part.text})
        elif isinstance(part, ToolCall):
            shown.append({"call": part.id, "name": part.name, "arguments": part.arguments})
        else:
            shown.append({"image": part.artifact, "media_type": part.media_type})
    return shown


def _change(record: Record) -> dict[str, Json] | None:
    """What was cut from the context before, and when."""
    event, at = record.event, record.at.isoformat()
    if isinstance(event, PrefixSet):
        return {"seq": record.seq, "at": at, "what": "prefix", "why": event.why}
    if isinstance(event, ResultsCleared):
        return {
            "seq": record.seq,
            "at": at,
            "what": "results cleared",
            "through": event.through,
            "freed": event.freed,
        }
    if isinstance(event, ContextCompacted):
        return {
            "seq": record.seq,
            "at": at,
            "what": "compacted",
            "through": event.through,
            "before": event.before,
            "after": event.after,
        }
    return None


def _outcome(record: Record, asked: ModelRequested) -> dict[str, Json] | None:
    event = record.event
    if not isinstance(event, ModelResponded | ModelFailed | ModelInterrupted):
        return None
    if event.request != asked.request:
        return None
    if isinstance(event, ModelResponded):
        return {
            "seq": record.seq,
            "what": "answered",
            "stop": event.stop,
            "usage": msgspec.to_builtins(event.usage),
            "cost_usd": event.cost_usd,
            "ms": event.ms,
        }
    if isinstance(event, ModelFailed):
        return {"seq": record.seq, "what": "failed", "kind": event.kind, "error": event.message}
    return {"seq": record.seq, "what": "interrupted"}
