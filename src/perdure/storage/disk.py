"""The seam to the file system: what storage asks of a disk, so that a failing one can stand in.

It has more methods than a seam should, because it is the operating system's own, cut down to what is
used here. `faulty.FaultyDisk` is the test double: a disk in memory that forgets what was not synced.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

_PID = 11
"""Characters of a process id in a lock's file, so that any takes the place of any other."""


class Disk(Protocol):
    """Every method raises OSError. Handles are small integers, as file descriptors are."""

    def open(self, path: Path, *, create: bool = False, fresh: bool = False) -> int:
        """For reading and appending. `create`: make it when missing. `fresh`: begin empty."""

    def close(self, handle: int) -> None: ...

    def read(self, handle: int, offset: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the file."""

    def write(self, handle: int, data: bytes) -> None:
        """Append all of `data`. On an error a part of it may have been written."""

    def size(self, handle: int) -> int: ...

    def truncate(self, handle: int, size: int) -> None: ...

    def device(self, handle: int) -> int:
        """Which file system the file is on."""

    def sync(self, handle: int) -> None:
        """The file's content is on stable storage (fdatasync)."""

    def sync_path(self, path: Path) -> None:
        """A file's content, or a folder's entries, are on stable storage (fsync)."""

    def sync_everything(self, handle: int) -> bool:
        """All files and folders of this handle's file system are on stable storage (syncfs).
        False: this system cannot, nothing was done."""

    def lock(self, path: Path) -> int | None:
        """Take the exclusive lock a file stands for, creating the file; None when another has it.
        Held until the handle is closed or the process ends."""

    def mkdir(self, path: Path) -> None:
        """Raises FileExistsError, and FileNotFoundError when its parent is missing."""

    def names(self, path: Path) -> list[str]:
        """What is in a folder, in no order."""

    def exists(self, path: Path) -> bool: ...

    def rename(self, source: Path, target: Path) -> None:
        """Atomic; replaces a file."""

    def link(self, source: Path, target: Path) -> None:
        """The same content under a second name; a copy where the file system cannot link.
        Raises FileExistsError."""

    def remove(self, path: Path) -> None:
        """A file, or a folder with all that is in it. Removing what is not there is no error."""


class RealDisk:
    """Implements Disk on a POSIX file system."""

    def __init__(self) -> None:
        self._syncfs = _find_syncfs()

    def open(self, path: Path, *, create: bool = False, fresh: bool = False) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        if create:
            flags |= os.O_CREAT
        if fresh:
            flags |= os.O_CREAT | os.O_TRUNC
        try:
            return os.open(path, flags, 0o600)
        except PermissionError:
            # A workspace on a read-only medium can still be shown, exported and verified.
            if create or fresh:
                raise
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self, handle: int) -> None:
        os.close(handle)

    def read(self, handle: int, offset: int, size: int) -> bytes:
        found = os.pread(handle, size, offset)
        while len(found) < size and (
            more := os.pread(handle, size - len(found), offset + len(found))
        ):
            found += more  # Linux reads at most 2 GB at once
        return found

    def write(self, handle: int, data: bytes) -> None:
        done = os.write(handle, data)
        while done < len(data):
            done += os.write(handle, memoryview(data)[done:])

    def size(self, handle: int) -> int:
        return os.fstat(handle).st_size

    def truncate(self, handle: int, size: int) -> None:
        os.ftruncate(handle, size)

    def device(self, handle: int) -> int:
        return os.fstat(handle).st_dev

    if sys.platform == "darwin":

        def sync(self, handle: int) -> None:
            # fsync on macOS leaves the data in the drive's cache; not every file system can do more.
            try:
                fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            except OSError:
                os.fsync(handle)
    else:

        def sync(self, handle: int) -> None:
            os.fdatasync(handle)

    def sync_path(self, path: Path) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def sync_everything(self, handle: int) -> bool:
        if self._syncfs is None:
            return False
        self._syncfs(handle)
        return True

    def lock(self, path: Path) -> int | None:
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The file may have been deleted, or replaced, between open and lock: a lock on a
                # name that no longer leads to it excludes nobody.
                if _same_file(handle, path):
                    # Written over, not truncated before: a file system may make truncating wait.
                    os.pwrite(handle, f"{os.getpid():<{_PID}}\n".encode(), 0)
                    return handle
            except BlockingIOError:
                os.close(handle)
                return None
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    def mkdir(self, path: Path) -> None:
        path.mkdir(mode=0o700)

    def names(self, path: Path) -> list[str]:
        return os.listdir(path)  # noqa: PTH208 - 10,000 Path objects cost more than the listing

    def exists(self, path: Path) -> bool:
        return path.exists()

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def link(self, source: Path, target: Path) -> None:
        try:
            target.hardlink_to(source)
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            import shutil

            with source.open("rb") as reader, target.open("xb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)

    def remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except (IsADirectoryError, PermissionError):
            import shutil

            shutil.rmtree(path)


_CANNOT_LINK = frozenset((errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS))


def _same_file(handle: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


def _find_syncfs() -> Callable[[int], None] | None:
    """syncfs(2) through ctypes, where it can be trusted: before Linux 5.8 it kept write errors to
    itself (man 2 syncfs)."""
    if sys.platform != "linux" or _kernel() < (5, 8):
        return None
    import ctypes

    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        return None
    call.argtypes, call.restype = (ctypes.c_int,), ctypes.c_int

    def syncfs(handle: int) -> None:
        if call(handle) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    return syncfs


def _kernel() -> tuple[int, int]:
    major, _, rest = os.uname().release.partition(".")
    minor = "".join(c if c.isdigit() else " " for c in rest).split()
    return int(major), int(minor[0]) if minor else 0
