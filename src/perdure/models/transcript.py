"""Encode once: a session's items as bytes in one provider's wire format (DESIGN, section 9).

Invariant: `pieces[i]` is what `encode(items[i])` gave for that very object. A request is a join of
these pieces, so what was sent once is sent again to the byte, and provider caches hit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perdure.kernel.prompt import ImageSource, Item, Prefix, Prompt

EncodeItem = Callable[[Item, ImageSource | None], bytes]
EncodePrefix = Callable[[Prefix], bytes]

BLOCK_BYTES = 64 * 1024
"""Old pieces are joined to blocks of about this size, once: a long history is then sent as it lies,
without being copied into one body for every request."""


class Transcript:
    """The pieces of one session. Rebuilt from the prompt at any time; holds no truth of its own."""

    __slots__ = ("_blocks", "_encode", "_items", "_pieces", "_revision", "_settled")

    def __init__(self, encode: EncodeItem) -> None:
        self._encode = encode
        self._items: list[Item] = []
        self._pieces: list[bytes] = []
        self._revision = -1
        self._blocks: list[bytes] = []
        self._settled = 0
        """How many pieces the blocks hold."""

    def sync(self, prompt: Prompt) -> list[bytes]:
        """One piece per item of the prompt, in order. The list is ours: read it, do not change it.

        Costs the new items only, unless the revision changed; then one pass, and the encoding of the
        items that were replaced. An item that gives no bytes has an empty piece."""
        items, pieces = self._items, self._pieces
        if prompt.revision != self._revision or not _continues(prompt.items, items):
            known = {id(item): piece for item, piece in zip(items, pieces, strict=True)}
            fresh = list(prompt.items)
            encode, images = self._encode, prompt.images
            # The old items are alive until here, so no id can have been given to another object.
            rebuilt = [
                piece if (piece := known.get(id(item))) is not None else encode(item, images)
                for item in fresh
            ]
            self._items, self._pieces, self._revision = fresh, rebuilt, prompt.revision
            self._blocks, self._settled = [], 0
            return rebuilt
        for index in range(len(items), len(prompt.items)):
            item = prompt.items[index]
            pieces.append(self._encode(item, prompt.images))
            items.append(item)
        return pieces

    def joined(self, prompt: Prompt) -> list[bytes]:
        """Chunks that make the pieces of the prompt, joined by commas; none if all are empty."""
        count = len(self.sync(prompt))
        blocks, settled = self.settled(count)
        return [*blocks, *comma(self._pieces[settled:], after=bool(blocks))]

    def settled(self, limit: int) -> tuple[list[bytes], int]:
        """(blocks, n): chunks that make the first n of the synced pieces, joined by commas, n being at
        most `limit`. Empty pieces are left out. The list is ours."""
        if limit < self._settled:
            self._blocks, self._settled = [], 0
        fresh = self._pieces[self._settled : limit]
        if sum(map(len, fresh)) >= BLOCK_BYTES:
            self._blocks += comma(fresh, after=bool(self._blocks))
            self._settled = limit
        return self._blocks, self._settled


def comma(pieces: list[bytes], *, after: bool) -> list[bytes]:
    """One chunk of the pieces joined by commas, or none if all are empty. `after`: begins with a comma,
    because something stands before it."""
    whole = list(filter(None, pieces))
    if not whole:
        return []
    return [b",".join((b"", *whole) if after else whole)]


def _continues(longer: Sequence[Item], shorter: list[Item]) -> bool:
    """Whether more was only appended. Looking at both ends is enough to notice a prompt of another
    kind (a request to summarise) between those of the session, whose revision may be the same."""
    count = len(shorter)
    return not count or (
        len(longer) >= count and longer[0] is shorter[0] and longer[count - 1] is shorter[-1]
    )


class PrefixBytes:
    """The head of the request (system prompt, tools), encoded once for each digest."""

    __slots__ = ("_encode", "_piece", "_prefix")

    def __init__(self, encode: EncodePrefix) -> None:
        self._encode = encode
        self._prefix: Prefix | None = None
        self._piece = b""

    def of(self, prefix: Prefix) -> bytes:
        last = self._prefix
        if last is not prefix:
            if last is None or not prefix.digest or last.digest != prefix.digest:
                self._piece = self._encode(prefix)
            self._prefix = prefix
        return self._piece
