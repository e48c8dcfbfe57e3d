"""Where backups are kept: a seam of few methods, with a folder behind it, or a bucket (`s3.py`)."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from perdure.kernel.errors import InvalidInput, StorageError


class Depot(Protocol):
    """Keys are made of letters, digits, `.`, `-` and `/`. Methods may be called from several threads.
    Every method raises StorageError."""

    @property
    def name(self) -> str:
        """For people."""

    def names(self, prefix: str) -> Iterator[str]:
        """All keys that begin so, in no order. `prefix` ends in `/`."""

    def read(self, key: str) -> bytes | None:
        """None: there is no such key."""

    def write(self, key: str, data: bytes) -> None:
        """Whole or not at all."""

    def settle(self) -> None:
        """All that was written so far is durable on return."""


def open_depot(where: str) -> Depot:
    """`s3://bucket/prefix`, or a folder, which is made with the first thing written. Raises InvalidInput
    for what is neither, ConfigError when what a bucket needs is not installed."""
    if where.startswith("s3://"):
        from .s3 import S3Depot

        return S3Depot(where)
    if "://" in where:
        raise InvalidInput(
            f"“{where}” is no place for a backup", hint="Name a folder, or s3://bucket/prefix."
        )
    return FolderDepot(Path(where).expanduser().absolute())


class FolderDepot:
    """Implements Depot on a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: set[Path] = set()

    @property
    def name(self) -> str:
        return str(self._root)

    def names(self, prefix: str) -> Iterator[str]:
        with self._failing("list"):
            for at, _, files in os.walk(self._root / prefix, onerror=_unless_missing):
                folder = Path(at).relative_to(self._root).as_posix()
                for file in files:
                    if not file.startswith("."):
                        yield f"{folder}/{file}"

    def read(self, key: str) -> bytes | None:
        with self._failing("read"):
            try:
                return (self._root / key).read_bytes()
            except FileNotFoundError:
                return None

    def write(self, key: str, data: bytes) -> None:
        path = self._root / key
        with self._failing("write"):
            if path.parent not in self._made:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._made.add(path.parent)
            handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(draft).replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(draft).unlink()
                raise

    def settle(self) -> None:
        with self._failing("write"):
            for folder in [*self._made, *{made.parent for made in self._made}]:
                handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)

    @contextlib.contextmanager
    def _failing(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"could not {doing} the backup in {self._root}: {error.strerror or error}"
            ) from error


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
