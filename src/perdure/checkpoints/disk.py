"""The few things asked of the file system that Python has no function for."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from perdure.kernel.errors import Conflict, StorageError

FICLONE = 0x40049409
"""ioctl_ficlone(2): share a file's blocks, copy on write."""
FEW = 8
"""Up to so many files are synced one by one."""
CHUNK = 1 << 20

Clone = Callable[[int, int], bool]


def reflink(source: int, target: int) -> bool:
    """Make `target` a copy-on-write copy of `source`, both open files. False: this file system cannot."""
    if sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError:
        return False
    return True


def sync(paths: Iterable[Path]) -> None:
    """Files and folders, all of one file system, are on stable storage on return. Raises OSError."""
    wanted = list(paths)
    if len(wanted) > FEW and _sync_everything(wanted[0]):
        return
    for path in wanted:
        sync_one(path)


def sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_everything(path: Path) -> bool:
    """syncfs(2) on the file system of `path`; False where there is no such call."""
    if sys.platform != "linux":
        return False
    import ctypes

    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        return False
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if call(handle) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(handle)
    return True


@contextmanager
def locked(
    path: Path,
    *,
    exclusive: bool = False,
    seconds: float = 60.0,
    stop: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Hold the lock a file stands for, shared unless `exclusive`. `stop` is called while waiting, and may
    raise. Raises Conflict when it is not had within `seconds`, OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        how = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB
        until = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(handle, how)
                break
            except BlockingIOError:
                stop()
                if time.monotonic() >= until:
                    raise Conflict(
                        "the checkpoints are in use", hint="Try again in a moment."
                    ) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes, *, durable: bool) -> None:
    """Replace a file at once. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        with open(draft, "xb", opener=_private) as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    if durable:
        sync_one(path.parent)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


_HINTS = {
    errno.ENOSPC: "Free some space on the workspace's disk.",
    errno.EDQUOT: "Your disk quota is used up: free some space.",
    errno.EACCES: "Check who owns the folder.",
    errno.EPERM: "Check who owns the folder.",
    errno.EROFS: "The file system is read-only.",
}


def storage_error(doing: str, error: OSError) -> StorageError:
    """`doing` completes “could not …”."""
    where = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, str | bytes) else ""
    text = f"could not {doing}: {error.strerror or error}{where}"
    return StorageError(
        text.encode("utf-8", "replace").decode(), hint=_HINTS.get(error.errno or 0, "")
    )
