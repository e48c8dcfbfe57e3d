"""Patterns of text and of paths, and whether one could fit what is not wholly known."""

from __future__ import annotations

import functools
import os
import re

HOLE = "\uffff"
"""In a text: a part that only the run tells; see `shell.model`. A `*` covers it, nothing else does."""
_WILD = re.compile(r"[*?\[]")


def fits_text(pattern: str, text: str) -> bool:
    """`*` stands for any text, `?` for one character, `[ab]` for one of these; anchored at both ends."""
    if pattern == "*" or pattern == text:
        return True
    first = pattern[:1]
    if first != text[:1] and first not in "*?[":
        return False  # most rules are about something else
    return _text(pattern).match(text) is not None


def could_fit_text(pattern: str, text: str) -> bool:
    """Might it, whatever stands in the HOLEs of the text? Yes where that is not clear."""
    if HOLE not in text:
        return fits_text(pattern, text)
    if fits_text(pattern, text):
        return True
    m = _WILD.search(pattern)
    head = pattern[: m.start()] if m else pattern
    known = text.partition(HOLE)[0]
    if not (
        known.startswith(head)
        or (head.rstrip() if pattern.endswith(" *") else head).startswith(known)
    ):
        return False
    tail = re.split(r"[*?\]]", pattern)[-1] if m else pattern
    end = text.rpartition(HOLE)[2]
    return end.endswith(tail) or tail.endswith(end)


@functools.lru_cache(2048)
def _text(pattern: str) -> re.Pattern[str]:
    if pattern.endswith(" *"):
        # At the end of a word pattern it also stands for no further words: `git status *`.
        return re.compile(f"(?:{_translated(pattern)}|{_translated(pattern[:-2])})\\Z", re.DOTALL)
    return re.compile(f"{_translated(pattern)}\\Z", re.DOTALL)


def _translated(pattern: str) -> str:
    out: list[str] = []
    i = 0
    while i < len(pattern):
        char = pattern[i]
        if char == "*":
            if not out or out[-1] != ".*":
                out.append(".*")
        elif char == "?":
            out.append(f"[^{HOLE}]")
        elif char == "[" and (end := pattern.find("]", i + 2)) > 0:
            out.append(_class(pattern[i + 1 : end], HOLE))
            i = end
        else:
            out.append(re.escape(char))
        i += 1
    return "".join(out)


def _class(body: str, never: str) -> str:
    escaped = re.sub(r"([\\\[\]&~|^])", r"\\\1", body[1:] if body[0] == "!" else body)
    found = f"[{'^' if body[0] == '!' else ''}{escaped}]"
    return f"(?!{never}){found}" if never else found


def check_text(pattern: str) -> None:
    """Raises ValueError for what is no pattern."""
    try:
        _text(pattern)
    except re.error as error:
        raise ValueError(str(error)) from None


def literal(text: str) -> str:
    """A pattern that fits this text only."""
    return re.sub(r"([*?[])", r"[\1]", text)


def head_of(pattern: str) -> str:
    """What every text begins with that the pattern fits."""
    always = pattern.removesuffix(" *")  # it may stand for no further words
    m = _WILD.search(always)
    return always[: m.start()] if m else always


def is_literal(pattern: str) -> bool:
    return _WILD.search(pattern) is None


# Paths -------------------------------------------------------------------------------------------


def fits_path(pattern: str, path: str, folder: str) -> bool:
    """`*` and `?` stay within one folder, `**` does not; a relative pattern is meant in `folder`."""
    return _path(pattern, folder).match(path) is not None


def could_fit_path(pattern: str, known: str, folder: str) -> bool:
    """Might it fit a path that begins like this?"""
    head = _head(pattern, folder)
    return head.startswith(known) or known.startswith(head)


def check_path(pattern: str) -> None:
    """Raises ValueError for a pattern that can match nothing sensible."""
    try:
        _path(pattern, "/")
    except re.error as error:
        raise ValueError(str(error)) from None


@functools.lru_cache(1024)
def _head(pattern: str, folder: str) -> str:
    pattern = _absolute(pattern, folder)
    m = _WILD.search(pattern)
    return pattern[: m.start()].rstrip("/") if m else pattern


def _absolute(pattern: str, folder: str) -> str:
    if pattern.startswith("~"):
        pattern = os.path.expanduser(pattern)  # noqa: PTH111
    if pattern.startswith("/"):
        return pattern
    return f"{folder.rstrip('/')}/{pattern.removeprefix('./')}"


@functools.lru_cache(1024)
def _path(pattern: str, folder: str) -> re.Pattern[str]:
    if pattern.startswith("~"):
        pattern = os.path.expanduser(pattern)  # noqa: PTH111
    if not pattern.startswith("/"):
        prefix = re.escape(folder.rstrip("/") + "/")
        pattern = pattern.removeprefix("./")
    else:
        prefix = ""
    out, i = [prefix], 0
    while i < len(pattern):
        if pattern.startswith("**/", i):
            out.append("(?:[^/]+/)*")
            i += 3
        elif pattern.startswith("/**", i) and i + 3 == len(pattern):
            out.append("(?:/.*)?")
            i += 3
        elif pattern.startswith("**", i):
            out.append(".*")
            i += 2
        elif pattern[i] == "*":
            out.append("[^/]*")
            i += 1
        elif pattern[i] == "?":
            out.append("[^/]")
            i += 1
        elif pattern[i] == "[" and (end := pattern.find("]", i + 2)) > 0:
            out.append(_class(pattern[i + 1 : end], ""))
            i = end + 1
        else:
            out.append(re.escape(pattern[i]))
            i += 1
    if pattern.endswith("/"):
        out.append(".*")
    return re.compile("".join(out) + r"\Z", re.DOTALL)
