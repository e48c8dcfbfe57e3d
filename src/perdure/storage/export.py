"""A session written out for others: the log's own lines, one JSON array, or a transcript to read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, Literal

import msgspec

from perdure.kernel.events import (
    ApprovalDecided,
    ApprovalRequested,
    CompactionFailed,
    ContextCompacted,
    Image,
    LimitReached,
    MessageReceived,
    ModelFailed,
    ModelInterrupted,
    ModelResponded,
    NoticeAdded,
    Part,
    Record,
    SessionForked,
    SessionRenamed,
    SessionStarted,
    Text,
    Thinking,
    ToolCall,
    ToolFinished,
    TurnEnded,
)

ExportFormat = Literal["jsonl", "json", "md"]
FORMATS: tuple[ExportFormat, ...] = ("jsonl", "json", "md")


def write_json(records: Iterator[Record], out: BinaryIO) -> None:
    """One array of records, a record a line."""
    separator = b"[\n"
    for record in records:
        out.write(separator + msgspec.json.encode(record))
        separator = b",\n"
    out.write(b"\n]\n" if separator == b",\n" else b"[]\n")


def write_markdown(records: Iterator[Record], out: BinaryIO) -> None:
    """A transcript: who said what, each tool call with its result, approvals, failures, the cost."""
    cost, unpriced = 0.0, False
    for record in records:
        event = record.event
        if isinstance(event, ModelResponded):
            cost += event.cost_usd or 0.0
            unpriced = unpriced or event.cost_usd is None
        text = _told(record)
        if text:
            out.write(text.encode() + b"\n\n")
    known = "at least " if unpriced and cost else ""
    if cost or not unpriced:
        out.write(f"---\n\nCost: {known}${cost:.4f}\n".encode())


def _told(record: Record) -> str:
    match record.event:
        case SessionStarted() as e:
            facts = f"- agent: {e.agent}\n- folder: `{e.workdir}`\n- started: {_time(record)}"
            return f"# {e.title or 'Session ' + e.session}\n\n- session: `{e.session}`\n{facts}"
        case SessionForked() as e:
            return f"*Forked from `{e.parent}` after record {e.at}, as `{e.session}`.*"
        case SessionRenamed() as e:
            return f"*Renamed to “{e.title}”.*"
        case MessageReceived() as e:
            who = e.sender or "You"
            return f"## {who} · {_time(record)}\n\n{_parts(e.parts)}"
        case ModelResponded() as e:
            said = "\n\n".join(filter(None, map(_said, e.parts)))
            return f"## {e.model} · {_time(record)}\n\n{said}"
        case ModelFailed() as e:
            again = " It is tried again." if e.retry_at or e.fallback is not None else ""
            return f"*The model failed ({e.kind}): {e.message}*{again}"
        case ModelInterrupted() as e:
            return f"{e.text}\n\n*Interrupted.*".lstrip()
        case ToolFinished() as e:
            body = _fenced(_parts(e.result.parts)) if e.result.parts else ""
            kept = f"\n\nWhole output: `artifacts/{e.result.artifact}`" if e.result.artifact else ""
            return f"**{e.tool}** → {e.result.status} ({e.ms} ms)\n\n{body}{kept}".rstrip()
        case ApprovalRequested() as e:
            return f"*Asked for approval of {e.tool}: {e.reason}*"
        case ApprovalDecided() as e:
            answer = "Allowed" if e.answer == "allow" else "Denied"
            note = f": {e.note}" if e.note else ""
            return f"*{answer} ({e.scope}){' by ' + e.by if e.by else ''}{note}*"
        case NoticeAdded() as e:
            return f"> {e.level}: " + e.text.replace("\n", "\n> ")
        case LimitReached() as e:
            return f"*Limit reached: {e.limit} ({e.used:g} of {e.allowed:g}).*"
        case ContextCompacted() as e:
            return f"*Everything up to record {e.through} was summed up for the model:*\n\n> " + (
                e.summary.replace("\n", "\n> ")
            )
        case CompactionFailed() as e:
            return f"*The context could not be compacted: {e.reason}*"
        case TurnEnded(reason=reason, error=error) if reason != "done":
            return f"*The turn ended: {reason}{' – ' + error if error else ''}.*"
    return ""


def _said(part: Text | Thinking | ToolCall) -> str:
    match part:
        case Text():
            return part.text
        case Thinking():
            return "> *thinking:* " + part.text.replace("\n", "\n> ") if part.text else ""
        case ToolCall():
            shown = (
                part.unparsed
                or msgspec.json.format(msgspec.json.encode(part.arguments), indent=2).decode()
            )
            return f"**{part.name}**\n\n{_fenced(shown, 'json')}"


def _parts(parts: tuple[Part, ...]) -> str:
    return "\n\n".join(
        f"![{p.media_type}](artifacts/{p.artifact})" if isinstance(p, Image) else p.text
        for p in parts
    )


def _fenced(text: str, kind: str = "") -> str:
    """A fence longer than any in the text."""
    longest = max((len(run) for run in re.findall("`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{kind}\n{text.rstrip()}\n{fence}"


def _time(record: Record) -> str:
    return record.at.strftime("%Y-%m-%d %H:%M:%S UTC")
