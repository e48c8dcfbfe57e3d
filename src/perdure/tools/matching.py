"""Finding the text to replace: exactly once, or else what a model needs to hit it the next time."""

from __future__ import annotations

import difflib
import re

import msgspec

NEAR = 3
"""Candidates shown."""
SEARCHED = 20_000
"""Lines searched for candidates."""
_NUMBERED = re.compile(r"^\d+\t", re.MULTILINE)
_LOOKALIKES = str.maketrans("‘’“”–—\u00a0‐‑", "''\"\"-- --")


class NoMatch(ValueError):
    """The message tells the model why, and what comes near."""


class Edited(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    lines: tuple[int, ...]
    """Where each replacement begins, in the text before."""


def substitute(text: str, old: str, new: str, *, every: bool) -> Edited:
    """Replace `old` by `new`. Line ends in `old` match both kinds; those of `new` become those of the
    place. Raises NoMatch."""
    old, new = _plain(old), _plain(new)
    spans = _find(text, old)
    if not spans:
        raise NoMatch(_explain(_plain(text), old))
    if len(spans) > 1 and not every:
        places = ", ".join(str(_line(text, s)) for s, _ in spans[:8])
        more = f" and {len(spans) - 8} more" if len(spans) > 8 else ""
        raise NoMatch(
            f"old_string occurs {len(spans)} times, at lines {places}{more}. Add lines around it "
            "until it is unique, or set replace_all."
        )
    if every:
        spans = _without_overlaps(spans)
    out, at = [], 0
    for start, end in spans:
        out.append(text[at:start])
        out.append(new.replace("\n", _newline_at(text, start, end)) if "\n" in new else new)
        at = end
    out.append(text[at:])
    return Edited(text="".join(out), lines=tuple(_line(text, s) for s, _ in spans))


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n") if "\r" in text else text


def _find(text: str, old: str) -> list[tuple[int, int]]:
    """All places, overlapping ones too: two that overlap are no unique place."""
    if "\r\n" in text and "\n" in old:
        pattern = re.compile("(?=(" + re.escape(old).replace("\\\n", "(?:\r\n|(?<!\r)\n)") + "))")
        return [m.span(1) for m in pattern.finditer(text)]
    spans, at = [], text.find(old)
    while at >= 0:
        spans.append((at, at + len(old)))
        at = text.find(old, at + 1)
    return spans


def _without_overlaps(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for start, end in spans:
        if not kept or start >= kept[-1][1]:
            kept.append((start, end))
    return kept


def _newline_at(text: str, start: int, end: int) -> str:
    """The line end used in the place, else the one before it, else the first one after."""
    for at in (text.find("\n", start, end), text.rfind("\n", 0, start), text.find("\n", end)):
        if at >= 0:
            return "\r\n" if at > 0 and text[at - 1] == "\r" else "\n"
    return "\n"


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _explain(text: str, old: str) -> str:
    if _NUMBERED.match(old) and _find(text, _NUMBERED.sub("", old)):
        return "old_string does not occur. Leave out the line numbers that read puts before lines."
    lines, wanted = text.split("\n")[:SEARCHED], old.strip("\n").split("\n")
    for what, form in (
        ("in white space only", lambda s: " ".join(s.split())),
        ("in quotes, dashes or special spaces only", lambda s: s.translate(_LOOKALIKES).strip()),
        ("in upper and lower case only", lambda s: " ".join(s.lower().split())),
    ):
        shaped = [form(w) for w in wanted]
        if places := _runs([form(line) for line in lines], shaped):
            return f"old_string does not occur, but this differs {what}:\n" + _show(
                lines, places[:1], len(wanted)
            )
    places = _similar(lines, wanted)
    if not places:
        return "old_string does not occur, nor anything like it. Read the file again."
    return "old_string does not occur. Nearest:\n" + _show(lines, places, len(wanted))


def _runs(lines: list[str], wanted: list[str]) -> list[int]:
    """Indices at which these lines follow one another."""
    n = len(wanted)
    return [
        i for i in range(len(lines) - n + 1) if lines[i] == wanted[0] and lines[i : i + n] == wanted
    ]


def _similar(lines: list[str], wanted: list[str]) -> list[int]:
    """Where a passage like this begins: by lines in common, else by its longest line."""
    n = len(wanted)
    known = {w.strip() for w in wanted if len(w.strip()) > 3}
    hits = [line.strip() in known for line in lines]
    score = sum(hits[:n])
    best: list[tuple[int, int]] = []
    for i in range(max(1, len(lines) - n + 1)):
        if score:
            best.append((-score, i))
        score += (hits[i + n] if i + n < len(hits) else 0) - hits[i]
    places: list[int] = []
    for _, i in sorted(best):
        if all(abs(i - p) >= n for p in places):
            places.append(i)
        if len(places) == NEAR:
            return places
    if places:
        return places
    longest = max(wanted, key=len)
    index = {line: i for i, line in reversed(list(enumerate(lines))) if line.strip()}
    if len(longest) > 500 or not longest.strip():
        return []
    candidates = [line for line in index if len(line) <= 2 * len(longest) + 20][:5_000]
    near = difflib.get_close_matches(longest, candidates, NEAR, cutoff=0.6)
    return [max(0, index[line] - wanted.index(longest)) for line in near]


def _show(lines: list[str], places: list[int], n: int) -> str:
    blocks = []
    for at in places:
        part = lines[at : at + min(n, 12)]
        blocks.append("\n".join(f"{at + i + 1}\t{line[:300]}" for i, line in enumerate(part)))
    return "\n…\n".join(blocks)
