"""Contents, each stored once under the SHA-256 of its bytes, shared by all sessions.

Invariant: a file under its name in `objects/xx/` is whole and on stable storage. New ones are written
in a draft folder, synced together, and only then renamed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from perdure.kernel.errors import StorageError

from .disk import CHUNK, Clone, reflink, sync

DRAFTS = "drafts"
SMALL = 256 * 1024
"""Bytes that are read at once, hashed, and written only when they are new."""
_FANOUT = re.compile(r"[0-9a-f]{2}")
_REST = re.compile(r"[0-9a-f]{62}")


class Objects:
    def __init__(self, folder: Path, clone: Clone = reflink) -> None:
        self.folder = folder
        self.clone = clone

    def path(self, name: str) -> Path:
        return self.folder / name[:2] / name[2:]

    def read(self, name: str) -> bytes:
        """Raises StorageError when it is missing or not what its name says."""
        try:
            data = self.path(name).read_bytes()
        except FileNotFoundError:
            raise missing(name) from None
        if sha256(data).hexdigest() != name:
            raise damaged(name)
        return data

    def copy(self, name: str, target: int) -> None:
        """Its content into an open, empty file, checked. Raises StorageError, OSError."""
        try:
            source = os.open(self.path(name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise missing(name) from None
        try:
            shared = self.clone(source, target)
            digest = sha256()
            while chunk := os.read(source, CHUNK):
                digest.update(chunk)
                if not shared:
                    write_all(target, chunk)
        finally:
            os.close(source)
        if digest.hexdigest() != name:
            raise damaged(name)

    def batch(self) -> Batch:
        """Raises OSError."""
        drafts = self.folder / DRAFTS
        drafts.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Batch(self, Path(tempfile.mkdtemp(dir=drafts)))

    def names(self) -> Iterator[str]:
        with contextlib.suppress(FileNotFoundError):
            for part in os.listdir(self.folder):  # noqa: PTH208 - names are all that is wanted
                if _FANOUT.fullmatch(part):
                    for rest in os.listdir(self.folder / part):  # noqa: PTH208
                        if _REST.fullmatch(rest):
                            yield part + rest

    def remove(self, name: str) -> int:
        """Bytes that it had. Raises OSError."""
        path = self.path(name)
        size = path.stat().st_size
        path.unlink()
        return size

    def litter(self) -> bool:
        """Are there drafts? Of batches at work, or of a process that was killed."""
        try:
            with os.scandir(self.folder / DRAFTS) as found:
                return next(found, None) is not None
        except FileNotFoundError:
            return False

    def sweep(self) -> None:
        """Remove all drafts. Only for who knows that no batch is at work."""
        shutil.rmtree(self.folder / DRAFTS, ignore_errors=True)


class Batch:
    """Contents on their way into the store. Closed by `settle` or `discard`."""

    def __init__(self, objects: Objects, drafts: Path) -> None:
        self._objects, self._drafts = objects, drafts
        self._new: dict[str, Path] = {}
        self._cloning = True
        self._count = 0
        self.new_bytes = 0

    def put(self, data: bytes) -> str:
        """Raises OSError."""
        name = sha256(data).hexdigest()
        if not self._has(name):
            handle, draft = self._draft()
            try:
                write_all(handle, data)
            finally:
                os.close(handle)
            self._keep(name, draft, len(data))
        return name

    def put_file(self, source: int, size: int, stop: Callable[[], None]) -> tuple[str, int]:
        """The rest of an open file: its name and how many bytes it had. `stop` may raise. Raises OSError."""
        if size <= SMALL:
            data = read_all(source, size)
            return self.put(data), len(data)
        handle, draft = self._draft()
        try:
            # The copy is hashed, not the original, which may change under our hands.
            self._cloning = self._cloning and self._objects.clone(source, handle)
            digest, found = sha256(), 0
            reader = handle if self._cloning else source
            while chunk := os.read(reader, CHUNK):
                stop()
                digest.update(chunk)
                found += len(chunk)
                if not self._cloning:
                    write_all(handle, chunk)
        except BaseException:
            draft.unlink()
            raise
        finally:
            os.close(handle)
        name = digest.hexdigest()
        if self._has(name):
            draft.unlink()
        else:
            self._keep(name, draft, found)
        return name, found

    def settle(self) -> None:
        """All that was put is durable on return. Raises OSError."""
        if self._new:
            sync(self._new.values())
            folders: dict[Path, None] = {}
            for name, draft in self._new.items():
                target = self._objects.path(name)
                if target.parent not in folders:
                    target.parent.mkdir(exist_ok=True, mode=0o700)
                    folders[target.parent] = None
                draft.rename(target)
            sync([*folders, self._objects.folder])
        self.discard()

    def discard(self) -> None:
        shutil.rmtree(self._drafts, ignore_errors=True)

    def _has(self, name: str) -> bool:
        return name in self._new or self._objects.path(name).exists()

    def _keep(self, name: str, draft: Path, size: int) -> None:
        self._new[name] = draft
        self.new_bytes += size

    def _draft(self) -> tuple[int, Path]:
        self._count += 1
        draft = self._drafts / str(self._count)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return os.open(draft, flags, 0o600), draft


class Measure:
    """Names contents as a batch does, and stores nothing."""

    new_bytes = 0

    def put(self, data: bytes) -> str:
        return sha256(data).hexdigest()

    def put_file(self, source: int, size: int, stop: Callable[[], None]) -> tuple[str, int]:
        digest, found = sha256(), 0
        while chunk := os.read(source, CHUNK):
            stop()
            digest.update(chunk)
            found += len(chunk)
        return digest.hexdigest(), found


def read_all(handle: int, size: int) -> bytes:
    """To the end of the file; `size` is what is expected."""
    data = os.read(handle, size + 1)
    while chunk := os.read(handle, CHUNK):
        data += chunk
    return data


def write_all(handle: int, data: bytes) -> None:
    done = os.write(handle, data)
    while done < len(data):
        done += os.write(handle, memoryview(data)[done:])


def missing(name: str) -> StorageError:
    return StorageError(
        f"the checkpoint store lacks {name}", hint="Something removed it from .perdure/checkpoints."
    )


def damaged(name: str) -> StorageError:
    return StorageError(
        f"{name} in the checkpoint store is damaged",
        hint="Look at the disk's health, and at your backups.",
    )
