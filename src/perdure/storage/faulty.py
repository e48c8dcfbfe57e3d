"""A disk in memory that can fail, be full, and lose power: the test double for `disk.RealDisk`."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random


class PowerLost(OSError):
    """The machine is off; nothing works any more. `FaultyDisk.restart` switches it on."""


class _File:
    """Invariant: `stored` is what a power loss leaves for certain. It is a prefix of `content` unless
    the file was truncated since."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)
        self.stored = bytes(content)


class _Folder:
    def __init__(self) -> None:
        self.entries: dict[str, _File | _Folder] = {}
        self.stored: dict[str, _File | _Folder] = {}


_Node = _File | _Folder

Fault = Callable[[str, Path], OSError | None]
"""Asked before each operation, by its name in Disk and the path; what it returns is raised."""


class FaultyDisk:
    """Implements Disk. Only what was synced is sure to survive `restart`: of unsynced bytes any prefix
    may, or zeros in their place, and of unsynced names each may or may not.

    It is one machine: locks are lost with it, and all its handles are one process's.
    """

    def __init__(self, *, fault: Fault | None = None, capacity: int | None = None) -> None:
        """`capacity`: bytes in all files together; beyond it writes end part way with ENOSPC."""
        self.fault = fault
        self.capacity = capacity
        self.operations = 0
        self.power_lost_at: int | None = None
        """Number of the operation that finds the power gone."""
        self._root = _Folder()
        self._handles: dict[int, tuple[_File, Path]] = {}
        self._locks: dict[_File, int] = {}
        self._numbers = itertools.count(1_000)
        self._guard = threading.RLock()

    def restart(self, random: Random) -> FaultyDisk:
        """The disk as the next start finds it."""
        after = FaultyDisk(capacity=self.capacity)
        with self._guard:
            after._root = _survivor(self._root, random, {})
        return after

    def taken_over(self) -> FaultyDisk:
        """The disk as the next process finds it after this one was killed: all that was written is
        there, synced or not, and no handle or lock. This one works no more."""
        after = FaultyDisk(capacity=self.capacity)
        with self._guard:
            after._root, self.power_lost_at = self._root, 0
        return after

    @property
    def dead(self) -> bool:
        """The power is gone."""
        return self.power_lost_at is not None and self.operations >= self.power_lost_at

    # Disk --------------------------------------------------------------------------------------

    def open(self, path: Path, *, create: bool = False, fresh: bool = False) -> int:
        with self._guard:
            self._begin("open", path)
            return self._handle(self._file(path, create=create, fresh=fresh), path)

    def close(self, handle: int) -> None:
        with self._guard:
            file, _ = self._at(handle)
            del self._handles[handle]
            if self._locks.get(file) == handle:
                del self._locks[file]

    def read(self, handle: int, offset: int, size: int) -> bytes:
        with self._guard:
            file, path = self._at(handle)
            self._begin("read", path)
            return bytes(file.content[offset : offset + size])

    def write(self, handle: int, data: bytes) -> None:
        with self._guard:
            file, path = self._at(handle)
            try:
                self._begin("write", path)
            except OSError:
                file.content += data[: len(data) // 2]
                raise
            room = len(data) if self.capacity is None else max(0, self.capacity - self._used())
            file.content += data[:room]
            if room < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def size(self, handle: int) -> int:
        with self._guard:
            return len(self._at(handle)[0].content)

    def truncate(self, handle: int, size: int) -> None:
        with self._guard:
            file, path = self._at(handle)
            self._begin("truncate", path)
            del file.content[size:]

    def device(self, handle: int) -> int:
        return 1

    def sync(self, handle: int) -> None:
        with self._guard:
            file, path = self._at(handle)
            self._begin("sync", path)
            file.stored = bytes(file.content)

    def sync_path(self, path: Path) -> None:
        with self._guard:
            self._begin("sync_path", path)
            node = self._node(path)
            if isinstance(node, _Folder):
                node.stored = dict(node.entries)
            else:
                node.stored = bytes(node.content)

    def sync_everything(self, handle: int) -> bool:
        with self._guard:
            _, path = self._at(handle)
            self._begin("sync_everything", path)
            _settle(self._root)
            return True

    def lock(self, path: Path) -> int | None:
        with self._guard:
            self._begin("lock", path)
            file = self._file(path, create=True)
            if file in self._locks:
                return None
            handle = self._handle(file, path)
            self._locks[file] = handle
            file.content[:] = f"{os.getpid()}\n".encode()
            return handle

    def mkdir(self, path: Path) -> None:
        with self._guard:
            self._begin("mkdir", path)
            entries = self._folder(path.parent).entries
            if path.name in entries:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            entries[path.name] = _Folder()

    def names(self, path: Path) -> list[str]:
        with self._guard:
            self._begin("names", path)
            return list(self._folder(path).entries)

    def exists(self, path: Path) -> bool:
        with self._guard:
            try:
                self._node(path)
            except FileNotFoundError:
                return False
            return True

    def rename(self, source: Path, target: Path) -> None:
        with self._guard:
            self._begin("rename", source)
            node = self._node(source)
            self._folder(target.parent).entries[target.name] = node
            del self._folder(source.parent).entries[source.name]

    def link(self, source: Path, target: Path) -> None:
        with self._guard:
            self._begin("link", source)
            node = self._node(source)
            entries = self._folder(target.parent).entries
            if target.name in entries:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
            entries[target.name] = node

    def remove(self, path: Path) -> None:
        with self._guard:
            self._begin("remove", path)
            self._folder(path.parent).entries.pop(path.name, None)

    # Insides -----------------------------------------------------------------------------------

    def _begin(self, operation: str, path: Path) -> None:
        self.operations += 1
        if self.dead:
            raise PowerLost(errno.EIO, "the power is gone", str(path))
        error = self.fault(operation, path) if self.fault else None
        if error is not None:
            raise error

    def _handle(self, file: _File, path: Path) -> int:
        handle = next(self._numbers)
        self._handles[handle] = (file, path)
        return handle

    def _at(self, handle: int) -> tuple[_File, Path]:
        try:
            return self._handles[handle]
        except KeyError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None

    def _node(self, path: Path) -> _Node:
        node: _Node = self._root
        for name in path.parts[1:]:
            if not isinstance(node, _Folder) or name not in node.entries:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            node = node.entries[name]
        return node

    def _folder(self, path: Path) -> _Folder:
        node = self._node(path)
        if isinstance(node, _Folder):
            return node
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))

    def _file(self, path: Path, *, create: bool = False, fresh: bool = False) -> _File:
        entries = self._folder(path.parent).entries
        node = entries.get(path.name)
        if node is None:
            if not (create or fresh):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            node = entries[path.name] = _File()
        if isinstance(node, _Folder):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if fresh:
            node.content.clear()
        return node

    def _used(self) -> int:
        found: dict[int, int] = {}

        def count(folder: _Folder) -> None:
            for node in folder.entries.values():
                if isinstance(node, _Folder):
                    count(node)
                else:
                    found[id(node)] = len(node.content)

        count(self._root)
        return sum(found.values())


def _settle(folder: _Folder) -> None:
    folder.stored = dict(folder.entries)
    for node in folder.entries.values():
        if isinstance(node, _Folder):
            _settle(node)
        else:
            node.stored = bytes(node.content)


def _survivor(folder: _Folder, random: Random, seen: dict[_File, _File]) -> _Folder:
    """`seen`: a file with two names stays one file."""
    after = _Folder()
    for name in sorted({*folder.stored, *folder.entries}):
        old, new = folder.stored.get(name), folder.entries.get(name)
        node = old if old is new else random.choice((old, new))
        if isinstance(node, _Folder):
            after.entries[name] = _survivor(node, random, seen)
        elif node is not None:
            if node not in seen:
                seen[node] = _File(_what_is_left(node, random))
            after.entries[name] = seen[node]
    after.stored = dict(after.entries)
    return after


def _what_is_left(file: _File, random: Random) -> bytes:
    content = bytes(file.content)
    if not content.startswith(file.stored):
        return random.choice((file.stored, content))
    unsynced = content[len(file.stored) :]
    kept = random.randint(0, len(unsynced))
    zeros = random.choice((0, len(unsynced) - kept))
    return file.stored + unsynced[:kept] + bytes(zeros)
