"""Labels of files (S4): what untrusted content was written into is untrusted when it is read again.

A file's label is the join of what its place says (the owner's; a secret by its name), its own extended
attribute, its row in the book, found by its path or as the file that was moved away from there, and the
commands that ran in its folder at the time it was changed. So it only rises; it falls when the runtime
replaces the whole content by something better, or when the owner clears it.

A command with untrusted content at hand may write anything below its folder. While it runs, all that is
changed there counts as its work. When it ends, what was changed is looked for and labelled one by one; in
a folder too large for that, the time of the run stays in the book and speaks for the files' times.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from perdure.kernel.errors import StorageError
from perdure.kernel.labels import LEAST, SELF, Label, join

from . import attributes
from .labelbook import LabelBook, Pages, Row, Run

SECRET = Label(trust="self", secrecy="secret")
SLACK = 15_000_000
"""Nanoseconds: files' times come from a coarser clock than ours."""
CHANGED = Label(origins=("file:it changed while it was kept",))
ALSO = "\n"
"""Between the key of a command and another folder that it may write to."""
LOOKED_AT = 20_000
"""Entries of a folder that are looked at when a command ends."""
LABELLED = 2_000
"""Files that are labelled one by one after a command."""
RUNS_KEPT = 256
"""Of one folder; with more, the two that lie closest become one."""
WORKSPACE, PRIVATE = "perdure.yaml", ".perdure"
"""What makes a folder one, and where its runtime keeps what it has."""
MEMORY = "agents"
"""What commands may have written within the runtime's own folder."""


class FileLabels:
    """Implements tools.Labels. For every thread."""

    def __init__(
        self,
        path: Path,
        *,
        boot: str = "",
        secret: Callable[[Path], bool] = lambda _: False,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        """`path`: of the side database, in the runtime's own folder, which it writes all the time, and no
        command may. `boot`: identifies this run of the machine. `secret`: is this a
        file of credentials, by its name?"""
        self._book, self._boot, self._secret, self._now = LabelBook(path), boot, secret, now
        self._private = os.path.realpath(path.parent)
        self._booted: int | None = None
        self._quiet: dict[str, Run] = {}
        """Commands that can do no harm so far: not worth a write to the disk."""
        self._hearing = threading.Lock()

    def of(self, path: Path) -> Label:
        """Of a file's content, or of the names in a folder. `path` must be resolved. Never raises: a
        label that cannot be found is the worst."""
        name = os.fspath(path)
        label = SECRET if self._secret(path) else SELF
        if (own := attributes.read(name)) is not None:
            label = label.join(own)
        try:
            pages = self._book.look()
        except StorageError:
            return label.join(attributes.UNREADABLE)
        if not (pages.files or pages.runs):
            return label
        return label.join(self._recorded(name, pages))

    def below(self, folder: Path) -> Label:
        """The join of all that is known to be labelled below a folder. Never raises."""
        try:
            pages = self._book.look()
        except StorageError:
            return SELF.join(attributes.UNREADABLE)
        if not (pages.files or pages.runs):
            return SELF
        return self._below(os.fspath(folder), pages)

    def vouched(self, path: Path) -> bool:
        """Has the owner said that it is fit to be trusted, exactly as it is now? Never raises."""
        name = os.fspath(path)
        try:
            row = self._book.look().files.get(name)
            return row is not None and row.label is None and row.same(os.lstat(name))
        except (StorageError, OSError):
            return False

    def mark(self, path: Path, label: Label) -> None:
        """The file gets, besides what it has, content with this label: to be called before it is
        written. Raises StorageError, and then it must not be."""
        self.mark_all([path], label)

    def mark_all(self, paths: Sequence[Path], label: Label) -> None:
        """As `mark`, each of them."""
        if not _worth(label):
            return
        pages, marks = self._book.look(), []
        for name in map(os.fspath, paths):
            whole, row = label, pages.files.get(name)
            if row is not None and row.label is not None:
                whole = row.label.join(whole)
            if (own := attributes.read(name)) is not None:
                whole = whole.join(own)
            marks.append((name, whole))
        self._enter(marks)

    def replaced(self, path: Path, label: Label) -> None:
        """The file now holds content with this label and nothing else. Raises StorageError."""
        self.replaced_all([(path, label)])

    def replaced_all(self, files: Sequence[tuple[Path, Label]]) -> None:
        """As `replaced`, each of them."""
        named = [(os.fspath(path), label) for path, label in files]
        self._enter([(name, label) for name, label in named if _worth(label)])
        clean = [name for name, label in named if not _worth(label)]
        known = self._book.look().files if clean else {}
        if gone := [name for name in clean if name in known]:
            self._book.drop_files(gone)
        for name in clean:
            with contextlib.suppress(OSError):  # then it keeps what it had
                attributes.remove(name)

    # Checkpoints --------------------------------------------------------------------------------

    def expected_all(self, files: Sequence[tuple[Path, Label]]) -> None:
        """They get, besides what they have, content with these labels: noted before, and in the book
        alone, so that the files stay untouched. Raises StorageError, and then they must not."""
        pages, rows = self._book.look(), []
        for path, label in files:
            if _worth(label):
                name = os.fspath(path)
                row = pages.files.get(name)
                whole = row.label.join(label) if row is not None and row.label else label
                try:
                    rows.append((name, _row(whole, os.lstat(name))))
                except OSError:  # not there yet
                    rows.append((name, Row(label=whole)))
        if rows:
            self._book.put_files(rows)

    def own(self, handle: int) -> Label | None:
        """What an open file says of itself. Never raises."""
        return attributes.read(handle)

    def noted(self, folder: Path) -> frozenset[str]:
        """Paths below a folder of which the book knows something now. Never raises."""
        try:
            return frozenset(_within(os.fspath(folder), self._book.look().files))
        except StorageError:
            return frozenset()  # `labelled` says what that means

    def labelled(
        self,
        folder: Path,
        files: Mapping[str, tuple[int, int, int, int]],
        noted: Collection[str] = (),
    ) -> dict[str, Label]:
        """Of files, by their paths in the folder and as they were seen (size, times of content and status,
        inode): the labels of those of which the book knows something, or knew (`noted`). One that has
        changed since has the worst. Never raises."""
        base = os.fspath(folder).removesuffix("/") + "/"
        try:
            pages = self._book.look()
        except StorageError:
            return dict.fromkeys(files, attributes.UNREADABLE)
        if not (pages.files or pages.runs or noted):
            return {}
        inodes = {inode for _, inode in pages.inodes}
        runs = [
            r
            for r in pages.runs.values()
            if _lies(base[:-1], r.folder) or _lies(r.folder, base[:-1])
        ]
        spans = [(r.began - SLACK, self._ended(r) + SLACK) for r in runs]
        found = {}
        for name, (size, mtime, ctime, inode) in files.items():
            path = base + name
            if not (
                path in pages.files
                or path in noted
                or inode in inodes
                or not inode
                or any(a <= ctime <= b or a <= mtime <= b for a, b in spans)
            ):
                continue
            label = self.of(Path(path))
            if not _is(path, (size, mtime, ctime, inode)):
                label = label.join(CHANGED)
            if _worth(label):
                found[name] = label
        return found

    def clearable(self, path: Path) -> list[Path]:
        """What `clear` would clear. Raises StorageError, OSError."""
        name, pages = os.fspath(path), self._book.look()
        if not path.is_dir() or path.is_symlink():
            return [path] if self._marked(name) else []
        names = {n for n in _within(name, pages.files) if self._reaches(name, n)}
        start = f"{name}/{MEMORY}" if name == self._private else name
        if self._reaches(start, f"{start}/"):
            walked = _walk(start, self._private, most=None, leave=self.foreign)
            names.update(entry for entry, _ in walked)
        names.discard(name)
        found = [Path(each) for each in sorted(names) if self._marked(each)]
        itself = name in pages.files or attributes.read(name) is not None
        if (itself and self._marked(name)) or self._runs(name, pages):
            found.insert(0, path)
        return found

    def clear(self, path: Path) -> list[Path]:
        """The owner says that a file, or all in a folder, is fit to be trusted as it is now. What had a
        label. Of a folder, neither what other workspaces hold below it, nor what a runtime keeps. Raises
        StorageError, OSError."""
        cleared = self.clearable(path)
        name = os.fspath(path)
        for each in map(os.fspath, cleared):
            if each == name and path.is_dir() and name not in self._book.look().files:
                attributes.remove(each)
                continue
            attributes.remove(each)
            with contextlib.suppress(FileNotFoundError):
                seen = os.lstat(each)
                self._book.put_files([(each, _row(None, seen))])
            if not os.path.lexists(each):
                self._book.drop_files([each])
        if path.is_dir() and not path.is_symlink():
            self._book.drop_runs(self._runs(name, self._book.look()))
        return cleared

    def _marked(self, name: str) -> bool:
        return _worth(self.of(Path(name)), secret=False)

    def _runs(self, folder: str, pages: Pages) -> list[str]:
        """Keys of the commands that ran in a folder, or below it."""
        return [
            r.key
            for r in pages.runs.values()
            if _lies(r.folder, folder) and self._reaches(folder, r.folder)
        ]

    def _reaches(self, folder: str, name: str) -> bool:
        """Does who clears a folder mean this below it too?"""
        if name == folder:
            return True
        memory = f"{self._private}/{MEMORY}"
        if _lies(name, memory):
            return True
        if f"/{PRIVATE}/" in f"{name}/":
            return False
        at = os.path.dirname(name)  # noqa: PTH120
        while at != folder and _lies(at, folder):
            if self.foreign(at):
                return False
            at = os.path.dirname(at)  # noqa: PTH120
        return not self.foreign(folder)

    def foreign(self, folder: str) -> bool:
        """Is it another workspace, or what the runtime of one keeps?"""
        if folder.endswith(f"/{PRIVATE}"):
            return True
        return (
            os.path.lexists(f"{folder}/{WORKSPACE}") and folder != os.path.dirname(self._private)  # noqa: PTH120
        )

    def reset(self) -> None:
        """The owner says that all files are fit to be trusted as they are, but for what they say of
        themselves: to be used where the book cannot be read. Raises StorageError, also where it can."""
        try:
            self._book.look()
        except StorageError:
            self._book.reset()
            return
        raise StorageError(
            "the labels of files can be read: there is no need to begin anew",
            hint="To vouch for files: perdure label clear PATH",
        )

    # Commands -----------------------------------------------------------------------------------

    def begin(
        self,
        key: str,
        folder: Path,
        label: Label,
        *,
        also: Sequence[Path] = (),
        lasting: bool = False,
    ) -> None:
        """A command starts, or goes on, in a folder with this label; `also`: others that it may write to.
        `key` begins with its session and a dot. `lasting`: it may outlive this process. Raises
        StorageError, and then it must not start."""
        for other in also:
            self._begin(f"{key}{ALSO}{other}", other, label, lasting)
        self._begin(key, folder, label, lasting)

    def _begin(self, key: str, folder: Path, label: Label, lasting: bool) -> None:
        with self._hearing:
            run = self._quiet.pop(key, None) or self._book.look().runs.get(key)
            began = self._now()
            if run is not None:
                label, began = run.label.join(label), run.began
            run = Run(key=key, folder=os.fspath(folder), label=label, boot=self._boot, began=began)
            if lasting or _worth(label):
                self._book.put_run(run)
            else:
                self._quiet[key] = run

    def heard(self, session: str, host: str) -> None:
        """The commands of a session that run now get something from there. Raises StorageError, also where
        none is known to run, and then they must not."""
        label = Label(trust="third_party", origins=(f"web:{host[: attributes.HOST_CHARS]}",))
        with self._hearing:
            runs = self._open_in(session)
            if not runs:
                raise StorageError(f"no command of session {session} is known to run")
            for run in runs:
                joined = run.label.join(label)
                if joined != run.label:
                    self._book.put_run(dataclasses.replace(run, label=joined))
                    self._quiet.pop(run.key, None)

    def running_in(self, session: str) -> Label | None:
        """The join of all commands of a session that have begun and not ended, and of what they have heard;
        None where none is known. Never raises."""
        with self._hearing:
            try:
                runs = self._open_in(session)
            except StorageError:
                return attributes.UNREADABLE
        return join(run.label for run in runs) if runs else None

    def _open_in(self, session: str) -> list[Run]:
        """Raises StorageError."""
        book = [r for r in self._book.look().runs.values() if r.ended is None]
        return [r for r in (*self._quiet.values(), *book) if r.key.startswith(f"{session}.")]

    def running(self, key: str) -> Label | None:
        """Of a command that has begun and not ended. Never raises."""
        if (quiet := self._quiet.get(key)) is not None:
            return quiet.label
        try:
            run = self._book.look().runs.get(key)
        except StorageError:
            return attributes.UNREADABLE
        return run.label if run is not None and run.ended is None else None

    def end_quiet(self, key: str) -> bool:
        """As `end`, but at once; False, and nothing is done, where there may be something to label."""
        also = f"{key}{ALSO}"
        with self._hearing:
            if key not in self._quiet or any(k.startswith(also) for k in self._quiet):
                return False
            del self._quiet[key]
        return True

    def end(self, key: str) -> None:
        """It has ended: label what it may have written. Blocking. Raises StorageError."""
        also = f"{key}{ALSO}"
        for known in [*self._quiet.copy(), *self._book.look().runs]:
            if known.startswith(also):
                self._end(known)
        self._end(key)

    def _end(self, key: str) -> None:
        with self._hearing:
            if self._quiet.pop(key, None) is not None:
                return
            run = self._book.look().runs.get(key)
            if run is None or run.ended is not None:
                return
            if not _worth(run.label):
                self._book.drop_runs([key])
                return
        changed = _changed(run, self._private)  # takes its time, in which others may begin and hear
        with self._hearing:
            pages = self._book.look()
            run = pages.runs.get(key)  # its label may have risen
            if run is None or run.ended is not None:
                return
            if changed is None:
                self._keep(run)
                return
            gone = [n for n in _within(run.folder, pages.files) if not os.path.lexists(n)]
            known = pages.files
            self._enter(
                [
                    (name, run.label.join(row.label) if (row := known.get(name)) and row.label else run.label)
                    for name in changed
                ]
            )  # fmt: skip
            self._book.drop_files(gone)
            self._book.drop_runs([key])

    def close(self) -> None:
        self._book.close()

    # Artifacts ----------------------------------------------------------------------------------

    def seal(self, path: Path, label: Label) -> None:
        """Write a label onto a file that never changes, where the file system keeps one."""
        own = attributes.read(os.fspath(path))
        attributes.write(os.fspath(path), own.join(label) if own else label)

    def sealed(self, path: Path) -> Label | None:
        """What was written onto it; None where nothing is."""
        return attributes.read(os.fspath(path))

    # Inside -------------------------------------------------------------------------------------

    def _enter(self, labels: list[tuple[str, Label]]) -> None:
        """The attribute first: writing it changes a time that the book keeps."""
        rows = []
        for name, label in labels:
            attributes.write(name, label)
            try:
                rows.append((name, _row(label, os.lstat(name))))
            except OSError:  # not there yet
                rows.append((name, Row(label=label)))
        if rows:
            self._book.put_files(rows)

    def _keep(self, run: Run) -> None:
        ended = self._now()
        self._book.put_run(dataclasses.replace(run, ended=ended))
        kept = [r for r in self._book.look().runs.values() if r.folder == run.folder and r.ended]
        if len(kept) > RUNS_KEPT:
            kept.sort(key=lambda r: r.began)
            pairs = itertools.pairwise(kept)
            first, second = min(pairs, key=lambda p: p[1].began - (p[0].ended or 0))
            self._book.put_run(
                Run(
                    key=second.key, folder=run.folder, label=first.label.join(second.label),
                    boot=second.boot, began=first.began,
                    ended=max(first.ended or 0, second.ended or 0),
                )
            )  # fmt: skip
            self._book.drop_runs([first.key])

    def _recorded(self, name: str, pages: Pages) -> Label:
        row = pages.files.get(name)
        try:
            seen = os.lstat(name)
        except OSError:  # what is said of a missing file names its neighbours
            label = self._below(os.path.dirname(name), pages)  # noqa: PTH120
            return label.join(row.label) if row and row.label else label
        if row is not None and row.label is None:
            if row.same(seen):
                return LEAST
            row = None
        if row is None and (moved := pages.inodes.get((seen.st_dev, seen.st_ino))) is not None:
            row = moved if moved.moved(seen) else None
        label = row.label if row is not None and row.label is not None else LEAST
        for run in pages.runs.values():
            if _lies(name, run.folder) and self._during(run, seen):
                label = label.join(run.label)
        if stat.S_ISDIR(seen.st_mode):
            label = label.join(self._below(name, pages))
        return label

    def _during(self, run: Run, seen: os.stat_result) -> bool:
        """Was a file changed, or its content, while a command ran?"""
        first, last = run.began - SLACK, self._ended(run) + SLACK
        return any(first <= at <= last for at in (seen.st_ctime_ns, seen.st_mtime_ns))

    def _ended(self, run: Run) -> int:
        """A command outlives this process, never the machine."""
        if run.ended is not None:
            return run.ended
        if run.boot == self._boot or not hasattr(time, "CLOCK_BOOTTIME"):
            return 1 << 63
        if self._booted is None:
            self._booted = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return self._booted

    def _below(self, folder: str, pages: Pages) -> Label:
        found = pages.below.get(folder)
        if found is None:
            labels = [pages.files[n].label for n in _within(folder, pages.files)]
            runs = [
                r.label
                for r in pages.runs.values()
                if _lies(r.folder, folder) or _lies(folder, r.folder)
            ]
            found = SELF.join(join(label for label in (*labels, *runs) if label is not None))
            pages.below[folder] = found
        return found


def _worth(label: Label, *, secret: bool = True) -> bool:
    """Is it above what a file has by being the owner's?"""
    return label.tainted or (secret and label.secrecy == "secret")


def _row(label: Label | None, seen: os.stat_result) -> Row:
    return Row(
        label=label,
        dev=seen.st_dev,
        ino=seen.st_ino,
        size=seen.st_size,
        mtime=seen.st_mtime_ns,
        ctime=seen.st_ctime_ns,
    )


def _is(path: str, seen: tuple[int, int, int, int]) -> bool:
    """Is it still as it was seen?"""
    try:
        now = os.lstat(path)
    except OSError:
        return False
    return (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino) == seen


def _lies(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder if folder.endswith("/") else f"{folder}/")


def _within(folder: str, files: dict[str, Row]) -> list[str]:
    return [name for name in files if _lies(name, folder)]


def _changed(run: Run, private: str) -> list[str] | None:
    """What a command may have written; None when that is too much to be told."""
    found: list[str] = []
    for count, (name, seen) in enumerate(_walk(run.folder, private, most=LOOKED_AT)):
        if seen is None or count >= LOOKED_AT or len(found) >= LABELLED:
            return None
        if max(seen.st_ctime_ns, seen.st_mtime_ns) >= run.began - SLACK:
            found.append(name)
    return found


def _walk(
    folder: str,
    private: str,
    *,
    most: int | None,
    leave: Callable[[str], bool] = lambda _: False,
) -> Iterator[tuple[str, os.stat_result | None]]:
    """Everything below a folder but what the runtime keeps, links not followed, and but the folders to
    `leave`. None instead of its times: it cannot be told what is there."""
    left = [folder]
    while left:
        at = left.pop()
        try:
            with os.scandir(at) as entries:
                for entry in entries:
                    if entry.path == private:
                        if os.path.isdir(agents := f"{entry.path}/{MEMORY}"):  # noqa: PTH112
                            left.append(agents)
                        continue
                    try:
                        seen = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if leave(entry.path):
                            continue
                        left.append(entry.path)
                    yield entry.path, seen
        except FileNotFoundError:
            continue
        except OSError:
            if most is not None:
                yield at, None
