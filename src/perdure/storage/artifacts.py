"""Artifacts: big things a session refers to, each a file named after the SHA-256 of its content."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from perdure.kernel.errors import InvalidInput, NotFound, StorageError
from perdure.kernel.events import ArtifactId, Image
from perdure.kernel.prompt import ImageSource

from .disk import Disk
from .failure import storage_error

_NAME = re.compile(r"[0-9a-f]{64}(\.[a-z0-9]{1,12})?")
_EXTENSION = re.compile(r"[a-z0-9]{1,12}")
_CHUNK = 1 << 20


def artifact_id(text: str) -> ArtifactId:
    """`text` as an artifact id. Raises InvalidInput."""
    if not _NAME.fullmatch(text):
        shown = text[:80].encode("ascii", "backslashreplace").decode()
        raise InvalidInput(f"“{shown}” is not an artifact's id")
    return ArtifactId(text)


class ArtifactStore(ImageSource):
    """The artifacts of one session. What is put is durable when the log's next commit returns.
    May be used from any thread."""

    def __init__(self, folder: Path, disk: Disk, require: Callable[[Path], None] | None) -> None:
        """`require(path)` has the session's next commit sync a file or folder that is there; it may
        be called from any thread, and raises StorageError where nothing can be stored. None: this
        is for reading only."""
        self._folder = folder
        self._disk = disk
        self._require = require
        self._known: set[str] = set()
        self._numbers = itertools.count()

    def put(self, data: bytes, ext: str = "") -> ArtifactId:
        """Store `data`. The same content is stored once. `ext`: file extension, `txt` or `.txt`.
        Raises InvalidInput for an unfit extension, StorageError."""
        name = sha256(data).hexdigest() + _suffix(ext)
        if name not in self._known:

            def write(target: Path) -> None:
                handle = self._disk.open(target, fresh=True)
                try:
                    self._disk.write(handle, data)
                finally:
                    self._disk.close(handle)

            self._keep(name, write)
        return self._promise(name)

    def put_file(self, path: Path, ext: str = "") -> ArtifactId:
        """Store a finished file: linked, not copied, where the file system allows. So it must not be
        written any more; it may be removed. Blocks while it is hashed. Raises as `put`."""
        try:
            name = _hash_file(path) + _suffix(ext)
        except OSError as error:
            raise storage_error("store a file", error) from error
        if name not in self._known:
            self._keep(name, lambda target: self._disk.link(path, target))
        return self._promise(name)

    def path(self, artifact: ArtifactId) -> Path:
        """Where it is, or would be. Raises InvalidInput for what is no artifact's id."""
        return self._folder / artifact_id(artifact)

    def size(self, artifact: ArtifactId) -> int:
        """In bytes. Raises NotFound, InvalidInput, StorageError."""
        handle = self._open(artifact)
        try:
            return self._disk.size(handle)
        finally:
            self._disk.close(handle)

    def read(self, artifact: ArtifactId, offset: int = 0, limit: int | None = None) -> bytes:
        """Up to `limit` bytes from byte `offset` on. Raises NotFound, InvalidInput, StorageError."""
        handle = self._open(artifact)
        try:
            rest = max(0, self._disk.size(handle) - offset)
            return self._disk.read(handle, offset, rest if limit is None else min(rest, limit))
        except OSError as error:
            raise storage_error("read an artifact", error) from error
        finally:
            self._disk.close(handle)

    def read_image(self, image: Image) -> bytes:
        return self.read(image.artifact)

    def _open(self, artifact: ArtifactId) -> int:
        path = self.path(artifact)
        try:
            return self._disk.open(path)
        except FileNotFoundError:
            raise NotFound(f"this session has no artifact {artifact}") from None
        except OSError as error:
            raise storage_error("read an artifact", error) from error

    def _keep(self, name: str, write: Callable[[Path], None]) -> None:
        if self._require is None:
            raise StorageError("this session is only open for reading")
        target = self._folder / name
        try:
            if self._is_whole(target):
                return
            with contextlib.suppress(FileExistsError):
                self._disk.mkdir(self._folder)
            tmp = self._folder / f".{next(self._numbers)}.tmp"
            self._disk.remove(tmp)
            try:
                write(tmp)
                self._disk.rename(tmp, target)
            except OSError:
                with contextlib.suppress(OSError):
                    self._disk.remove(tmp)  # a part of it would only fill a full disk further
                raise
        except OSError as error:
            raise storage_error("store an artifact", error) from error

    def _promise(self, name: str) -> ArtifactId:
        if self._require is not None and name not in self._known:
            if not self._known:
                self._require(self._folder.parent)
            self._require(self._folder)
            self._require(self._folder / name)
            self._known.add(name)
        return ArtifactId(name)

    def _is_whole(self, target: Path) -> bool:
        """A crash can leave a file under the right name with less than its content."""
        try:
            handle = self._disk.open(target)
        except FileNotFoundError:
            return False
        try:
            return _hash(self._disk, handle) == target.name[:64]
        finally:
            self._disk.close(handle)


def _suffix(ext: str) -> str:
    ext = ext.removeprefix(".").lower()
    if ext and not _EXTENSION.fullmatch(ext):
        raise InvalidInput(f"“{ext[:40]}” is no file extension for an artifact")
    return f".{ext}" if ext else ""


def _hash(disk: Disk, handle: int) -> str:
    digest, offset = sha256(), 0
    while chunk := disk.read(handle, offset, _CHUNK):
        digest.update(chunk)
        offset += len(chunk)
    return digest.hexdigest()


def _hash_file(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
