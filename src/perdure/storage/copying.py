"""Forking and deleting: whole session folders that appear and vanish by one rename."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

from perdure.kernel.errors import InvalidInput
from perdure.kernel.events import Record

from .disk import Disk
from .lines import START, Place, encode
from .log import locked
from .paths import SessionFiles
from .reader import damaged
from .scan import Break, pieces

TRASH = ".trash"


def copy_session(
    disk: Disk,
    source: SessionFiles,
    target: SessionFiles,
    at: int | None,
    committed: int | None,
    last: Callable[[int], Record],
) -> None:
    """Make `target` from the records of `source` up to `at` (None: all there are) and the record
    `last(at)`. `committed`: where the source's writer, if it is in this process, has got to.
    Blocks; durable on return. Raises OSError, Damaged, InvalidInput, and leaves nothing."""
    draft = SessionFiles(target.folder.parent / f".new-{target.folder.name}")
    try:
        disk.remove(draft.folder)
        disk.mkdir(draft.folder)
        place = _copy_log(disk, source.log, draft.log, at, committed, last)
        if at is not None and place.seq < at:
            raise InvalidInput(f"the session has {place.seq} records, it cannot be forked at {at}")
        _share_artifacts(disk, source.artifacts, draft.artifacts)
        disk.sync_path(draft.folder)
        disk.rename(draft.folder, target.folder)
        disk.sync_path(target.folder.parent)
    except BaseException:
        discard(disk, draft.folder)
        raise


def _copy_log(
    disk: Disk,
    source: Path,
    target: Path,
    at: int | None,
    committed: int | None,
    last: Callable[[int], Record],
) -> Place:
    """Returns the place after what was taken from the source."""
    limit = min(n for n in (at, committed, 1 << 62) if n is not None)
    place = START
    with contextlib.ExitStack() as stack:
        reader = disk.open(source)
        stack.callback(disk.close, reader)
        writer = disk.open(target, fresh=True)
        stack.callback(disk.close, writer)
        for piece in pieces(disk, reader, START, disk.size(reader)):
            if place.seq >= limit:
                break
            if isinstance(piece, Break):
                if not piece.torn:
                    raise damaged(piece)
                break
            raw = piece.raw
            if piece.last.seq > limit:
                kept = raw.split(b"\n")[: limit - place.seq]
                raw = b"".join([line + b"\n" for line in kept])
                place = Place(limit, place.offset + len(raw), kept[-1][8:24])
            else:
                place = piece.last
            disk.write(writer, raw)
        if place.seq < 1 or (at is not None and at < 1):
            raise InvalidInput("a session can be forked from its first record on")
        disk.write(writer, encode(last(place.seq), place.total)[0])
        disk.sync(writer)
    return place


def _share_artifacts(disk: Disk, source: Path, target: Path) -> None:
    try:
        names = [name for name in disk.names(source) if not name.startswith(".")]
    except FileNotFoundError:
        return
    disk.mkdir(target)
    for name in names:
        disk.link(source / name, target / name)
        # Where links cannot be made it is a copy, and not yet on the disk.
        disk.sync_path(target / name)
    disk.sync_path(target)


def remove_session(disk: Disk, files: SessionFiles) -> None:
    """Blocks. Durable on return. Raises Locked, and OSError (FileNotFoundError when there is none)."""
    lock = disk.lock(files.lock)
    if lock is None:
        raise locked(disk, files)
    trash = files.folder.parent / TRASH
    try:
        with contextlib.suppress(FileExistsError):
            disk.mkdir(trash)
        taken = set(disk.names(trash))
        name = next(
            name for n in itertools.count() if (name := f"{files.folder.name}-{n}") not in taken
        )
        disk.rename(files.folder, trash / name)
        disk.sync_path(files.folder.parent)
    finally:
        disk.close(lock)
    discard(disk, trash)  # with what a crash may have left of earlier ones


def discard(disk: Disk, folder: Path) -> None:
    """Remove what no one refers to any more; if that fails, it is only space."""
    with contextlib.suppress(OSError):
        disk.remove(folder)
