"""What is about to leave is looked at in every form in which a secret could hide in it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import parse_qsl

from .address import Address
from .errors import Refused

INLINE = 64 << 10
"""Bytes up to which a scan does not get a thread of its own."""

_GAPS = re.compile(rb"[\s\0]+")


class Leak(Protocol):
    @property
    def name(self) -> str:
        """Which secret, or which rule: never the value."""


class LeakScanner(Protocol):
    """Implemented by `perdure.leaks`. May be called from any thread."""

    def scan(self, data: bytes, *, formats: bool = True) -> Sequence[Leak]:
        """Secrets in these bytes, plain or within percent signs, escapes, base64, hex and what is
        nested of these: the owner's own, and with `formats` what looks like anybody's."""

    def redact(self, text: str, *, formats: bool = True) -> tuple[str, int]:
        """The text with marks in their place, and how many there were."""


async def check_outgoing(
    scanner: LeakScanner, address: Address, headers: Mapping[str, str], body: bytes
) -> None:
    """Raises Refused, also where the scan itself fails."""
    pieces = [address.target.encode(), address.host.encode()]
    pieces.append(b"\n".join(f"{n}: {v}".encode() for n, v in headers.items()))
    # A secret in pieces: values that a server puts together again.
    if address.query:
        pairs = parse_qsl(address.query, keep_blank_values=True)
        pieces.append("".join(v for _, v in pairs).encode("utf-8", "replace"))
    pieces.append(address.path.replace("/", "").encode())
    pieces.append(address.host.replace(".", "").encode())
    size = sum(map(len, pieces)) + len(body)
    try:
        if size <= INLINE:
            found = _find(scanner, pieces, body)
        else:
            found = await asyncio.to_thread(_find, scanner, pieces, body)
    except Exception as error:
        raise Refused(
            f"Not sent: the search for secrets failed ({type(error).__name__}).",
            stage="leak",
        ) from None
    if found:
        raise Refused(
            f"Not sent: it holds what looks like a secret ({found}).",
            stage="leak",
            hint="Where a secret belongs, write secret://NAME; it is put in on the way.",
        )


def _find(scanner: LeakScanner, pieces: Sequence[bytes], body: bytes) -> str:
    """The name of the first thing found."""
    for data in (b"\n".join(pieces), body):
        # The second form is for text of two bytes a character, and for values broken over lines.
        for form in dict.fromkeys((data, _GAPS.sub(b"", data))):
            for leak in scanner.scan(form) if form else ():
                return str(leak.name)
    return ""


async def clean_answer(scanner: LeakScanner, body: bytes) -> tuple[bytes, int]:
    """The body without the owner's secrets, and how many kinds there were. Raises Refused."""
    try:
        if len(body) <= INLINE:
            return _clean(scanner, body)
        return await asyncio.to_thread(_clean, scanner, body)
    except Exception as error:
        raise Refused(
            f"The answer is withheld: the search for secrets in it failed ({type(error).__name__}).",
            stage="answer",
        ) from None


def _clean(scanner: LeakScanner, body: bytes) -> tuple[bytes, int]:
    """Only the owner's own secrets: what looks like somebody's is what pages are written about."""
    count = 0
    if body and scanner.scan(body, formats=False):
        # Every byte stands for a character here, so that nothing else changes.
        text, count = scanner.redact(body.decode("latin-1"), formats=False)
        body = text.encode("latin-1", "replace")
        if scanner.scan(body, formats=False):
            raise ValueError("a secret that cannot be taken out")
    if b"\0" in body[:4096] and scanner.scan(body.replace(b"\0", b""), formats=False):
        raise ValueError("a secret in a form that cannot be taken out")
    return body, count
