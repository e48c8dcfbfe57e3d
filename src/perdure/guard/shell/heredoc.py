"""Here-documents, read from the text alone: where the line ends that names one, where its body begins and
ends, and whether commands may run in it."""

from __future__ import annotations

import re
from typing import NamedTuple

from .lexer import Unclear

_HEREDOC = re.compile(
    r"(\d*)<<(-?)[ \t]*(?:'([\w.-]+)'|\"([\w.-]+)\"|(\\?)([\w.-]+))(?=[ \t\n|&;<>)])", re.A
)


class Heredoc(NamedTuple):
    mark_end: int
    """Behind `<<E`."""
    line_end: int
    """Of the line with the mark."""
    begin: int
    """Of the body."""
    finish: int
    """Behind the delimiter that ends it."""
    given: str | None
    """What is read; None where only the run tells."""
    runs: bool
    """Commands may run in the body."""


def heredoc(text: str, at: int) -> Heredoc:
    """The one whose mark begins here. Raises Unclear for any but a plain one."""
    m = _HEREDOC.match(text, at)
    if m is None:
        raise Unclear("a here-document that is not a plain one")
    line_end = text.find("\n", m.end())
    if line_end < 0 or "<<" in text[m.end() : line_end].replace("<<<", ""):
        raise Unclear("a here-document that is not a plain one")
    delimiter = m[3] or m[4] or m[6]
    at_line = line_end + 1
    while True:
        stop = text.find("\n", at_line)
        line = text[at_line : stop if stop >= 0 else len(text)]
        if (line.lstrip("\t") if m[2] else line) == delimiter:
            break
        if stop < 0:
            raise Unclear("a here-document that does not end")
        at_line = stop + 1
    body = text[line_end + 1 : at_line]
    given: str | None = body if body.isascii() else None
    runs = False
    if not (m[3] or m[4] or m[5]) and re.search(r"[$`\\]", body):
        given = None
        plain = re.sub(r"\$\w+|\$\{\w+\}|\\[^\n`(]", "", body, flags=re.A)
        runs = bool(re.search(r"\$[({\[]|`|\\\n", plain)) or "$(" in body or "`" in body
    return Heredoc(m.end(), line_end, line_end + 1, at_line + len(line), given, runs)
