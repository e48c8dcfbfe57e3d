"""Checking backups: everything is read again, every hash computed, every log's chain followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

from perdure.kernel.errors import NotFound, StorageError
from perdure.storage import lines

from .depots import Depot
from .records import OBJECTS, File, Manifest, load, names, object_key

AT_ONCE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    backups: tuple[tuple[str, Manifest], ...]
    """Those that were checked, oldest first."""
    pieces: int
    bytes: int
    unneeded: int
    """Pieces that no backup names: a backup was cut off, or is being made."""
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def check(
    depot: Depot, name: str | None = None, *, progress: Callable[[str], None] = lambda _: None
) -> Report:
    """All backups, or one. Blocks. Raises NotFound when there is none, StorageError when the depot
    cannot be read."""
    wanted = [name] if name else names(depot)
    if not wanted:
        raise NotFound(f"there is no backup in {depot.name}")
    problems: list[str] = []
    backups: list[tuple[str, Manifest]] = []
    for one in wanted:
        try:
            backups.append((one, load(depot, one)))
        except StorageError as error:
            problems.append(error.message)
    users = _users(backups)
    sizes: dict[str, int] = {}
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="backup") as pool:
        for piece, size in zip(users, pool.map(lambda p: _measure(depot, p), users), strict=True):
            progress(piece)
            if isinstance(size, int):
                sizes[piece] = size
            else:
                problems.append(f"{size}: {users[piece]} needs it")
    for one, manifest in backups:
        problems += [f"backup {one}: {what}" for what in _wrong(depot, manifest, sizes)]
    stored = {key.removeprefix(OBJECTS).replace("/", "") for key in depot.names(OBJECTS)}
    return Report(
        backups=tuple(backups),
        pieces=len(sizes),
        bytes=sum(sizes.values()),
        unneeded=len(stored - users.keys()) if name is None else 0,
        problems=tuple(problems),
    )


def _users(backups: list[tuple[str, Manifest]]) -> dict[str, str]:
    """Each piece, with a file that needs it."""
    return {
        piece: f"{file.path} in backup {name}"
        for name, manifest in backups
        for file in manifest.files
        for piece in file.pieces
    }


def _measure(depot: Depot, piece: str) -> int | str:
    """Its size, or what is wrong with it."""
    data = depot.read(object_key(piece))
    if data is None:
        return f"piece {piece} is missing"
    if sha256(data).hexdigest() != piece:
        return f"piece {piece} is damaged"
    return len(data)


def _wrong(depot: Depot, manifest: Manifest, sizes: dict[str, int]) -> Iterator[str]:
    files = {file.path: file for file in manifest.files}
    for file in manifest.files:
        if all(piece in sizes for piece in file.pieces):
            found = sum(sizes[piece] for piece in file.pieces)
            if found != file.size:
                yield f"{file.path} has {found} bytes where {file.size} are expected"
    for session in manifest.sessions:
        log = files.get(f".perdure/sessions/{session.id}/events.jsonl")
        if log is None:
            yield f"session {session.id} has no log"
        elif not session.damage and all(piece in sizes for piece in log.pieces):
            good, whole = chain(depot, log)
            if not whole or good != session.records:
                yield (
                    f"session {session.id}: the chain of its log holds for {good} "
                    f"of {session.records} records"
                )


def chain(depot: Depot, log: File) -> tuple[int, bool]:
    """How many lines of a log continue each other, and whether these are all."""
    count, total, rest = 0, lines.ZERO, b""
    for piece in log.pieces:
        whole, newline, after = (rest + (depot.read(object_key(piece)) or b"")).rpartition(b"\n")
        if newline:
            split = whole.split(b"\n")
            good, total = lines.continuing(split, total)
            count += good
            if good < len(split):
                return count, False
            rest = after
        else:
            rest = after
    return count, not rest
