"""Replacing a file's content so that at every instant either the old or the new one is there, whole.

    open the folder without following a link → lock it against other Perdure processes → read, decide
    → write a temporary file beside it with mode, owner, attributes of the old → fsync
    → note the intent (what was there, what will be) → rename over the old → fsync the folder

The intent is durable before the rename, so after a crash the file itself tells whether this call's
change has happened: it has the content before, or the content after; anything else is somebody
else's work and the outcome is in doubt.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

LOCK_SECONDS = 5.0
MAX_TEXT = 64 << 20
"""Bytes of a file that can be edited or diffed as text."""

_PATH_ONLY: int = getattr(os, "O_PATH", os.O_RDONLY)
_ABSENT = "absent"


class FileProblem(Exception):
    """A file cannot be read or written; the message is for the model."""


class ChangedMeanwhile(FileProblem):
    """Somebody else changed the file between reading and writing."""


class Replaced(msgspec.Struct, frozen=True, kw_only=True):
    before: bytes | None
    """Content that was there; None: the file is new."""
    after: bytes
    earlier: bool = False
    """An earlier attempt had done it, before a crash."""


class InDoubt(FileProblem):
    """A crash cut an earlier attempt off, and the file is now neither as it was nor as intended."""


def digest(data: bytes | None) -> str:
    return _ABSENT if data is None else hashlib.blake2b(data, digest_size=16).hexdigest()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file for reading, unbuffered, reached without following any link in `path`, which must
    be resolved. Raises FileProblem for what is missing or no regular file, and for read errors."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with _folder(path.parent, lockable=False) as folder:
            fd = os.open(path.name or ".", flags, dir_fd=folder)
        with os.fdopen(fd, "rb", buffering=0) as file:
            _check_regular(fd)
            yield cast("BinaryIO", file)
    except OSError as error:
        raise FileProblem(reason(error)) from error


def read_regular(path: Path, limit: int = MAX_TEXT) -> bytes:
    """A regular file's bytes. Raises FileProblem for anything else, or beyond `limit`."""
    with opened(path) as file:
        return _read(file.fileno(), limit)


def replace(
    path: Path,
    change: Callable[[bytes | None], bytes],
    *,
    intent: Path,
    resumed: bool,
    make_parents: bool = False,
) -> Replaced:
    """Put `change(old content)` in place of a file's content. Blocking: run in a thread.

    `path` must be resolved; a link that appears in it afterwards is refused. `intent` is a path of
    this call's own. What `change` raises passes and nothing is written. Raises FileProblem.
    """
    try:
        if make_parents:
            _make_parents(path.parent)
        with _folder(path.parent) as folder, _locked(folder):
            return _replace(folder, path.name, change, intent=intent, resumed=resumed)
    except OSError as error:
        raise FileProblem(reason(error)) from error


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """The file as it is now."""

    data: bytes
    stat: os.stat_result
    attributes: dict[str, bytes]


def _replace(
    folder: int,
    name: str,
    change: Callable[[bytes | None], bytes],
    *,
    intent: Path,
    resumed: bool,
) -> Replaced:
    found = _current(folder, name)
    old = found.data if found else None
    if resumed and (noted := _read_intent(intent)) is not None:
        before, after = noted
        if digest(old) == after:
            return Replaced(before=None, after=old or b"", earlier=True)
        if digest(old) != before:
            raise InDoubt("it changed since this call was cut off by a crash")
    if found and not os.access(name, os.W_OK, dir_fd=folder):
        raise FileProblem(f"it is read-only (mode {stat.S_IMODE(found.stat.st_mode):04o})")
    new = change(old)
    if new == old:
        return Replaced(before=old, after=new)
    temporary = f".{_short(name)}.{intent.name[-8:]}.perdure"
    _remove(folder, temporary)  # of an attempt cut off by a crash
    try:
        try:
            _write_new(folder, temporary, new, found)
        except PermissionError:
            if found is None:
                raise
            # The folder takes no new file, or the owner cannot be kept: the content goes into the
            # file that is there. This one case is not atomic.
            _note_intent(intent, old, new)
            _overwrite(folder, name, new)
            return Replaced(before=old, after=new)
        _note_intent(intent, old, new)
        if _identity(folder, name) != (found and _key(found.stat)):
            raise ChangedMeanwhile("something else changed it at the same moment; read it again")
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        _remove(folder, temporary)
    os.fsync(folder)
    return Replaced(before=old, after=new)


def _remove(folder: int, name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)


def _current(folder: int, name: str) -> _Found | None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        seen = os.fstat(fd)
        return _Found(data=_read(fd, MAX_TEXT), stat=seen, attributes=_attributes(fd))
    finally:
        os.close(fd)


def _attributes(fd: int) -> dict[str, bytes]:
    """Extended attributes, access lists among them, as far as this user may read them."""
    found: dict[str, bytes] = {}
    if hasattr(os, "listxattr"):
        with contextlib.suppress(OSError):
            for name in os.listxattr(fd):
                with contextlib.suppress(OSError):
                    found[name] = os.getxattr(fd, name)
    return found


def _check_regular(fd: int) -> os.stat_result:
    seen = os.fstat(fd)
    if stat.S_ISDIR(seen.st_mode):
        raise FileProblem("it is a folder")
    if not stat.S_ISREG(seen.st_mode):
        raise FileProblem("it is not a regular file (a device, pipe or socket)")
    return seen


def _read(fd: int, limit: int) -> bytes:
    seen = _check_regular(fd)
    if seen.st_size > limit:
        raise FileProblem(f"it has {seen.st_size:,} bytes, more than the {limit:,} handled here")
    chunks, total = [], 0
    while chunk := os.read(fd, max(1 << 16, min(limit, seen.st_size) + 1)):
        chunks.append(chunk)
        total += len(chunk)
        if total > limit:  # files under /proc have size 0 and may never end
            raise FileProblem(f"it has more than the {limit:,} bytes handled here")
    return b"".join(chunks)


def _write_new(folder: int, name: str, data: bytes, like: _Found | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # A replacement starts private and gets its mode once it is complete.
    fd = os.open(name, flags, 0o666 if like is None else 0o600, dir_fd=folder)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if like is not None:
            mine, its = os.fstat(fd), like.stat
            if (mine.st_uid, mine.st_gid) != (its.st_uid, its.st_gid):
                os.fchown(fd, its.st_uid, its.st_gid)
            for attribute, value in like.attributes.items():
                with contextlib.suppress(OSError):
                    os.setxattr(fd, attribute, value)
            os.fchmod(fd, stat.S_IMODE(its.st_mode))
        os.fsync(fd)
    finally:
        os.close(fd)


def _overwrite(folder: int, name: str, data: bytes) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        view, at = memoryview(data), 0
        while at < len(data):
            at += os.pwrite(fd, view[at:], at)
        os.ftruncate(fd, len(data))
        os.fsync(fd)
    finally:
        os.close(fd)


def _identity(folder: int, name: str) -> tuple[int, ...] | None:
    try:
        return _key(os.stat(name, dir_fd=folder, follow_symlinks=False))
    except FileNotFoundError:
        return None


def _key(seen: os.stat_result) -> tuple[int, ...]:
    return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)


@contextlib.contextmanager
def _folder(path: Path, *, lockable: bool = True) -> Iterator[int]:
    """A folder's descriptor, reached without following any link."""
    fd = os.open("/", _PATH_ONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in path.parts[1:]:
            flags = _PATH_ONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            fd, above = os.open(part, flags, dir_fd=fd), fd
            os.close(above)
        if lockable:  # a path-only descriptor can be neither locked nor synced
            fd, above = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd), fd
            os.close(above)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _locked(folder: int) -> Iterator[None]:
    """Keeps other sessions and processes of Perdure out while a file in the folder is replaced."""
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > until:
                raise FileProblem("its folder is locked by another program; try again") from None
            time.sleep(0.005)
        except OSError:  # a file system without locks
            break
    yield  # released when the descriptor is closed


def _make_parents(folder: Path) -> None:
    """Create missing folders and make their names durable."""
    missing = []
    at = folder
    while not at.exists():
        missing.append(at)
        at = at.parent
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            path.mkdir()
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _note_intent(intent: Path, before: bytes | None, after: bytes) -> None:
    intent.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(intent, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, f"{digest(before)} {digest(after)}\n".encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    _sync_folder(intent.parent)


def _read_intent(intent: Path) -> tuple[str, str] | None:
    try:
        before, after = intent.read_text("ascii").split()
    except (FileNotFoundError, ValueError):  # torn: then the rename had not begun
        return None
    return before, after


def _short(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:200])


def reason(error: OSError) -> str:
    """In words a model can act on."""
    match error.errno:
        case errno.ENOENT:
            return "there is no such file or folder"
        case errno.EACCES | errno.EPERM:
            return "permission denied"
        case errno.ENOSPC | errno.EDQUOT:
            return "the disk is full"
        case errno.ELOOP:
            return "a link appeared in its path; refused"
        case errno.ENOTDIR:
            return "part of its path is not a folder"
        case errno.EISDIR:
            return "it is a folder"
        case errno.ENAMETOOLONG:
            return "its name is too long"
        case errno.EROFS:
            return "the file system is read-only"
        case errno.ENXIO:
            return "it is not a regular file (a device, pipe or socket)"
        case _:
            return (error.strerror or str(error)).lower()
