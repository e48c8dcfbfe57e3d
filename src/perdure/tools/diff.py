"""Unified diffs for people and results, cheap also when a huge file changed in one place."""

from __future__ import annotations

import difflib

CONTEXT = 3
FINE = 4_000
"""Changed lines up to which a line-by-line diff is computed; beyond, one block replaces another."""


def unified(before: str, after: str, name: str, *, max_chars: int | None = 20_000) -> str:
    """A unified diff; empty when nothing changed; cut with a note when very long, unless `max_chars` is
    None."""
    if before == after:
        return ""
    old, new = _lines(before), _lines(after)
    start = 0
    shortest = min(len(old), len(new))
    while start < shortest and old[start] == new[start]:
        start += 1
    end = 0
    while end < shortest - start and old[-1 - end] == new[-1 - end]:
        end += 1
    first = max(0, start - CONTEXT)
    a, b = old[first : len(old) - end + CONTEXT], new[first : len(new) - end + CONTEXT]
    if end < CONTEXT:
        a, b = old[first:], new[first:]
    a_name, b_name = f"a/{name.lstrip('/')}", f"b/{name.lstrip('/')}"
    if not before:
        a_name = "/dev/null"
    out = [f"--- {a_name}", f"+++ {b_name}"]
    if len(a) + len(b) <= FINE:
        for line in list(difflib.unified_diff(a, b, lineterm="", n=CONTEXT))[2:]:
            out.append(_shift(line, first) if line.startswith("@@") else line)
    else:
        out.append(f"@@ -{first + 1},{len(a)} +{first + 1},{len(b)} @@")
        out.extend(f"-{line}" for line in a)
        out.extend(f"+{line}" for line in b)
    if before and not before.endswith("\n") and after.endswith("\n"):
        out.append("\\ line end added at the end of the file")
    elif before.endswith("\n") and after and not after.endswith("\n"):
        out.append("\\ no line end at the end of the file")
    text = "\n".join(out)
    if max_chars is None or len(text) <= max_chars:
        return text
    cut = text[:max_chars]
    cut = cut[: cut.rfind("\n")]
    return f"{cut}\n[… {text.count(chr(10)) - cut.count(chr(10)):,} more lines of diff]"


def counts(diff_before: str, diff_after: str) -> tuple[int, int]:
    """Lines added and removed."""
    old, new = _lines(diff_before), _lines(diff_after)
    start = 0
    shortest = min(len(old), len(new))
    while start < shortest and old[start] == new[start]:
        start += 1
    end = 0
    while end < shortest - start and old[-1 - end] == new[-1 - end]:
        end += 1
    a, b = old[start : len(old) - end], new[start : len(new) - end]
    if len(a) + len(b) > FINE:
        return len(b), len(a)
    same = sum(m.size for m in difflib.SequenceMatcher(None, a, b, False).get_matching_blocks())
    return len(b) - same, len(a) - same


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    return lines


def _shift(hunk: str, by: int) -> str:
    """Move the line numbers of a hunk header of a slice to those of the whole."""
    _, old, new, *_ = hunk.split(" ")
    return f"@@ -{_moved(old[1:], by)} +{_moved(new[1:], by)} @@"


def _moved(span: str, by: int) -> str:
    start, comma, length = span.partition(",")
    return f"{int(start) + by}{comma}{length}"
