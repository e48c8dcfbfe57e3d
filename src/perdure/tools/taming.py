"""Names and values from outside, as short visible text: what names things must not give instructions."""

from __future__ import annotations

import re
import unicodedata

NAME_CHARS = 255
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Unicode categories of what is not seen, or steers how the rest is seen: controls, bidirectional and
zero-width characters, lone surrogates, private and unassigned ones, line and paragraph ends."""


_STEERING = re.compile("[\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")


def unhidden(text: str) -> str:
    """A longer text with what hides in it, or turns it around, written out; joiners of emoji stay."""
    return text if text.isascii() else _STEERING.sub(lambda m: _visible(m[0]), text)


def tame(text: str, most: int = NAME_CHARS) -> str:
    """At most `most` characters, and those that hide or steer written out. For file names, header
    values, titles and the like; plain text passes as it is."""
    if len(text) <= most and text.isascii() and text.isprintable():
        return text
    shown = "".join(_visible(c) for c in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _visible(char: str) -> str:
    if char.isprintable() or unicodedata.category(char) not in _HIDDEN:
        return char
    code = ord(char)
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )
