"""How a known value looks when somebody has encoded it: the patterns that are searched for.

Percent, backslash and HTML escapes can be mixed at will, so they are undone before the search
(`decoding`); what is enumerated here keeps its length or has few forms.
"""

from __future__ import annotations

import json
from base64 import b32encode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field

SHORTEST = 8
"""Characters; anything shorter would be found in ordinary text."""
WHOLE = 64
"""Characters up to which a value is searched as a whole."""
WINDOW, STRIDE, MOST_PIECES = 48, 24, 64
"""Of longer ones: overlapping pieces, so that a part of it is found too, and at most so many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Own:
    """A secret that this installation holds."""

    name: str
    """As the model may call it, e.g. `secret://github`."""
    value: str = field(repr=False)


def forms(value: str) -> dict[bytes, str]:
    """Pattern → name of the form. Empty for a value too short to be told from ordinary text."""
    found: dict[bytes, str] = {}
    for piece in pieces(value):
        # Where a line ends after it, the last `=` counts as an escape and is gone when that is undone; and
        # what is left of a value without its padding is as good as the value.
        for text in dict.fromkeys((piece, piece.rstrip("="))):
            for form, pattern in _encoded(text) if len(text) >= SHORTEST else ():
                if len(pattern) >= SHORTEST:
                    found.setdefault(pattern, form)
    return found


def pieces(value: str) -> list[str]:
    """What is searched of a value: the whole of it, or parts that only it can have."""
    words = [value.strip()]
    if "\n" in words[0]:
        # A key in several lines: each line that is no border is as good as the key. Structured files
        # hold ordinary lines too; those have blanks in them.
        words = [w for w in value.split() if len(w) >= 24 and not w.startswith("---")] or words
    found: list[str] = []
    for word in words:
        if len(word) < SHORTEST:
            continue
        if len(word) <= WHOLE:
            found.append(word)
            if len(word) >= 32:  # cut off in the middle, its greater part is still told
                part = len(word) * 2 // 3
                found += [word[:part], word[-part:]]
        else:
            found += [word[n : n + WINDOW] for n in range(0, len(word) - WINDOW, STRIDE)]
            found.append(word[-WINDOW:])
    if len(found) > MOST_PIECES:
        step = len(found) / MOST_PIECES
        found = [found[int(n * step)] for n in range(MOST_PIECES)]
    return found


def _encoded(piece: str) -> Iterator[tuple[str, bytes]]:
    raw = piece.encode("utf-8", "surrogatepass")
    yield "plain", raw
    yield "reversed", raw[::-1]
    for cased in (piece.lower(), piece.upper()):
        yield "other case", cased.encode("utf-8", "surrogatepass")
    yield "JSON", json.dumps(piece)[1:-1].encode()
    yield "JSON", json.dumps(piece, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass")
    yield "JSON", json.dumps(piece)[1:-1].replace("/", "\\/").encode()
    yield "hex", raw.hex().encode()
    yield "hex", raw.hex().upper().encode()
    for shift in range(3):
        for inside in _base64(raw, shift):
            yield "base64", inside
    for shift in range(5):
        inside = _base32(raw, shift)
        yield "base32", inside
        yield "base32", inside.lower()


def _base64(raw: bytes, shift: int) -> tuple[bytes, bytes]:
    """What stands before it shifts its bits; the characters at the ends hold its neighbours' too."""
    inside = b64encode(b"\0" * shift + raw).rstrip(b"=")
    inside = inside[(0, 2, 3)[shift] : len(inside) - (1 if (shift + len(raw)) % 3 else 0)]
    return inside, inside.replace(b"+", b"-").replace(b"/", b"_")


def _base32(raw: bytes, shift: int) -> bytes:
    inside = b32encode(b"\0" * shift + raw).rstrip(b"=")
    first = -(-shift * 8 // 5)
    return inside[first : len(inside) - (1 if (shift + len(raw)) % 5 else 0)]
