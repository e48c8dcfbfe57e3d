"""Walking a log's file: whole verified lines in pieces, and what it means when the chain breaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from perdure.kernel.errors import Damaged
from perdure.kernel.events import Record

from . import lines
from .disk import Disk
from .lines import Place

PIECE = 256 * 1024
"""Bytes read at a time; a longer line is read whole."""
GLANCE = 4 * 1024
"""Bytes read first by who wants a few lines only."""


class Break(NamedTuple):
    """Where the chain ends before the file does."""

    place: Place
    """After the last good line."""
    torn: bool
    """True: nothing valid follows, as when a write was cut off. False: something does, so what is
    broken or missing here was once whole."""


class Piece(NamedTuple):
    """Verified whole lines."""

    raw: bytes
    """With their newlines."""
    first: Place
    """Before them."""
    last: Place
    """After them."""


def pieces(
    disk: Disk, handle: int, start: Place, end: int, first: int = PIECE
) -> Iterator[Piece | Break]:
    """Verified lines from `start` to offset `end`, in pieces; a Break comes last, if there is one.
    `first`: bytes of the first reading."""
    place, rest, size = start, b"", first
    offset = start.offset
    while offset < end:
        chunk = disk.read(handle, offset, min(size, end - offset))
        if not chunk:
            break
        offset += len(chunk)
        whole, newline, rest = (rest + chunk).rpartition(b"\n")
        if not newline:
            size *= 2  # a line longer than a piece: read on, without going over it again and again
            continue
        size = PIECE
        split = whole.split(b"\n")
        good, total = lines.continuing(split, place.total)
        if good < len(split):
            raw = b"".join([line + b"\n" for line in split[:good]])
            after = Place(place.seq + good, place.offset + len(raw), total)
            if good:
                yield Piece(raw, place, after)
            yield Break(after, _is_torn(disk, handle, after, end))
            return
        after = Place(place.seq + good, place.offset + len(whole) + 1, total)
        yield Piece(whole + b"\n", place, after)
        place = after
    if rest:
        yield Break(place, True)


def _is_torn(disk: Disk, handle: int, place: Place, end: int) -> bool:
    """Invariant: True only if nothing after `place` can be shown to have been written after the
    record that is due there.

    What shows it is the head of a line with a higher number; or, since a bit may have flipped in that
    too, a line that continues the chain from the sum its neighbour claims or should have had.
    """
    tail = disk.read(handle, place.offset, end - place.offset)
    if any(int(head[1]) > place.seq + 1 for head in lines.HEAD.finditer(tail)):
        return False
    before, should = None, place.total
    for index, line in enumerate(tail.split(b"\n")[:-1]):
        mine = lines.stated_sum(line)
        if index and mine is not None:
            if lines.computed_sum(line, should) == mine:
                return False
            if before is not None and lines.computed_sum(line, before) == mine:
                return False
        before, should = mine, lines.computed_sum(line, before or should)
    return True


def records(piece: Piece, after: int, through: int) -> list[Record]:
    """The records of a piece with after < seq <= through.
    Raises Damaged when a line is whole but not a record this version knows."""
    skip, last = max(0, after - piece.first.seq), min(piece.last.seq, through)
    raw, first = piece.raw, piece.first.seq + skip
    if first >= last:
        return []
    if skip or last < piece.last.seq:
        split = raw.split(b"\n")[skip : last - piece.first.seq]
        raw = b"\n".join([*split, b""])
    try:
        found = lines.decode_all(raw)
        if found and found[0].seq == first + 1 and found[-1].seq == last:
            return found
    except lines.UNREADABLE:
        pass
    for seq, line in enumerate(raw[:-1].split(b"\n"), first + 1):
        why = undecodable(line, seq)
        if why:
            raise Damaged(
                f"record {seq} is whole but cannot be read: {why}",
                hint="It may have been written by a newer version of Perdure.",
            )
    raise AssertionError("one of the lines is at fault")


def undecodable(line: bytes, seq: int) -> str:
    """Why a line is not record `seq`; empty when it is."""
    try:
        record = lines.decode(line)
    except lines.UNREADABLE as error:
        return str(error)
    return "" if record.seq == seq else f"it is numbered {record.seq}, not {seq}"
