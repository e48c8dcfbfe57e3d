"""The derived index of sessions in SQLite: listings without opening sessions. Delete it at any time.

SQL lives in sql/index.sql by name. sqlite3 is imported with the first use.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from perdure.kernel.errors import StorageError
from perdure.kernel.events import SessionId

from .wal import write_ahead

if TYPE_CHECKING:
    from sqlite3 import Connection

T = TypeVar("T")

VERSION = 1
"""Of the schema, in SQLite's user_version; another one is thrown away and made again."""
WHOLE = 0x50657264
"""SQLite's application_id once the index has been filled from the logs: until then some sessions may be
missing, also for the processes that come after this one."""
BUSY_SECONDS = 5.0
"""How long to wait for another process that writes."""
AGAIN_SECONDS = 30.0
"""After which a file that could not be used is tried again."""


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a listing shows of a session."""

    id: SessionId
    agent: str
    title: str
    created: datetime
    updated: datetime
    status: str
    messages: int = 0
    turns: int = 0
    cost_usd: float = 0.0
    unpriced: bool = False
    """Some call had no known price; `cost_usd` is then a lower bound."""
    parent: SessionId | None = None
    workdir: str = ""
    model: str = ""
    seq: int = 0
    error: str = ""


class Index:
    """The file is opened with the first use, and made when it is missing, damaged or of another
    version. Where the disk refuses that, being full or read-only, the index is kept in memory for a
    while, to be filled by `rebuild`. Methods block for about 0.1 ms, may be called from any thread, and
    raise StorageError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._connection: Connection | None = None
        self._incomplete = False
        self._until: float | None = None
        """In memory until then, by the monotonic clock."""

    @property
    def incomplete(self) -> bool:
        """The file had to be made, by this process or by one before it that did not get to fill it:
        `rebuild` should be called with all sessions there are."""
        with self._guard:
            self._do(lambda db: None, anyway=True)
            return self._incomplete

    def upsert(self, row: SessionRow) -> None:
        def work(db: Connection) -> None:
            db.execute(_sql()["upsert"], msgspec.to_builtins(row))

        with self._guard:
            self._do(work)

    def list(
        self, limit: int = 50, before: SessionId | None = None, agent: str | None = None
    ) -> list[SessionRow]:
        """Newest first; `before` is the last id of the page before."""
        query = _sql()["list" if agent is None else "list_of_agent"]
        values = {"limit": limit, "before": before, "agent": agent}

        def work(db: Connection) -> list[SessionRow]:
            names = SessionRow.__struct_fields__
            found = [dict(zip(names, row, strict=True)) for row in db.execute(query, values)]
            return msgspec.convert(found, list[SessionRow], strict=False)

        with self._guard:
            return self._do(work)

    def delete(self, session: SessionId) -> None:
        with self._guard:
            self._do(lambda db: db.execute(_sql()["delete"], {"id": session}))

    def rebuild(self, rows: Iterable[SessionRow]) -> None:
        """Replace everything, in one transaction. `rows` may be lazy."""
        whole = list(rows)

        def work(db: Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            try:
                db.execute(_sql()["clear"])
                db.executemany(_sql()["upsert"], map(msgspec.to_builtins, whole))
                db.execute(f"PRAGMA application_id = {WHOLE}")
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # a full disk has ended it already
                    db.execute("ROLLBACK")
                raise

        with self._guard:
            self._do(work, anyway=True)
            self._incomplete = False

    def close(self) -> None:
        """Idempotent; a later use opens it again."""
        with self._guard:
            self._drop()

    def _do(self, work: Callable[[Connection], T], *, anyway: bool = False) -> T:
        """Run `work`; where the file turns out to be damaged, make it again and run it once more.
        `anyway`: in memory, where the disk refuses."""
        import sqlite3

        try:
            try:
                return work(self._open())
            except sqlite3.OperationalError as error:
                # Disk full, not readable, busy: the file itself is not at fault.
                busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                if busy or not anyway:
                    raise
                return work(self._in_memory())
            except sqlite3.DatabaseError:
                self._throw_away()
                return work(self._open())
        except sqlite3.Error as error:
            raise StorageError(
                f"the index cannot be used: {error}",
                hint=f"It is derived: {self._path} can be deleted.",
            ) from error
        except OSError as error:
            raise StorageError(f"the index cannot be used: {error}") from error

    def _open(self) -> Connection:
        if self._until is not None and time.monotonic() >= self._until:
            self._drop()
        if self._connection is not None:
            return self._connection
        import sqlite3

        fresh = not self._path.exists()
        db = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != VERSION:
                if not fresh and version != 0:
                    raise sqlite3.DatabaseError(f"schema version {version}, {VERSION} expected")
                fresh = True
            write_ahead(db, BUSY_SECONDS)
            db.execute("PRAGMA synchronous = NORMAL")
            if fresh:
                db.executescript(
                    f"BEGIN IMMEDIATE; {_sql()['schema']} PRAGMA user_version = {VERSION}; COMMIT;"
                )
            filled = db.execute("PRAGMA application_id").fetchone()[0] == WHOLE
            self._incomplete = self._until is not None or not filled
        except BaseException:
            db.close()
            raise
        self._connection, self._until = db, None
        return db

    def _in_memory(self) -> Connection:
        import sqlite3

        self._drop()
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        db.executescript(_sql()["schema"])
        self._connection, self._until = db, time.monotonic() + AGAIN_SECONDS
        self._incomplete = True
        return db

    def _drop(self) -> None:
        """`_until` stays: what happened in the meantime is not in the file."""
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
            self._connection = None

    def _throw_away(self) -> None:
        self._drop()
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


@cache
def _sql() -> dict[str, str]:
    """The named statements."""
    text = resources.files(__package__).joinpath("sql/index.sql").read_text("utf-8")
    parts = text.split("-- name: ")[1:]
    return {name.strip(): body.strip() for name, _, body in (p.partition("\n") for p in parts)}
