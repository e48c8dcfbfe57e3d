"""What was done, told from the conversation itself: for the owner, and for the runtime's summaries."""

from __future__ import annotations

from collections import Counter

from perdure.kernel.events import ToolCall, ToolResult
from perdure.kernel.prompt import Prompt

from .plan import Plan, only
from .rules import Found, rule
from .view import Request, View, history, plain, summaries
from .words import block, plural, quote

TOLD = 10
"""Requests that are told one by one; of older ones only the number."""
STEPS = 12
SUMMARY_CHARS = 4_000


def done_so_far(view: View) -> Plan:
    """Everything but the question itself, which is still unanswered."""
    requests = [r for r in history(view.items) if r.answer or r.exchanges]
    earlier = summaries(view.items)
    if not requests and not earlier:
        return only("Nothing yet in this conversation: no tool has run.")
    return only(report(requests, earlier))


def report(requests: list[Request], earlier: list[str]) -> str:
    calls = sum(len(e.calls) for r in requests for e in r.exchanges)
    count = len(requests)
    lines = [
        f"In this conversation I worked on {count:,} {plural(count, 'request')} "
        f"with {calls:,} tool {plural(calls, 'call')}."
    ]
    if earlier:
        lines.append(f"What came before was summarized:\n\n{block(earlier[-1], 20)}")
    if count > TOLD:
        lines.append(f"The last {TOLD} were:")
    for number, request in enumerate(requests[-TOLD:], max(1, count - TOLD + 1)):
        lines.append(_told(number, request))
    return "\n\n".join(lines)


def _told(number: int, request: Request) -> str:
    lines = [f"{number}. You said {quote(request.text, 120)}."]
    pairs = [(c, r) for e in request.exchanges for c, r in zip(e.calls, e.results, strict=False)]
    lines += [f"   - {what(call)}: {outcome(result)}" for call, result in pairs[:STEPS]]
    if len(pairs) > STEPS:
        lines.append(f"   - and {len(pairs) - STEPS:,} more steps")
    if request.answer:
        lines += ["", *(f"   {line}" if line else "" for line in _answer(request.answer))]
    return "\n".join(lines)


def _answer(answer: str) -> list[str]:
    """What was said in the end, unless it was long; then its beginning."""
    lines = answer.split("\n")
    if len(lines) > STEPS:
        lines = [*lines[:STEPS], "…"]
    if any(line.lstrip().startswith("```") for line in lines):
        lines = [lines[0].rstrip(":") + "."]
    return lines


def what(call: ToolCall) -> str:
    """A call on one line."""
    arguments = call.arguments
    if isinstance(path := arguments.get("path"), str):
        return f"{call.name} {quote(path)}"
    if isinstance(command := arguments.get("command"), str):
        lines = [line for line in command.split("\n") if line.strip()] or [""]
        more = f" (and {len(lines) - 1} more {plural(len(lines) - 1, 'line')})" if lines[1:] else ""
        return f"{call.name} {quote(lines[0].removeprefix('# '))}{more}"
    return call.name


def outcome(result: ToolResult) -> str:
    if result.status != "ok":
        return result.status.replace("_", " ")
    moved = result.text.count("moved  ")
    return f"ok, {moved} moved" if moved else "ok"


# For the runtime ---------------------------------------------------------------------------------


def compacted(prompt: Prompt) -> str:
    """A summary by rules: what was asked, what ran and how it ended. Bounded in length."""
    requests = history(prompt.items)
    if not requests:
        return _of_text("\n".join(plain(i.parts) for i in prompt.items if hasattr(i, "parts")))
    lines = [f"- {_line(r)}" for r in requests]
    carried = [s[-SUMMARY_CHARS // 4 :] for s in summaries(prompt.items)[-1:]]
    body = _bounded(lines, SUMMARY_CHARS)
    opened = requests[-1]
    state = [f"## Open\n{quote(opened.text, 300)}"] if not opened.answer else []
    return "\n".join(
        (*carried, "## Done (by the rehearsal model, which sums up by rules)", body, *state)
    )


def _line(request: Request) -> str:
    tools = Counter(c.name for e in request.exchanges for c in e.calls)
    used = ", ".join(f"{name} ×{count}" for name, count in tools.items())
    bad = sum(r.status != "ok" for e in request.exchanges for r in e.results)
    parts = [quote(request.text, 100)]
    parts += [used] if used else []
    parts += [f"{bad} not ok"] if bad else []
    parts += [quote(request.answer, 160)] if request.answer else []
    return "; ".join(parts)


def _of_text(text: str) -> str:
    """Of a conversation that comes as plain text, piece by piece: the lines that carry most."""
    kept = [
        line[:160]
        for line in text.split("\n")
        if line.startswith(("User:", "Agent calls", "- ", "Result of"))
    ]
    return _bounded(kept, SUMMARY_CHARS) or "Nothing of note."


def _bounded(lines: list[str], size: int) -> str:
    """The newest lines that fit."""
    kept: list[str] = []
    for line in reversed(lines):
        size -= len(line) + 1
        if size < 0:
            kept.append(f"- (and {len(lines) - len(kept):,} before)")
            break
        kept.append(line)
    return "\n".join(reversed(kept))


def withdrawn(view: View) -> str:
    """What to say when a limit took the tools away."""
    requests = history(view.items)
    told = _told(1, requests[-1]) if requests else ""
    return (
        "I have to stop here: this turn's limit is used up, and without tools I cannot go on. What was "
        f"done:\n\n{told}\n\nSay it again, and I go on from what is there."
    )


def _asking(found: Found, view: View) -> Plan:
    return done_so_far(view)


RULES = (
    rule(
        r"what (?:did|have|had) (?:you|we) (?:just |all |already )?(?:do|done|did|been doing)"
        r"(?: .*)?|what (?:was|has been|were) (?:just |all )?done(?: .*)?|what happened(?: .*)?"
        r"|(?:give me |show me |write )?(?:a |the )?(?:summary|recap|report|overview)"
        r"(?: of (?:what (?:you|we) (?:did|have done|'ve done)|this (?:conversation|session|chat)"
        r"|the (?:conversation|session|work)))?"
        r"|(?:summari[sz]e|recap|sum up)(?: (?:this|the|our))?"
        r"(?: (?:conversation|session|chat|work|what (?:you|we) (?:did|have done)|everything))?"
        r"|what(?:'s| is) the status|how (?:did it go|far are you)|where were we"
        r"|(?:which|what) (?:tools|commands|steps) (?:did you|have you) (?:use|used|run|take|taken)",
        _asking,
        entire=True,
    ),
)
