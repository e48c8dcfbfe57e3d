"""Snapshots: what a session's log folds to, kept so that opening need not fold it all again.

Derived: never synced, ignored unless it fits the log byte for byte, and can be deleted at any time.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from .disk import Disk
from .lines import Place
from .paths import SessionFiles
from .reader import Anchor

FORMAT = 2
_LIMIT = 1 << 30
_HEAD = 1024
"""Bytes that the line before the payload has at most."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    seq: int
    """Of the last record it covers."""
    payload: bytes
    """The caller's own; opaque here."""


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    seq: int
    sum: str
    offset: int
    digest: str
    size: int
    check: str


_header = msgspec.json.Decoder(_Header)


def write_snapshot(disk: Disk, files: SessionFiles, anchor: Anchor, payload: bytes) -> None:
    """Replace the snapshot. Blocks. Raises OSError."""
    place = anchor.place
    header = _Header(
        format=FORMAT,
        seq=place.seq,
        sum=place.total.decode(),
        offset=place.offset,
        digest=anchor.digest,
        size=len(payload),
        check=_check(payload),
    )
    tmp = files.folder / ".snapshot.tmp"
    handle = disk.open(tmp, fresh=True)
    try:
        disk.write(handle, msgspec.json.encode(header) + b"\n" + payload)
        disk.rename(tmp, files.snapshot)
    except OSError:
        with contextlib.suppress(OSError):
            disk.remove(tmp)  # a part of it would only fill a full disk further
        raise
    finally:
        disk.close(handle)


def read_snapshot(disk: Disk, files: SessionFiles) -> tuple[Anchor, Snapshot] | None:
    """The snapshot and the place in the log it is only valid for; None when there is none that is
    whole and of this format. Blocks. Raises OSError."""
    try:
        handle = disk.open(files.snapshot)
    except FileNotFoundError:
        return None
    try:
        head, _, _ = disk.read(handle, 0, _HEAD).partition(b"\n")
        start = len(head) + 1
        # By itself, so that it need not be copied out of the whole.
        payload = disk.read(handle, start, max(0, min(disk.size(handle) - start, _LIMIT)))
    finally:
        disk.close(handle)
    try:
        header = _header.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if header.format != FORMAT or header.size != len(payload) or header.check != _check(payload):
        return None
    place = Place(header.seq, header.offset, header.sum.encode())
    return Anchor(place, header.digest), Snapshot(header.seq, payload)


def _check(payload: bytes) -> str:
    # The same as for the log: processors have it built in, and both are read at every opening.
    return sha256(payload).hexdigest()
