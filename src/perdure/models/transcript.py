"""Encode once: a session's items as bytes in one provider's wire format (DESIGN, section 9).

Invariant: `pieces[i]` is what `encode(items[i])` gave for that very object. A request is a join of
these pieces, so what was sent once is sent again to the byte, and provider caches hit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from perdure import __version__
from perdure.kernel.errors import NotFound
from perdure.kernel.events import Image
from perdure.kernel.prompt import ImageSource, Item, Prefix, Prompt

EncodeItem = Callable[[Item, ImageSource | None], bytes]
EncodePrefix = Callable[[Prefix], bytes]

BLOCK_BYTES = 64 * 1024
"""Old pieces are joined to blocks of about this size, once: a long history is then sent as it lies,
without being copied into one body for every request."""

ENCODING = 1
"""Raise it with every change of what any adapter makes of an item: kept pieces are then encoded anew."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The pieces of a session's first items, to be taken up after the session was closed."""

    key: str
    """What they depend on besides the items."""
    revision: int
    """Of the prompts they were made for."""
    sizes: list[int]
    """Bytes of each; -1 for one that is not kept."""
    body: bytes
    """All that are kept and not empty, joined by commas, as they are sent."""


class Passing(bytes):
    """A piece that is not kept, because encoding the item again may rightly give another."""


class Transcript:
    """The pieces of one session. Rebuilt from the prompt at any time; holds no truth of its own."""

    __slots__ = (
        "_blocks",
        "_encode",
        "_holes",
        "_images",
        "_items",
        "_kept",
        "_key",
        "_of",
        "_pieces",
        "_revision",
        "_settled",
        "_taken",
    )

    def __init__(self, encode: EncodeItem, key: str = "") -> None:
        """`key`: all that `encode` depends on besides item and images."""
        self._encode = encode
        self._key = f"{__version__} {ENCODING} {key}"
        self._items: list[Item] = []
        self._pieces: list[bytes] = []
        self._revision = -1
        self._blocks: list[bytes] = []
        self._settled = 0
        """How many pieces the blocks hold."""
        self._of: Sequence[Item] | None = None
        """What the pieces were last synced with. Compared, and only ever longer."""
        self._taken = 0
        """Pieces taken up, of the first items of `_of`, that are not in `_items`."""
        self._kept: Kept | None = None
        """While those are in the blocks only."""
        self._holes: list[int] = []
        """Pieces taken up that are still to be encoded."""
        self._images = _Watched()

    def keep(self, items: Sequence[Item], revision: int) -> Kept | None:
        """The pieces, if they are those of these items, the very sequence of the session's prompts."""
        if items is not self._of or revision != self._revision or self._holes:
            return None
        self._cut()
        # Only a provider's raw JSON brings a newline; the log, whose records are lines, keeps it as a space.
        # After a restart such an item is encoded as the log gives it, with a snapshot as without.
        kept = [None if type(p) is Passing or b"\n" in p else p for p in self._pieces]
        return Kept(
            key=self._key,
            revision=revision,
            sizes=[-1 if p is None else len(p) for p in kept],
            body=b",".join(filter(None, kept)),
        )

    def take_up(self, kept: Kept, items: Sequence[Item]) -> None:
        """Begin with what was kept, where it is of the same encoding. `items`: the very sequence that
        the next prompts bring; not looked at now."""
        sizes, count = kept.sizes, len(kept.sizes)
        if kept.key != self._key or count > len(items) or self._of is not None:
            return
        self._of, self._revision, self._taken = items, kept.revision, count
        self._kept, self._pieces = kept, [b""] * count
        if min(sizes, default=0) < 0:
            self._holes = [index for index, size in enumerate(sizes) if size < 0]
            self._cut()
        elif kept.body:
            self._blocks, self._settled = [kept.body], count

    def _cut(self) -> None:
        """Cut what was taken up into its pieces."""
        if self._kept is None:
            return
        sizes, body, at = self._kept.sizes, self._kept.body, 0
        for index, size in enumerate(sizes):
            if size > 0:
                self._pieces[index] = body[at : at + size]
                at += size + 1
        self._kept = None

    def sync(self, prompt: Prompt) -> list[bytes]:
        """One piece per item of the prompt, in order; those that came with `take_up` may stand in the
        blocks of `settled` only, and be empty here. The list is ours: read it, do not change it.

        Costs the new items only, unless the revision changed; then one pass, and the encoding of the
        items that were replaced. An item that gives no bytes has an empty piece."""
        fresh = prompt.items
        if self._holes and self._of is not None:
            for index in self._holes:
                self._pieces[index] = self._encoded(self._of[index], prompt.images)
            self._holes = []
        if prompt.revision != self._revision or not self._continues(fresh):
            # The old items are alive until here, so no id can have been given to another object.
            self._cut()
            known = {id(i): piece for i, piece in zip(self._all(), self._pieces, strict=True)}
            self._pieces = [
                piece
                if (piece := known.get(id(item))) is not None
                else self._encoded(item, prompt.images)
                for item in fresh
            ]
            self._items, self._taken, self._revision = list(fresh), 0, prompt.revision
            self._blocks, self._settled = [], 0
        self._of = fresh
        for index in range(len(self._pieces), len(fresh)):
            item = fresh[index]
            self._pieces.append(self._encoded(item, prompt.images))
            self._items.append(item)
        return self._pieces

    def _encoded(self, item: Item, images: ImageSource | None) -> bytes:
        watched = self._images
        watched.source, watched.asked = images, False
        piece = self._encode(item, watched)
        # An image may be gone the next time; and it is on disk already.
        return Passing(piece) if watched.asked else piece

    def _all(self) -> list[Item]:
        taken = self._of[: self._taken] if self._of is not None and self._taken else ()
        return [*taken, *self._items]

    def _continues(self, longer: Sequence[Item]) -> bool:
        """Whether more was only appended. Looking at both ends is enough to notice a prompt of another
        kind (a request to summarise) between those of the session, whose revision may be the same."""
        if longer is self._of and len(longer) >= len(self._pieces):
            return True
        shorter = self._all()
        count = len(shorter)
        return not count or (
            len(longer) >= count and longer[0] is shorter[0] and longer[count - 1] is shorter[-1]
        )

    def joined(self, prompt: Prompt) -> list[bytes]:
        """Chunks that make the pieces of the prompt, joined by commas; none if all are empty."""
        count = len(self.sync(prompt))
        blocks, settled = self.settled(count)
        return [*blocks, *comma(self._pieces[settled:], after=bool(blocks))]

    def settled(self, limit: int) -> tuple[list[bytes], int]:
        """(blocks, n): chunks that make the first n of the synced pieces, joined by commas, n being at
        most `limit`. Empty pieces are left out. The list is ours."""
        if limit < self._settled:
            self._cut()
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


class _Watched(ImageSource):
    """Notes whether an image was asked for."""

    def __init__(self) -> None:
        self.source: ImageSource | None = None
        self.asked = False

    def read_image(self, image: Image) -> bytes:
        self.asked = True
        if self.source is None:
            raise NotFound("there are no images here")
        return self.source.read_image(image)


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
