"""The namespace of mounts that comes first: here a command's view is prepared without any race.

Paths below folders that commands write are theirs to swap for links at any time. So everything is opened
once, link by link refused, and mounted by descriptor.
"""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
# ruff: noqa: PTH208
from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence

from .plan import Step
from .syscalls import (
    ATTR_NODEV,
    ATTR_NOSUID,
    ATTR_RDONLY,
    MS_NODEV,
    MS_NOSUID,
    attach,
    clone_tree,
    mount,
    open_plainly,
    restrict,
)

PLAIN = ATTR_NOSUID | ATTR_NODEV
_NULL = os.makedev(1, 3)
"""The device that is put over a file."""


def prepare(steps: Sequence[Step]) -> None:
    """Carry out the steps of the stage, in order.

    `tmpfs P`: an empty folder over P. `bind S D`, `read S D`: S is seen at D, made if missing, and can
    be written or not. `pin P`: P cannot be renamed or removed. `keep P`: nor changed. `hide P`: is an
    empty folder, or cannot be opened. A path that is not there is left out of the last three.
    """
    if not steps:
        return
    with opened("/dev/null") as null:
        for step in steps:
            try:
                _do(step, null)
            except FileNotFoundError:
                if step[0] in ("tmpfs", "bind", "read"):
                    raise


def hide_again(steps: Sequence[Step], below: str = "") -> None:
    """Of what these steps hide, hide what is not hidden any more: a file that was replaced by another has
    lost what was mounted on it."""
    paths = [f"{below}{path}" for kind, path, *_ in steps if kind == "hide"]
    prepare([("hide", path) for path in paths if not _is_hidden(path)])


def _is_hidden(path: str) -> bool:
    """Or is not there."""
    try:
        seen = os.lstat(path)
        if not stat.S_ISDIR(seen.st_mode):
            return stat.S_ISCHR(seen.st_mode) and seen.st_rdev == _NULL
        above = os.lstat(path.rpartition("/")[0] or "/")
        is_ours = seen.st_dev != above.st_dev and stat.S_IMODE(seen.st_mode) == 0o555
        return is_ours and not os.listdir(path)
    except FileNotFoundError:
        return True


def _do(step: Step, null: int) -> None:
    match step:
        case ["tmpfs", path]:
            mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
        case ["bind" | "read" as kind, source, place]:
            with opened(source) as fd:
                put(fd, make(place, of=fd), PLAIN | (ATTR_RDONLY if kind == "read" else 0))
        case ["pin", path]:
            with opened(path) as fd:
                put(fd, os.dup(fd), PLAIN)
        case ["keep", path]:
            with opened(path) as fd:
                put(fd, os.dup(fd), PLAIN | ATTR_RDONLY)
        case ["hide", path]:
            _hide(path, null)
        case _:
            raise OSError(errno.EINVAL, "not a step of a plan", step[0])


class opened:
    """A path of the machine, without links on the way."""

    def __init__(self, path: str) -> None:
        root = os.open("/", os.O_PATH | os.O_CLOEXEC)
        try:
            self.fd = open_plainly(root, path.lstrip("/") or ".")
        finally:
            os.close(root)

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def put(source: int, place: int, attributes: int) -> None:
    """Mount what `source` is on what `place` is, which is closed."""
    tree = clone_tree(source)
    try:
        restrict(tree, attributes)
        attach(tree, place)
    finally:
        os.close(tree)
        os.close(place)


def _hide(path: str, null: int) -> None:
    with opened(path) as fd:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            put(null, os.dup(fd), PLAIN | ATTR_RDONLY)
            return
        # By its descriptor: what the name leads to now may be something else.
        mount(
            "tmpfs", f"/proc/self/fd/{fd}", "tmpfs", MS_NOSUID | MS_NODEV | 1, "mode=0555,size=4k"
        )


def make(place: str, *, of: int, base: str = "/") -> int:
    """Open the place where `of` shall be seen, below `base`; missing folders are made, and so is an
    empty file for a file. A link in the way was put there by a command: it goes."""
    folder = os.open(base, os.O_PATH | os.O_CLOEXEC)
    is_dir = stat.S_ISDIR(os.fstat(of).st_mode)
    *above, last = [p for p in place.split("/") if p] or ["."]
    for name in above:
        inner = _folder(folder, name)
        os.close(folder)
        folder = inner
    try:
        if is_dir:
            return _folder(folder, last)
        return _file(folder, last)
    finally:
        os.close(folder)


def _folder(parent: int, name: str) -> int:
    for _ in range(3):
        try:
            return open_plainly(parent, name, os.O_PATH | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                os.unlink(name, dir_fd=parent)
            elif error.errno != errno.ENOENT:
                raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=parent)
    raise OSError(errno.EAGAIN, "it is being swapped all the time", name)


def _file(parent: int, name: str) -> int:
    for _ in range(3):
        try:
            return open_plainly(parent, name)
        except OSError as error:
            if error.errno == errno.ELOOP:
                os.unlink(name, dir_fd=parent)
            elif error.errno != errno.ENOENT:
                raise
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        with contextlib.suppress(FileExistsError):
            os.close(os.open(name, flags, 0o644, dir_fd=parent))
    raise OSError(errno.EAGAIN, "it is being swapped all the time", name)
