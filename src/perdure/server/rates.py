"""How often a caller may knock, and how fast it may go on. One bucket per real client.

A client is the address that the connection comes from, in one form: an IPv4 address and the same one
mapped into IPv6 are one, and so is a whole /64 network of IPv6, which one caller usually has to itself.
Headers that name other clients count for nothing.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from .problems import Refusal

GUESSES = 20
"""Wrong tokens in a row that a client has free."""
PER_GUESS = 15.0
"""Seconds until it has one more."""
CLIENTS = 10_000
BURST = 5
"""Seconds' worth of requests that may come at once."""


def client_of(address: str) -> str:
    """The real client behind an address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif not found.is_loopback:
            return str(ipaddress.ip_network((found, 64), strict=False))
    return "loopback" if found.is_loopback else str(found)


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Buckets:
    """Token buckets, one per key; the longest unused are forgotten first."""

    def __init__(
        self, size: float, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`size`: what a bucket holds; `seconds`: until one more is in it."""
        self._size, self._seconds, self._clock = size, seconds, clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait(self, key: str) -> float:
        """Seconds until one is left; 0: there is."""
        bucket = self._buckets.get(key)
        if bucket is None:
            return 0.0
        self._fill(bucket)
        return 0.0 if bucket.left >= 1 else (1 - bucket.left) * self._seconds

    def take(self, key: str) -> None:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._size, self._clock())
            if len(self._buckets) > CLIENTS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        self._fill(bucket)
        bucket.left = max(0.0, bucket.left - 1)

    def _fill(self, bucket: _Bucket) -> None:
        now = self._clock()
        bucket.left = min(self._size, bucket.left + (now - bucket.at) / self._seconds)
        bucket.at = now


class Rates:
    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`per_second`: requests of one token from one client."""
        self._guesses = Buckets(GUESSES, PER_GUESS, clock)
        self._requests = Buckets(per_second * BURST, 1 / per_second, clock)

    def check_guess(self, client: str) -> None:
        """Raises Refusal while the client has guessed wrong too often."""
        if wait := self._guesses.wait(client):
            raise _slow_down(wait, "guesses", "Too many wrong tokens came from there.")

    def guessed(self, client: str) -> None:
        self._guesses.take(client)

    def request(self, client: str, grant: str) -> None:
        """Raises Refusal when it goes too fast."""
        key = f"{grant} {client}"
        if wait := self._requests.wait(key):
            raise _slow_down(wait, "rate", "Too many requests at once.")
        self._requests.take(key)


def _slow_down(seconds: float, code: str, detail: str) -> Refusal:
    wait = max(1, round(seconds + 0.5))
    return Refusal(
        429,
        code,
        detail,
        hint=f"Wait {wait} s. `server.rate` in perdure.yaml sets how many a second are taken."
        if code == "rate"
        else f"Wait {wait} s, and use the right one.",
        headers={"Retry-After": str(wait)},
    )
