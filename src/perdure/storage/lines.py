"""The line format of `events.jsonl` (docs/formats.md, "Session log"): pure functions over bytes.

A line is `{"sum":"<16 hex>",` and the record's JSON without its opening brace. The sum is BLAKE2b with
8 bytes of output over the sum before it (16 zeros at first) and the rest of the line, so a line vouches
for all lines before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from perdure.kernel.errors import InvalidInput
from perdure.kernel.events import Record

ZERO = b"0" * 16
"""The sum before the first line."""

_HEAD = b'{"sum":"'
_BODY = len(_HEAD) + 16 + len(b'",')

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises: ValidationError, a DecodeError, for JSON that is no record."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


HEAD = re.compile(rb'\{"sum":"[0-9a-f]{16}","seq":([0-9]{1,18}),')
"""How a line begins. It cannot stand in a JSON string, where quotes are escaped."""


DEEPEST = 200
"""Levels of nesting in a record. The decoder's own limit depends on how deep the stack is that day: what
was written must be readable from anywhere."""
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


class Place(NamedTuple):
    """A spot between two lines of a log."""

    seq: int
    """Of the record before it; 0 at the very start."""
    offset: int
    """Bytes before it."""
    total: bytes
    """Sum of the line before it, 16 hex digits."""


START = Place(0, 0, ZERO)


def encode(record: Record, total: bytes) -> tuple[bytes, bytes]:
    """The line, with its newline, that continues a log whose last sum is `total`; and its own sum.
    Raises InvalidInput when the record holds what cannot be read back: a lone surrogate, or more
    than DEEPEST levels of nesting."""
    try:
        body = _encoder.encode(record)[1:]
    except (UnicodeEncodeError, RecursionError, OverflowError, TypeError, ValueError) as error:
        what = type(record.event).__name__
        raise InvalidInput(f"a {what} cannot be stored: {error}") from error
    if body.count(b"[") + body.count(b"{") >= DEEPEST and _depth(body) > DEEPEST:
        what = type(record.event).__name__
        raise InvalidInput(f"a {what} cannot be stored: it is nested deeper than {DEEPEST} levels")
    if b"\n" in body:
        # Only a provider's raw JSON can bring one, as white space between tokens.
        body = body.replace(b"\n", b" ")
    mine = blake2b(total + body, digest_size=8).hexdigest().encode()
    return b'%b%b",%b\n' % (_HEAD, mine, body), mine


def _depth(body: bytes) -> int:
    """Of JSON without its opening brace."""
    deepest = depth = 1
    for byte in _STRING.sub(b"", body):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def continuing(lines: Sequence[bytes], total: bytes) -> tuple[int, bytes]:
    """How many of `lines` (without newlines), from the first on, continue the chain from `total`, and
    the sum they end with."""
    for count, line in enumerate(lines):
        mine = blake2b(total + line[_BODY:], digest_size=8).hexdigest().encode()
        if not line.startswith(b'%b%b",' % (_HEAD, mine)):
            return count, total
        total = mine
    return len(lines), total


def stated_sum(line: bytes) -> bytes | None:
    """The sum a line claims; None when it does not look like a line of a log."""
    claimed = line[len(_HEAD) : len(_HEAD) + 16]
    well_formed = line.startswith(_HEAD) and line[len(_HEAD) + 16 : _BODY] == b'",'
    return claimed if well_formed and not claimed.translate(None, b"0123456789abcdef") else None


def computed_sum(line: bytes, total: bytes) -> bytes:
    """The sum a line should claim after `total`."""
    return blake2b(total + line[_BODY:], digest_size=8).hexdigest().encode()


def with_sum(line: bytes, total: bytes) -> bytes:
    """The line with the sum that is right after `total`."""
    return b'%b%b",%b' % (_HEAD, computed_sum(line, total), line[_BODY:])


def decode(line: bytes) -> Record:
    """Raises UNREADABLE."""
    return _decoder.decode(line)


def decode_all(lines: bytes) -> list[Record]:
    """Many lines at once, newlines between them. Raises UNREADABLE."""
    return _decoder.decode_lines(lines)
