"""Ids that sort by time, and the system's clock: the real `Ids` and `Clock` of the kernel."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

from perdure.kernel.ports import Clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32 in lower case: sorts as ASCII, and has no i, l, o, u to misread."""
_TIME_CHARS = 10
_RANDOM_CHARS = 8
_RANDOM_BITS = 5 * _RANDOM_CHARS


class SystemClock:
    """Implements ports.Clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class TimeIds:
    """Implements ports.Ids: `s_01kbk2m3n4p5q6r7st` is a kind, 48 bits of milliseconds since 1970, and
    40 random bits, in base 32. Within a process each id is greater than the one before it, also when
    the clock stands still or is set back. For one event loop: not locked against threads."""

    def __init__(
        self, clock: Clock | None = None, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        """`entropy(n)` returns n random bytes."""
        self._clock = clock or SystemClock()
        self._entropy = entropy
        self._last = 0

    def new(self, kind: str) -> str:
        ms = int(self._clock.now().timestamp() * 1000)
        value = ms << _RANDOM_BITS | int.from_bytes(self._entropy(_RANDOM_BITS // 8))
        if value <= self._last or value >> _RANDOM_BITS == self._last >> _RANDOM_BITS:
            value = self._last + 1
        self._last = value
        return f"{kind}_{_base32(value, _TIME_CHARS + _RANDOM_CHARS)}"

    def jitter(self) -> float:
        return int.from_bytes(self._entropy(4)) / 2**32


def _base32(value: int, chars: int) -> str:
    return "".join([_ALPHABET[value >> shift & 31] for shift in range(5 * (chars - 1), -1, -5)])
