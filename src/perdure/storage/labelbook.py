"""The side database of file labels, `labels.sqlite`: which files, and what ran in which folder and when.

All of it is kept in memory as well and read again when another process has written, so that a look costs
microseconds. What is lost here lets untrusted content pass for the owner's: it is no derived data, a
damaged file is an error, and what is put is on stable storage when the call returns. So that deleting the
file does not wash everything, `labels.made` beside it says that there was one: it is then an error, too,
until the owner begins anew.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from perdure.kernel.errors import StorageError
from perdure.kernel.labels import Label

from .wal import write_ahead

if TYPE_CHECKING:
    from sqlite3 import Connection

T = TypeVar("T")

VERSION = 1
BUSY_SECONDS = 5.0

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Label).decode


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was labelled, or that the owner has cleared."""

    label: Label | None
    """None: cleared, as long as the file is exactly the one that was seen."""
    dev: int = 0
    ino: int = 0
    size: int = -1
    mtime: int = 0
    ctime: int = 0
    """In nanoseconds, as `mtime`; all of them as when it was labelled."""

    def moved(self, seen: os.stat_result) -> bool:
        """Is this the same file, under whatever name?"""
        return (self.size, self.mtime) == (seen.st_size, seen.st_mtime_ns)

    def same(self, seen: os.stat_result) -> bool:
        """Is it the very version that was seen?"""
        here = (self.dev, self.ino, self.ctime) == (seen.st_dev, seen.st_ino, seen.st_ctime_ns)
        return here and self.moved(seen)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A command that ran with untrusted content at hand and may have written anything in its folder."""

    key: str
    folder: str
    label: Label
    boot: str
    began: int
    """Unix time in nanoseconds."""
    ended: int | None = None
    """None: as far as is known it still runs."""


@dataclass(kw_only=True, slots=True)
class Pages:
    """What is in the book. Replaced, never changed, by a reload."""

    files: dict[str, Row] = field(default_factory=dict)
    inodes: dict[tuple[int, int], Row] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    below: dict[str, Label] = field(default_factory=dict)
    """What was found for folders; emptied with every change."""


class LabelBook:
    """Methods may be called from any thread and by several processes. They raise StorageError."""

    def __init__(self, path: Path) -> None:
        """The file is made with the first thing put into it."""
        self._path, self._made = path, path.with_suffix(".made")
        self._names = os.fspath(path), os.fspath(self._made)
        self._guard = threading.RLock()
        self._db: Connection | None = None
        self._version = -1
        self._opened = (0, 0)
        self._pages = Pages()

    def look(self) -> Pages:
        """What is in it now. For reading only."""
        # A workspace without one costs no library.
        if self._db is None and not any(map(os.path.exists, self._names)):
            return Pages()
        with self._guard, self._failing("read"):
            if self._db is None:
                self._db = self._open()
            self._still()
            version = self._db.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                self._pages, self._version = _load(self._db), version
            return self._pages

    def reset(self) -> None:
        """Begin an empty one, also in place of one that cannot be read; that is kept beside it."""
        with self._guard, self._failing("begin anew"):
            self.close()
            for end in ("-wal", "-shm", ""):
                old = self._path.with_name(f"{self._path.name}{end}")
                if os.path.lexists(old):
                    old.replace(old.with_name(f"labels.old.sqlite{end}"))
            self._made.unlink(missing_ok=True)
            self._pages = Pages()
            self._db = self._open()

    def put_files(self, rows: Sequence[tuple[str, Row]]) -> None:
        def work(db: Connection, pages: Pages) -> None:
            db.executemany(
                _sql()["put_file"],
                [
                    (
                        os.fsencode(path), r.label and _encode(r.label).decode(),
                        _signed(r.dev), _signed(r.ino), r.size, r.mtime, r.ctime,
                    )
                    for path, r in rows
                ],
            )  # fmt: skip
            for path, row in rows:
                _enter(pages, path, row)

        self._write(work)

    def drop_files(self, paths: Sequence[str]) -> None:
        def work(db: Connection, pages: Pages) -> None:
            db.executemany(_sql()["drop_file"], [(os.fsencode(p),) for p in paths])
            for path in paths:
                row = pages.files.pop(path, None)
                if row is not None and pages.inodes.get((row.dev, row.ino)) is row:
                    del pages.inodes[(row.dev, row.ino)]

        if paths:
            self._write(work)

    def put_run(self, run: Run) -> None:
        def work(db: Connection, pages: Pages) -> None:
            values = (run.key, os.fsencode(run.folder), _encode(run.label).decode(), run.boot)
            db.execute(_sql()["put_run"], (*values, run.began, run.ended))
            pages.runs[run.key] = run

        self._write(work)

    def drop_runs(self, keys: Sequence[str]) -> None:
        def work(db: Connection, pages: Pages) -> None:
            db.executemany(_sql()["drop_run"], [(key,) for key in keys])
            for key in keys:
                pages.runs.pop(key, None)

        if keys:
            self._write(work)

    def close(self) -> None:
        """Idempotent; a later use opens it again."""
        with self._guard:
            if self._db is not None:
                self._db.close()
            self._db, self._version = None, -1

    def _write(self, work: Callable[[Connection, Pages], None]) -> None:
        with self._guard, self._failing("write"):
            if self._db is None:
                self._db = self._open()
            self._still()
            self._db.execute("BEGIN IMMEDIATE")
            try:
                # Nobody else writes from here on, so that what is in memory is what is in the file.
                version = self._db.execute("PRAGMA data_version").fetchone()[0]
                if version != self._version:
                    self._pages, self._version = _load(self._db), version
                work(self._db, self._pages)
                self._db.execute("COMMIT")
            except BaseException:
                self._version = -1
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._pages.below.clear()

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        import sqlite3

        try:
            yield
        except (sqlite3.Error, OSError, msgspec.DecodeError) as error:
            raise StorageError(
                f"cannot {what} the labels of files in {self._path}: {error}",
                hint="Until it can be, every file counts as written by others, also when it is deleted. "
                "Restore it from a backup; or look at your files, and then vouch for all of them: perdure "
                "label reset",
            ) from error

    def _open(self) -> Connection:
        import sqlite3

        made = self._made.exists()  # first: another process may be making it
        if made and not self._path.exists():
            raise FileNotFoundError("it is gone")
        db = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise sqlite3.DatabaseError(f"it is of version {version}, {VERSION} expected")
            if made and version == 0:
                raise sqlite3.DatabaseError("it is empty")
            write_ahead(db, BUSY_SECONDS)
            db.execute("PRAGMA synchronous = FULL")
            if version == 0:
                db.executescript(
                    f"BEGIN IMMEDIATE; {_sql()['schema']} PRAGMA user_version = {VERSION}; COMMIT;"
                )
            if not made:
                self._mark()
            seen = self._path.stat()
            self._opened = (seen.st_dev, seen.st_ino)
        except BaseException:
            db.close()
            raise
        return db

    def _mark(self) -> None:
        """Before anything is put into it, and to stay."""
        os.close(os.open(self._made, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        folder = os.open(self._made.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _still(self) -> None:
        """Raises OSError when the file that is open is not the one that lies there."""
        try:
            seen = os.stat(self._names[0])  # noqa: PTH116  # at every look
        except FileNotFoundError:
            self.close()
            raise FileNotFoundError("it is gone") from None
        if (seen.st_dev, seen.st_ino) != self._opened:
            raise OSError("it was replaced while it was in use; start Perdure again")


def _load(db: Connection) -> Pages:
    pages = Pages()
    for path, label, dev, ino, size, mtime, ctime in db.execute(_sql()["files"]):
        known = _decode(label) if label is not None else None
        row = Row(
            label=known, dev=_unsigned(dev), ino=_unsigned(ino), size=size, mtime=mtime, ctime=ctime
        )
        _enter(pages, os.fsdecode(path), row)
    for key, folder, label, boot, began, ended in db.execute(_sql()["runs"]):
        pages.runs[key] = Run(
            key=key,
            folder=os.fsdecode(folder),
            label=_decode(label),
            boot=boot,
            began=began,
            ended=ended,
        )
    return pages


def _enter(pages: Pages, path: str, row: Row) -> None:
    pages.files[path] = row
    if row.ino and row.label is not None:
        pages.inodes[(row.dev, row.ino)] = row


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _unsigned(number: int) -> int:
    return number + (1 << 64) if number < 0 else number


@cache
def _sql() -> dict[str, str]:
    """The named statements."""
    text = resources.files(__package__).joinpath("sql/labels.sql").read_text("utf-8")
    parts = text.split("-- name: ")[1:]
    return {name.strip(): body.strip() for name, _, body in (p.partition("\n") for p in parts)}
