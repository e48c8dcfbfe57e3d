"""Undoing encodings, so that what they hide can be searched, and saying where it stood.

Only what could hold a credential is decoded: long words that have an escape in them, and long runs of
base64 or hex. A view is what came of them; it knows where each of its pieces stood.
"""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

LONG_RUN = 4_096
"""Characters of an encoded run from which only the likeliest alignment is tried."""
SINGLE_ESCAPES = 13
"""Characters from which a value is found with one escape anywhere in it by the fast pattern."""

ESCAPE = (
    rb"%[0-9A-Fa-f]{2}"
    rb"|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}"
    rb"|&#[0-9]{1,7};|&#[xX][0-9A-Fa-f]{1,6};|&(?:amp|lt|gt|quot|apos);"
    rb"|=\r?\n"
    # Invisible in UTF-8: soft hyphen, zero-width and direction marks, word joiner, byte order mark.
    rb"|\xc2\xad|\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf"
)
_LETTER = rb"[^\s\"'<>%\\]"
RUN = rb"[A-Za-z0-9+/_-]{28,}(?:\r?\n[ \t]*[A-Za-z0-9+/_-]{4,})*"
"""Base64 or hex; 28 characters of base64 are a credential of 20."""
BETWEEN = b" \n"
"""Between texts that are searched together: no escape, word or run begins, ends or goes on with it. (`=` and
a line's end would be an escape.)"""
_NAMED = {b"&amp;": b"&", b"&lt;": b"<", b"&gt;": b">", b"&quot;": b'"', b"&apos;": b"'"}
_PRINTABLE = bytes(range(32, 127)) + b"\t\n\r"
_STANDARD = bytes.maketrans(b"-_", b"+/")
_escape = re.compile(ESCAPE)


def words(shortest: int) -> bytes:
    """The pattern of words that hold an escape, and are as long as a value of `shortest` would be."""
    any_ = rb"(?:" + ESCAPE + rb"|" + _LETTER + rb")"
    before, after = (8, 8) if shortest >= SINGLE_ESCAPES else (4, 4)
    return (
        _LETTER + rb"{%d,}(?:" % before + ESCAPE + rb")" + any_ + rb"*"
        rb"|" + _LETTER + rb"{1,%d}(?:" % (before - 1) + ESCAPE + rb")" + any_ + rb"{4,}"
        rb"|(?:" + ESCAPE + rb")" + any_ + rb"{%d,}" % after
    )


class View(msgspec.Struct, frozen=True):
    """Decoded pieces, one behind the other; that at `starts[i]` stood at `spans[i]`."""

    data: bytes
    form: str
    starts: list[int]
    spans: list[tuple[int, int]]

    def back(self, start: int, end: int) -> tuple[int, int]:
        """Where the pieces that hold this part of `data` stood."""
        first = bisect_right(self.starts, start) - 1
        last = bisect_right(self.starts, max(start, end - 1)) - 1
        return self.spans[first][0], self.spans[last][1]


def unescaped(data: bytes, words: Any) -> View | None:
    """Words without their escapes. `words`: the pattern of that name, compiled."""
    return _view("escaped", data, words, lambda word: (_escape.sub(_undone, word),))


def decoded_runs(data: bytes, run: Any) -> View | None:
    """What base64 and hex in it stand for, as far as it is text. `run`: RUN, compiled."""
    return _view("encoded", data, run, _texts)


def _view(
    form: str, data: bytes, pattern: Any, decode: Callable[[bytes], Iterable[bytes]]
) -> View | None:
    out: list[bytes] = []
    starts: list[int] = []
    spans: list[tuple[int, int]] = []
    size = 0
    for match in pattern.finditer(data):
        for text in decode(match.group()):
            starts.append(size)
            spans.append(match.span())
            out.append(text)
            size += len(text) + len(BETWEEN)
    return View(BETWEEN.join(out), form, starts, spans) if out else None


def _undone(match: re.Match[bytes]) -> bytes:
    escape = match.group()
    if escape[:1] == b"%":
        return bytes((int(escape[1:], 16),))
    if escape[:1] == b"\\":
        return _character(int(escape[2:], 16))
    if escape[:2] == b"&#":
        digits = escape[2:-1]
        hexadecimal = digits[:1] in b"xX"
        return _character(int(digits[1:], 16) if hexadecimal else int(digits))
    return _NAMED.get(escape, b"")


def _character(code: int) -> bytes:
    try:
        return chr(code).encode("utf-8", "surrogatepass")
    except (ValueError, OverflowError):
        return b""


def _texts(run: bytes) -> Iterator[bytes]:
    if b"\n" in run:
        run = bytes(run.translate(None, b"\r\n \t"))
    alphabet = run.translate(_STANDARD)
    for offset in range(4) if len(run) <= LONG_RUN else (0,):
        part = alphabet[offset:]
        part = part[: len(part) - len(part) % 4] if len(part) % 4 == 1 else part
        try:
            text = binascii.a2b_base64(part + b"=" * (-len(part) % 4))
        except binascii.Error:
            continue
        if _readable(text):
            yield text
    for offset in (0, 1):
        part = run[offset:]
        try:
            text = binascii.unhexlify(part[: len(part) & ~1])
        except (binascii.Error, ValueError):
            return
        if _readable(text):
            yield text


def _readable(text: bytes) -> bool:
    """Mostly text: the rest is compressed data, pictures, hashes, or a wrong alignment."""
    return len(text.translate(None, _PRINTABLE)) * 2 <= len(text)
