"""Making a workspace from a backup, and proving that it is the one that was backed up."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from perdure.kernel.errors import Conflict, StorageError
from perdure.kernel.events import SessionId
from perdure.runtime.resuming import Resuming
from perdure.storage import Committer, RealDisk, SessionStore, SystemClock

from .depots import Depot
from .records import PIECE, File, Manifest, load, names, object_key
from .sources import CREDENTIALS, PRIVATE, TOKENS

FIRST = "perdure.yaml"
"""Written last: until then the folder is no workspace, and nothing runs in it."""
_UNSAFE = re.compile(r"\0|(?:^|/)(?:\.{0,2})(?:/|$)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    name: str
    manifest: Manifest
    credentials: Path | None
    """Where the encrypted store of provider keys is, if the backup had it."""
    waiting: tuple[str, ...] = ()
    """Sessions with work left, which wait for the owner's word."""
    tokens: bool = False
    """Tokens were handed out, and left out."""


def restore(
    depot: Depot,
    target: Path,
    name: str | None = None,
    *,
    tokens: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Restored:
    """The latest backup, or the one named, into a folder that is empty or not there yet; then all of it is
    read again and compared. Sessions with work left wait for the owner; without `tokens`, those that were
    handed out do not count there. Blocks. Raises Conflict when the folder is not empty, NotFound,
    StorageError when something is missing, damaged or not as it should be."""
    known = names(depot)
    chosen = name or (known[-1] if known else "")
    whole = manifest = load(depot, chosen)
    handed_out = any(file.path == TOKENS for file in whole.files)
    if not tokens:
        kept = tuple(file for file in whole.files if file.path != TOKENS)
        manifest = msgspec.structs.replace(whole, files=kept)
    for path in _paths(manifest):
        if _UNSAFE.search(path):
            raise StorageError(f"backup {chosen} names an unsafe path: {path!r}")
    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise Conflict(
                f"{target} is not empty", hint="A backup is only restored into an empty folder."
            )
        _write(depot, target, manifest, progress)
        _compare(target, manifest)
    except OSError as error:
        raise StorageError(
            f"could not restore into {target}: {error.strerror or error}",
            hint="The folder is unfinished: remove it before you try again.",
        ) from error
    has_keys = any(file.path == CREDENTIALS for file in manifest.files)
    return Restored(
        name=chosen,
        manifest=whole,
        credentials=target / CREDENTIALS if has_keys else None,
        waiting=_waiting(manifest),
        tokens=handed_out and not tokens,
    )


def _waiting(manifest: Manifest) -> tuple[str, ...]:
    return tuple(session.id for session in manifest.sessions if session.busy)


def _paths(manifest: Manifest) -> list[str]:
    return [
        *(file.path for file in manifest.files),
        *(folder.path for folder in manifest.folders),
        *(link.path for link in manifest.links),
    ]


def _write(depot: Depot, target: Path, manifest: Manifest, progress: Callable[[str], None]) -> None:
    for folder in manifest.folders:
        (target / folder.path).mkdir(parents=True, exist_ok=True, mode=0o700)
    for file in sorted(manifest.files, key=lambda file: file.path == FIRST):
        if file.path == FIRST:
            break
        progress(file.path)
        _write_file(depot, target, file)
    for link in manifest.links:
        (target / link.path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        (target / link.path).symlink_to(link.target)
    # From the inside out: a folder that may not be written gets its mode after what is in it.
    for folder in sorted(manifest.folders, key=lambda folder: folder.path, reverse=True):
        (target / folder.path).chmod(folder.mode)
    resuming = Resuming(target / PRIVATE / "resuming")
    for session in _waiting(manifest):
        resuming.restored(SessionId(session))
    os.sync()
    for file in manifest.files:
        if file.path == FIRST:
            _write_file(depot, target, file)


def _write_file(depot: Depot, target: Path, file: File) -> None:
    path = target / file.path
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as out:
        for piece in file.pieces:
            data = depot.read(object_key(piece))
            if data is None or sha256(data).hexdigest() != piece:
                state = "missing" if data is None else "damaged"
                raise StorageError(
                    f"piece {piece} of {file.path} is {state} in {depot.name}",
                    hint="See all that is wrong: perdure backup verify DEST",
                )
            out.write(data)
        out.flush()
        os.fchmod(out.fileno(), file.mode)
        os.fsync(out.fileno())


def _compare(target: Path, manifest: Manifest) -> None:
    """What is on the disk now against what the manifest says. Raises StorageError."""
    wrong = [file.path for file in manifest.files if not _same(target / file.path, file)]
    committer = Committer(RealDisk())
    try:
        store = SessionStore(target / ".perdure", committer, SystemClock())
        for session in manifest.sessions:
            if not session.damage:
                good = store.verify(session.id).records
                if good != session.records:
                    wrong.append(f"session {session.id} has {good} of {session.records} records")
    finally:
        committer.close()
    if wrong:
        raise StorageError(
            f"the restored workspace differs from the backup: {'; '.join(wrong[:5])}",
            hint="Look at the disk's health, and restore again into another folder.",
        )


def _same(path: Path, file: File) -> bool:
    with path.open("rb") as content:
        for piece in file.pieces:
            if sha256(content.read(PIECE)).hexdigest() != piece:
                return False
        return not content.read(1)
