"""What is known of files without reading them: their status when they were last read, and the name of
their content. Derived; lost, it costs one reading of the folder.

Invariant: a status is kept only if it is older than the file system's clock can confuse. A file that was
changed twice within one tick looks the same after the second change.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

import msgspec

from perdure.kernel.labels import Label

from .disk import write_whole

TICK = 2_000_000_000
"""Nanoseconds; the coarsest clock of a file system in use is FAT's."""
FORMAT = 2


Seen = tuple[int, int, int, int]
"""A file's size, mtime and ctime in nanoseconds, and inode. The ctime cannot be set by anyone, so a change
to the content changes these."""

Known = tuple[Seen, str, Label | None]
"""A status; the name of the content, empty when it is a secret; what the file says of its own label, which
cannot change without the status."""


def seen(status: os.stat_result) -> Seen:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


class _File(msgspec.Struct, frozen=True, array_like=True):
    format: int
    folders: dict[str, dict[str, Known]]


_decoder = msgspec.msgpack.Decoder(_File)
_encoder = msgspec.msgpack.Encoder()


class StatCache:
    """Of one working folder, for one walk: what was known before, and what is known after."""

    def __init__(self, path: Path, *, keep: bool) -> None:
        """`keep`: what the walk learns is written by `save`."""
        self._path, self._keep = path, keep
        self._old: dict[str, dict[str, Known]] = {}
        self._new: dict[str, dict[str, Known]] = {}
        self._before = time.time_ns() - TICK
        with contextlib.suppress(OSError, msgspec.DecodeError):
            file = _decoder.decode(path.read_bytes())
            if file.format == FORMAT:
                self._old = file.folders

    @classmethod
    def of(cls, folder: Path, workdir: str, *, keep: bool) -> StatCache:
        """`folder`: where all caches are."""
        digest = hashlib.blake2b(os.fsencode(workdir), digest_size=12).hexdigest()
        return cls(folder / f"{digest}.msgpack", keep=keep)

    def folder(self, path: str) -> tuple[dict[str, Known], dict[str, Known]]:
        """What is known of the files of a folder, and the place to note what is known from now on."""
        new = self._new[path] = {}
        return self._old.get(path, {}), new

    def settled(self, seen: Seen) -> bool:
        return 0 < seen[2] < self._before

    def save(self) -> None:
        """Only once the contents are in the store. Raises OSError."""
        if self._keep and self._new != self._old:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(self._path, _encoder.encode(_File(FORMAT, self._new)), durable=False)


def forget(folder: Path, contents: set[str]) -> None:
    """Before these are removed from the store: no cache may name what is not there. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        for path in list(folder.iterdir()):
            try:
                file = _decoder.decode(path.read_bytes())
            except msgspec.DecodeError:
                path.unlink()
                continue
            left = {
                name: {n: known for n, known in files.items() if known[1] not in contents}
                for name, files in file.folders.items()
            }
            if left != file.folders:
                write_whole(path, _encoder.encode(_File(file.format, left)), durable=True)
