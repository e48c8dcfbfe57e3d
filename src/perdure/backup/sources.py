"""What of a workspace goes into a backup, and how each thing is read so that the copy is consistent.

Invariants: a log is read before the artifacts it names, and a checkpoint's record before its contents, so
that whatever a copied record refers to is in the copy. A log is copied up to its last whole valid record.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from perdure.kernel.errors import Damaged, NotFound, PerdureError
from perdure.kernel.events import SessionId
from perdure.kernel.state import State, evolve
from perdure.sandbox import SupervisedCommands
from perdure.storage import SessionStore

from .records import PIECE, Folder, Link, Session

PRIVATE = ".perdure"
CREDENTIALS = f"{PRIVATE}/from-backup/credentials.age"
"""Where the owner's store of provider keys, which lies outside any workspace, is put. It stays encrypted;
the identity that opens it is never copied."""
TOKENS = f"{PRIVATE}/secrets.tokens.json"
"""Digests of the tokens that were handed out. One that was revoked since must not come back to life."""
LABELS = "labels.sqlite"
"""A database that may be written to meanwhile."""
DERIVED = frozenset(("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"))
LEFT = (
    frozenset(("run", "processes", "unfinished", "resuming", "sessions", "from-backup"))
    | DERIVED
    | {LABELS, f"{LABELS}-wal", f"{LABELS}-shm", "labels.made"}
)
"""Of `.perdure`: what is of this machine and moment, derived, or read in its own way."""
ELSEWHERE = b'{"boot": "of the workspace that was backed up"}'
"""The spec of a command that began under another run of a machine, see perdure.sandbox."""
SESSION_LEFT = frozenset(("lock", "snapshot.json", "events.jsonl"))
_CONTENT_NAME = re.compile(
    r"(?:artifacts/|objects/)([0-9a-f]{2})/?([0-9a-f]{62})(?:\.[a-z0-9]{1,12})?"
)


@dataclass(frozen=True, slots=True)
class Source:
    """A file to copy."""

    path: str
    mode: int
    read: Callable[[], Iterator[bytes]]
    """Its content in chunks of any size. Raises FileNotFoundError when it went meanwhile, OSError."""
    content: str = ""
    """SHA-256 of its content, where its name says so and it is one piece."""
    size: int = 0
    """With `content`: its size."""


Thing = Source | Folder | Link | Session | str
"""A string is a problem: what could not be copied, and why."""


def things(root: Path, store: SessionStore, credentials: Path | None) -> Iterator[Thing]:
    """All that a backup of the workspace at `root` holds. `credentials`: the encrypted key store."""
    private = root / PRIVATE
    yield from _walk(root, "perdure.yaml")
    for item in sorted(os.listdir(private)):  # noqa: PTH208 - names are all that is wanted
        if item not in LEFT and item != "checkpoints":
            yield from _walk(root, f"{PRIVATE}/{item}")
    if (private / LABELS).exists():
        yield Source(f"{PRIVATE}/{LABELS}", 0o600, lambda: _whole_database(private / LABELS))
    commands = SupervisedCommands(private / "processes")
    for session in sorted(store.ids()):
        yield from _session(root, store, session, commands)
    yield from _checkpoints(root)
    if credentials is not None and credentials.is_file():
        yield Source(CREDENTIALS, 0o600, lambda: _chunks(credentials))


def _whole_database(path: Path) -> Iterator[bytes]:
    """As of one instant, whoever writes to it. Raises OSError."""
    import sqlite3

    try:
        with contextlib.closing(sqlite3.connect(path, timeout=5.0)) as database:
            yield database.serialize()
    except sqlite3.Error as error:
        raise OSError(f"{path.name} cannot be read: {error}") from error


def _session(
    root: Path, store: SessionStore, id_: SessionId, commands: SupervisedCommands
) -> Iterator[Thing]:
    files = store.files(id_)
    folder = files.folder.relative_to(root).as_posix()
    try:
        stored = store.open_readonly(id_)
        state = State()
        records = 0
        damage: Damaged | None = stored.damage
        try:
            for record in stored.read():
                evolve(state, record)
                records += 1
        except Damaged as error:
            damage = damage or error
    except NotFound:
        return  # it was deleted just now, or never finished
    except PerdureError as error:
        yield f"session {id_}: {error.message}"
        return
    log = f"{folder}/events.jsonl"
    if damage is None:
        yield Source(log, 0o600, stored.lines)
    else:
        yield f"session {id_}: {damage.message}; its log was copied as it is"
        yield Source(log, 0o600, lambda: _chunks(files.log))
    for name in sorted(_names(files.folder)):
        if name not in SESSION_LEFT and not name.startswith("."):
            yield from _walk(root, f"{folder}/{name}")
    if state.busy:
        yield _given(f"{PRIVATE}/unfinished/{id_}", b"")
        # D4: in a restored workspace a command that was under way is in doubt. Without a trace of it
        # there, it would be taken for one that never began.
        for call in state.open_calls():
            if call.started is not None and call.started.effects:
                trace = commands.folder(call.started.key).relative_to(root).as_posix()
                if (root / trace / "exit").exists():
                    yield from _walk(root, trace)
                else:
                    yield _given(f"{trace}/spec", ELSEWHERE)
                    yield _given(f"{trace}/began", b"")
    yield Session(id=id_, records=records, busy=state.busy, damage=damage.message if damage else "")


def _checkpoints(root: Path) -> Iterator[Thing]:
    """The caller holds off their removal meanwhile."""
    folder = f"{PRIVATE}/checkpoints"
    for name in sorted(_names(root / folder)):
        if name != "objects" and not name.endswith(".lock") and name != "lock":
            yield from _walk(root, f"{folder}/{name}")
    for name in sorted(_names(root / folder / "objects")):
        if re.fullmatch("[0-9a-f]{2}", name):
            yield from _walk(root, f"{folder}/objects/{name}")


def _walk(root: Path, path: str) -> Iterator[Thing]:
    """A file, link, or folder with all that is in it."""
    at = root / path
    try:
        status = at.lstat()
    except FileNotFoundError:
        return
    mode = stat.S_IMODE(status.st_mode)
    try:
        path.encode()
    except UnicodeEncodeError:
        yield f"{os.fsencode(path)!r}: its name is not UTF-8; it was not copied"
        return
    if stat.S_ISLNK(status.st_mode):
        yield Link(path=path, target=os.fsencode(at.readlink()).decode("utf-8", "replace"))
    elif stat.S_ISDIR(status.st_mode):
        yield Folder(path=path, mode=mode)
        for name in sorted(_names(at)):
            yield from _walk(root, f"{path}/{name}")
    elif stat.S_ISREG(status.st_mode):
        named = _CONTENT_NAME.search(path) if status.st_size <= PIECE else None
        content = named[1] + named[2] if named and path.endswith(named[0]) else ""
        yield Source(path, mode, lambda: _chunks(at), content, status.st_size)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all that is wanted
    except (FileNotFoundError, NotADirectoryError):
        return []


def _given(path: str, content: bytes) -> Source:
    return Source(path, 0o600, lambda: iter((content,)))


def _chunks(path: Path) -> Iterator[bytes]:
    """A file's bytes; of a file of lines that is being appended to, only whole lines."""
    with path.open("rb") as file:
        rest, lines = b"", path.suffix == ".jsonl"
        while chunk := file.read(1 << 20):
            if lines:
                whole, newline, rest = (rest + chunk).rpartition(b"\n")
                chunk = whole + newline
            yield chunk
