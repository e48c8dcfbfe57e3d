"""The reading side of a session's log: shared by the writer, by read-only views, verify and export."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from perdure.kernel.errors import Damaged, NotFound
from perdure.kernel.events import Record

from .disk import Disk
from .failure import storage_error
from .lines import START, Place
from .scan import GLANCE, PIECE, Break, Piece, pieces, records

if TYPE_CHECKING:
    from hashlib import _Hash


FEW = 4
"""So many records from a known place on are looked for in a small piece first."""
HELD = 16 << 20
"""Bytes of logs that opening them may hold in memory, of all together, to be folded next without a second
look."""


class Allowance:
    """What the logs that are being opened share. Any thread."""

    def __init__(self, bytes: int = HELD) -> None:
        self.left = bytes
        self._guard = Lock()

    def take(self, bytes: int) -> bool:
        with self._guard:
            if bytes > self.left:
                return False
            self.left -= bytes
            return True

    def give(self, bytes: int) -> None:
        with self._guard:
            self.left += bytes


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place in a log and the SHA-256 of all bytes before it: what a snapshot is tied to. Checking it
    proves the log's head whole at the speed of the hash, without going over its lines."""

    place: Place
    digest: str


@dataclass(slots=True)
class Survey:
    """What a walk over a log found."""

    place: Place
    """After the last good line."""
    size: int
    """Of the file, in bytes."""
    digest: _Hash
    """Over all bytes before `place`; goes on with what is appended."""
    broken: Break | None = None
    anchored: bool = False
    """The anchor given holds."""
    marks: list[Place] = field(default_factory=lambda: [START])
    """Places to start reading from, ascending."""
    held: list[Piece] = field(default_factory=list)
    """All that was walked over, if it may be held."""
    taken: int = 0
    """Bytes of the allowance; whoever lets go of `held` gives them back."""


def survey(
    disk: Disk, handle: int, anchor: Anchor | None = None, allowance: Allowance | None = None
) -> Survey:
    """Walk the log from its start, or from `anchor` when that holds. Holds what it walks over if there
    is an allowance with room for it. Raises OSError."""
    size = disk.size(handle)
    found = Survey(START, size, sha256())
    if anchor is not None and anchor.place.offset <= size:
        digest = sha256()
        end = anchor.place.offset
        for offset in range(0, end, PIECE):
            digest.update(disk.read(handle, offset, min(PIECE, end - offset)))
        if digest.hexdigest() == anchor.digest:
            found.digest, found.place, found.anchored = digest, anchor.place, True
            found.marks.append(anchor.place)
    if allowance is not None and allowance.take(size - found.place.offset):
        found.taken = size - found.place.offset
    try:
        for piece in pieces(disk, handle, found.place, size):
            if isinstance(piece, Break):
                found.broken = piece
                break
            found.digest.update(piece.raw)
            found.place = piece.last
            found.marks.append(piece.last)
            if found.taken:
                found.held.append(piece)
    except BaseException:
        if allowance is not None:
            allowance.give(found.taken)
        raise
    return found


def read_records(
    disk: Disk, path: Path, marks: list[Place], end: Place, after: int, through: int | None
) -> Iterator[Record]:
    """Verified records with after < seq <= through, up to `end`. `marks` begins with START and
    ascends. Raises Damaged when the file is no longer what it was, NotFound when it is gone."""
    last = end.seq if through is None else min(through, end.seq)
    if last <= after:
        return
    start = marks[bisect_right(marks, max(after, 0), key=lambda m: m.seq) - 1]
    try:
        handle = disk.open(path)
    except FileNotFoundError:
        raise NotFound(f"{path} is gone") from None
    except OSError as error:
        raise storage_error("read the session's log", error) from error
    try:
        few = GLANCE if last - start.seq <= FEW else PIECE
        for piece in pieces(disk, handle, start, end.offset, few):
            if isinstance(piece, Break):
                raise damaged(piece)
            yield from records(piece, after, last)
            if piece.last.seq >= last:
                return
    except OSError as error:
        raise storage_error("read the session's log", error) from error
    finally:
        disk.close(handle)


def read_held(held: list[Piece], after: int) -> Iterator[Record]:
    """Records with seq > after of pieces that were verified before. Raises Damaged."""
    for piece in held:
        yield from records(piece, after, piece.last.seq)


def read_lines(disk: Disk, path: Path, end: Place) -> Iterator[bytes]:
    """The file's verified bytes up to `end`, in pieces of whole lines. Raises as `read_records`."""
    try:
        handle = disk.open(path)
        try:
            for piece in pieces(disk, handle, START, end.offset):
                if isinstance(piece, Break):
                    raise damaged(piece)
                yield piece.raw
        finally:
            disk.close(handle)
    except FileNotFoundError:
        raise NotFound(f"{path} is gone") from None
    except OSError as error:
        raise storage_error("read the session's log", error) from error


def damaged(broken: Break) -> Damaged:
    """What to tell when the chain is broken inside."""
    return Damaged(
        f"the session's log is damaged at line {broken.place.seq + 1}; it opens read-only",
        hint="`perdure session verify ID` shows what is wrong, `--repair` mends what can be.",
    )
