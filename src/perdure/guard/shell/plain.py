"""Lines that are nothing but words: there is one way to read them, and no tree is needed for it."""

from __future__ import annotations

import re

from .lexer import PLAIN_WORD
from .model import Word

KEYWORDS = frozenset(
    ("if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "select",
     "function", "{", "}", "!", "[[", "]]", "in", "coproc")
)  # fmt: skip
"""Words that begin something other than a simple command."""
_LINE = re.compile(rf"[ \t\n]*{PLAIN_WORD}(?:[ \t]+{PLAIN_WORD})*[ \t\n]*")


def plain_line(text: str) -> list[Word] | None:
    """The words of a simple command without quotes, expansions, redirections or variables set for it. None
    for every other line."""
    if _LINE.fullmatch(text) is None:
        return None
    words = text.split()
    first = words[0]
    if first in KEYWORDS or first == "time" or "=" in first:
        return None
    return [Word(word, word) for word in words]
