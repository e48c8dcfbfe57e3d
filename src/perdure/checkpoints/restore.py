"""Putting a folder back, step by step.

New contents are first written, checked, into a draft folder inside the working folder; a full disk or a
damaged object so leaves everything as it was. Then each file gets its name by one rename.

Invariants: nothing is overwritten or removed but what is still as the checkpoint taken just before has
it; no link is followed below the working folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .cache import Seen, seen
from .compare import Difference, Step
from .disk import CHUNK, sync
from .objects import Objects, write_all
from .scan import DRAFTS
from .tree import File, Folder, Link, to_name

_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


def clean(root: Path) -> None:
    """Remove drafts that a killed process left. Only for who knows that no other is at work."""
    with contextlib.suppress(OSError):
        for item in root.iterdir():
            if item.name.startswith(DRAFTS):
                shutil.rmtree(item, ignore_errors=True)


def apply(
    root: Path, objects: Objects, difference: Difference, known: dict[str, Seen]
) -> Sequence[Step]:
    """Do the steps. What was done; what could not be is added to `difference.kept`. `known`: how the files
    were when they were checkpointed. Raises StorageError and OSError before anything was changed."""
    if not difference.steps:
        return ()
    drafts = Path(tempfile.mkdtemp(prefix=DRAFTS, dir=root))
    try:
        staged = _stage(drafts, objects, difference.steps)
        return _Doing(root, drafts, staged, known).all(difference)
    finally:
        shutil.rmtree(drafts, ignore_errors=True)


def _stage(drafts: Path, objects: Objects, steps: Iterable[Step]) -> dict[str, str]:
    """Path to the name of its draft."""
    staged: dict[str, str] = {}
    for step in steps:
        if step.action not in ("add", "change"):
            continue
        name = str(len(staged))
        if isinstance(step.then, File):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            handle = os.open(drafts / name, flags, 0o600)
            try:
                objects.copy(step.then.content, handle)
                os.fchmod(handle, step.then.mode)
            finally:
                os.close(handle)
        elif isinstance(step.then, Link):
            (drafts / name).symlink_to(to_name(step.then.target))
        else:
            continue
        staged[step.path] = name
    files = [drafts / n for n in staged.values() if not (drafts / n).is_symlink()]
    if files:
        sync(files)
    return staged


class _Doing:
    def __init__(
        self, root: Path, drafts: Path, staged: dict[str, str], known: dict[str, Seen]
    ) -> None:
        self._root, self._drafts, self._staged, self._known = root, drafts, staged, known
        self._made: list[Step] = []
        """Folders that still need their mode."""

    def all(self, difference: Difference) -> Sequence[Step]:
        done: list[Step] = []
        touched: dict[Path, None] = {}
        for step in difference.steps:
            try:
                self._one(step)
            except _Changed:
                difference.keep(step.path, "changed")
            except OSError as error:
                gone = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENOTEMPTY)
                difference.keep(step.path, "changed" if gone else "refused")
            else:
                done.append(step)
                touched[(self._root / to_name(step.path)).parent] = None
        for step in reversed(self._made):
            assert isinstance(step.then, Folder)
            with contextlib.suppress(OSError), self._parent(step.path) as (parent, name):
                _chmod_folder(parent, name, step.then.mode)
        with contextlib.suppress(OSError):
            sync(folder for folder in touched if folder.is_dir())
        return done

    def _one(self, step: Step) -> None:
        with self._parent(step.path) as (parent, name):
            if step.action == "remove":
                if isinstance(step.now, Folder):
                    os.rmdir(name, dir_fd=parent)
                else:
                    self._check(step, parent, name)
                    os.unlink(name, dir_fd=parent)
            elif isinstance(step.then, Folder):
                if step.action == "add":
                    os.mkdir(name, 0o700, dir_fd=parent)
                self._made.append(step)
            elif step.action == "mode":
                assert isinstance(step.then, File)
                self._check(step, parent, name)
                _chmod_file(parent, name, step.then.mode)
            else:
                self._check(step, parent, name)
                self._place(step, parent, name)

    def _check(self, step: Step, parent: int, name: str) -> None:
        """Is it still what was checkpointed, or still not there?"""
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            if step.now is None:
                return
            raise
        if step.now is None or seen(status) != self._known.get(to_name(step.path)):
            raise _Changed

    def _place(self, step: Step, parent: int, name: str) -> None:
        draft = self._drafts / self._staged[step.path]
        try:
            os.rename(draft, name, dst_dir_fd=parent)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._place_across(step, draft, parent, name)

    def _place_across(self, step: Step, draft: Path, parent: int, name: str) -> None:
        """The folder is mounted a second time below itself: the draft must be made anew there."""
        beside = DRAFTS + self._staged[step.path]
        if isinstance(step.then, Link):
            os.symlink(to_name(step.then.target), beside, dir_fd=parent)
        else:
            assert isinstance(step.then, File)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            handle = os.open(beside, flags, 0o600, dir_fd=parent)
            try:
                with draft.open("rb") as source:
                    while chunk := source.read(CHUNK):
                        write_all(handle, chunk)
                os.fchmod(handle, step.then.mode)
                os.fsync(handle)
            finally:
                os.close(handle)
        os.rename(beside, name, src_dir_fd=parent, dst_dir_fd=parent)

    @contextlib.contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """The open folder a path is in, reached without following a link; and its name there."""
        *above, name = [to_name(part) for part in path.split("/")]
        handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in above:
                inner = os.open(part, _FOLDER, dir_fd=handle)
                os.close(handle)
                handle = inner
            yield handle, name
        finally:
            os.close(handle)


class _Changed(Exception):
    """It is not what was checkpointed."""


def _chmod_file(parent: int, name: str, mode: int) -> None:
    handle = os.open(
        name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent
    )
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _Changed
        os.fchmod(handle, mode)
    finally:
        os.close(handle)


def _chmod_folder(parent: int, name: str, mode: int) -> None:
    handle = os.open(name, _FOLDER, dir_fd=parent)
    try:
        os.fchmod(handle, mode)
    finally:
        os.close(handle)
