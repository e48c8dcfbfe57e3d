"""The items of a conversation: a list that only grows, of which a snapshot's part waits to be looked at.

A long session is opened for one more turn: its old items are sent as bytes that an adapter kept, and
nobody asks what they say. So they stay JSON until somebody does.

# Invariant: an item that was handed out once is the same object ever after.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import overload

import msgspec

from perdure.kernel.prompt import Item

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Item)


NEAR, TAIL = 8, 64 * 1024
"""The last few items are found without going over all: they are among the last bytes, as a rule."""


class Items(Sequence[Item]):
    __slots__ = ("_kept", "_lines", "_new", "_raw", "_seen")

    def __init__(
        self, items: Iterable[Item] = (), *, kept: bytes | memoryview = b"", count: int = 0
    ) -> None:
        """`kept`: what `dump` gave, and how many items that are."""
        self._raw = kept
        self._kept = count
        """Items that came as JSON and are not all decoded."""
        self._lines: list[bytes] | None = None
        self._seen: dict[int, Item] = {}
        """Those of the kept that were looked at."""
        self._new: list[Item] = list(items)

    def append(self, item: Item) -> None:
        self._new.append(item)

    def dump(self) -> tuple[bytes, int]:
        """A line of JSON for each; and their number."""
        return b"".join([self._raw, *map(_dumped, self._new)]), len(self)

    def __len__(self) -> int:
        return self._kept + len(self._new)

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> list[Item]: ...
    def __getitem__(self, at: int | slice) -> Item | list[Item]:
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if start >= self._kept and step > 0:
                return self._new[start - self._kept : max(0, stop - self._kept) : step]
            return self._all()[at]
        if at < 0:
            at += len(self)
        if at >= self._kept:
            return self._new[at - self._kept]
        if at < 0:
            raise IndexError("there are fewer items")
        return self._one(at)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._all())

    def __reversed__(self) -> Iterator[Item]:
        return (self[at] for at in range(len(self) - 1, -1, -1))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Items | list):
            return len(self) == len(other) and list(self) == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        return f"Items({self._all()!r})"

    def _one(self, at: int) -> Item:
        item = self._seen.get(at)
        if item is None:
            item = self._seen[at] = _decoder.decode(self._line(at))
        return item

    def _line(self, at: int) -> bytes:
        back = self._kept - at
        if self._lines is None and back <= NEAR:
            # [what comes before, the line, the `back` - 1 after it, nothing]
            last = bytes(self._raw[-TAIL:]).rsplit(b"\n", back + 1)
            if len(last) == back + 2:
                return last[1]
        if self._lines is None:
            self._lines = bytes(self._raw).split(b"\n")
        return self._lines[at]

    def _all(self) -> list[Item]:
        if self._kept:
            with uncollected():
                found: list[Item] = _decoder.decode_lines(self._raw)
            for at, item in self._seen.items():
                found[at] = item
            self._new = found + self._new
            self._raw, self._kept, self._lines, self._seen = b"", 0, None, {}
        return self._new


def _dumped(item: Item) -> bytes:
    # Only a provider's raw JSON can bring a newline, as white space between tokens.
    return _encode(item).replace(b"\n", b" ") + b"\n"


@contextmanager
def uncollected() -> Iterator[None]:
    """A hundred thousand objects that all stay: collecting in between would only double the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
