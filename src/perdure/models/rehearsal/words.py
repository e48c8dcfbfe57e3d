"""How results are told: short, in Markdown, and never more than was seen."""

from __future__ import annotations

import re
import shlex

from perdure.kernel.events import ToolResult

SHOWN_LINES = 40
SHOWN_CHARS = 6_000


def quote(text: str, limit: int = 80) -> str:
    """A person's words, on one line."""
    line = " ".join(text.split())
    return f"“{line if len(line) <= limit else line[: limit - 1] + '…'}”"


def name(path: str) -> str:
    """A path in running text."""
    return f"`{path}`" if "`" not in path else quote(path)


def block(text: str, lines: int = SHOWN_LINES) -> str:
    """A fenced block of the first lines, which says how many it leaves out."""
    every = text.rstrip("\n").split("\n")
    shown = "\n".join(every[:lines])
    if len(shown) > SHOWN_CHARS:
        shown = shown[:SHOWN_CHARS] + "…"
    ticks = max((len(run) for run in re.findall(r"`{3,}", shown)), default=2) + 1
    fence = "`" * max(3, ticks)
    rest = len(every) - lines
    more = f"\n… and {rest:,} more {plural(rest, 'line')}." if rest > 0 else ""
    return f"{fence}\n{shown}\n{fence}{more}"


def plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"


def trouble(result: ToolResult, what: str) -> str:
    """Why a step came to nothing. `what` completes `I could not …`."""
    said = result.text.strip()
    match result.status:
        case "denied":
            return f"I was not allowed to {what}, so I left it." + (f" ({said})" if said else "")
        case "timeout":
            return f"I could not {what}: it took too long and was stopped."
        case "in_doubt":
            return f"I cannot tell whether I managed to {what}: {said}"
        case "skipped" | "interrupted":
            return f"I did not {what}: it was broken off."
        case _:
            return f"I could not {what}." + (f"\n\n{block(said, 12)}" if said else "")


def number(result: ToolResult, key: str) -> int | None:
    """A whole number among a result's facts."""
    value = result.data.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def shell_path(path: str) -> str:
    """A path as bash takes it: quoted, `~` still meaning home, and never an option."""
    home, slash, rest = path.partition("/")
    if re.fullmatch(r"~[A-Za-z0-9_.-]*", home):
        return f"{home}{slash}{shlex.quote(rest) if rest else ''}"
    return shlex.quote(f"./{path}" if path.startswith("-") else path)
