"""Small files that a person edits as well: read without waiting, changed by one at a time, replaced whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """At most `most` + 1 bytes, so that the caller sees that there are more. Never waits, where somebody may
    have put a pipe or a device in its place. Raises OSError, EINVAL for what is no regular file."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(most + 1)
    finally:
        os.close(fd)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One at a time, of all processes that do so; what was replaced in the folder meanwhile is durable at the
    end. Blocking. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
        os.fsync(fd)
    finally:
        os.close(fd)


def replace(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """All of it or nothing. Only for who is `alone` in the folder. `mode`: permission bits; None: those it
    has. Raises OSError."""
    draft = path.with_name(f".{path.name}.new")
    create(draft, data, 0o666 if mode is None else mode)
    if mode is None:
        with contextlib.suppress(FileNotFoundError):
            draft.chmod(path.stat().st_mode & 0o7777)
    draft.replace(path)


def create(path: Path, data: bytes, mode: int = 0o600) -> None:
    """A new file whose content is on stable storage, in place of anything that lay there from a crash, or
    was put there. Raises OSError."""
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """What was renamed in it is durable. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
