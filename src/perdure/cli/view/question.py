"""What a person is shown before they allow a call: all of it as it is, or how much is missing.

Invariant: nothing is hidden silently. What is too long to stand in the transcript is cut in its middle,
and `Question.cut` says so to whoever takes the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from wcwidth import wcswidth, wcwidth

from perdure.cli.view.clean import exact, exact_line
from perdure.cli.view.labels import data_words
from perdure.kernel.events import ApprovalRequested, Json

MAX_LINES = 100
MAX_CHARS = 6_000
KEPT_LINES = 30
"""At either end of what is cut."""
KEPT_CHARS = 1_500
AGAIN = "↪ "
"""Before the rest of a line that is wider than the terminal, where a line begins with another mark."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """`text` is what would be done and `rule` what "always" would store, both with every character seen."""

    text: str
    rule: str
    cut: str = ""
    """What is not shown here, as a sentence; empty when nothing is missing."""


def question_of(request: ApprovalRequested, *, whole: bool = False) -> Question:
    """`whole`: nothing is cut, and what the gate left out of the preview follows as arguments."""
    text, rule = exact(_preview(request)), exact_line(always(request))
    if whole:
        if request.cut:
            text += "\n\nThe preview ends there; this is all the call was given:\n"
            text += exact(arguments_of(request.arguments))
        return Question(text=text, rule=rule)
    text, left = _shortened(text)
    rule, rule_left = _shortened(rule)
    missing = [left] if left else []
    if request.cut:
        missing.append("what the preview itself leaves out")
    if rule_left:
        missing.append(f"of the rule {rule_left}")
    cut = f"Not shown here: {', and '.join(missing)}." if missing else ""
    return Question(text=text, rule=rule, cut=cut)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One thing to know before deciding, as a line."""

    text: str
    doubtful: bool = False
    """Nobody entitled to has said it."""


def facts_of(request: ApprovalRequested) -> list[Fact]:
    """Where data would go, which data, and who says so."""
    facts = []
    if request.destination:
        facts.append(Fact(text=f"goes to: {exact_line(request.destination)}"))
    if request.label is not None and request.destination:
        facts.append(Fact(text=f"carries: {exact_line(data_words(request.label))}"))
    for source in request.sources:
        what = f"{exact_line(source.argument)} = {exact_line(source.value)}"
        text = f"{what}  ({exact_line(source.origin)})"
        facts.append(Fact(text=text, doubtful=not source.endorsed))
    if request.endorses:
        text = f"to vouch for: {', '.join(map(exact_line, request.endorses))}"
        facts.append(Fact(text=text, doubtful=True))
    return facts


def whole_text(request: ApprovalRequested) -> str:
    """For a pager or a plain terminal: everything there is to know, harmless."""
    one = question_of(request, whole=True)
    parts = [f"{exact_line(request.tool)}: {exact_line(request.reason)}", one.text]
    if facts := facts_of(request):
        parts.append("\n".join(fact.text for fact in facts))
    if one.rule:
        parts.append(f"always: {one.rule}")
    parts.append("What the call was given:\n" + exact(arguments_of(request.arguments)))
    return "\n\n".join(parts) + "\n"


def always(request: ApprovalRequested) -> str:
    """The rule that may be stored; empty when that is not offered."""
    return request.rule if "always" in request.offers else ""


def arguments_of(arguments: dict[str, Json]) -> str:
    """One below the other; texts as they are, so that a command reads as a command."""
    lines = []
    for name, value in arguments.items():
        if not isinstance(value, str):
            value = msgspec.json.encode(value).decode()
        lines.append(f"{name}:\n{value}" if "\n" in value else f"{name}: {value}")
    return "\n".join(lines)


def _preview(request: ApprovalRequested) -> str:
    return request.preview if request.preview.strip() else arguments_of(request.arguments)


def _shortened(text: str) -> tuple[str, str]:
    """Head and tail of a long text, and what is missing between them; it and "" when it is short."""
    lines = text.split("\n")
    if len(lines) <= MAX_LINES and len(text) <= MAX_CHARS:
        return text, ""
    head = "\n".join(lines[:KEPT_LINES])[:KEPT_CHARS]
    tail = "\n".join(lines[-KEPT_LINES:])[-KEPT_CHARS:]
    if len(head) + len(tail) >= len(text):
        return text, ""
    between = text[len(head) : len(text) - len(tail)]
    breaks = between.count("\n")
    size = f"{len(between):,} characters" + (f" ({breaks:,} line breaks)" if breaks else "")
    return f"{head}\n[… {size} not shown …]\n{tail}", size


def wrapped(text: str, width: int, first: str = "  ") -> Iterator[tuple[str, str]]:
    """Each row as its two-column mark and its text, broken anywhere and losing nothing. A row with
    the mark `AGAIN` goes on with the line above it, any other begins a line."""
    room = max(8, width - 2)
    for line in text.split("\n"):
        mark = first
        for piece in _pieces(line.expandtabs(4), room):
            yield mark, piece
            mark = AGAIN


def _pieces(line: str, room: int) -> Iterator[str]:
    if len(line) <= room and wcswidth(line) <= room:
        yield line
        return
    if line.isascii():
        for start in range(0, len(line), room):
            yield line[start : start + room]
        return
    begin = used = 0
    for place, char in enumerate(line):
        wide = max(0, wcwidth(char))
        if used + wide > room:
            yield line[begin:place]
            begin, used = place, 0
        used += wide
    yield line[begin:]
