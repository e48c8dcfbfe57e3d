"""Switching a SQLite file to its write-ahead log, while others do the same.

The switch needs the file for itself, and SQLite answers "locked" at once where two try, without the wait
that a connection's timeout gives every other statement (sqlite.org, "Write-Ahead Logging").
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite3 import Connection

STEP = 0.01
"""Seconds between two tries."""


def write_ahead(db: Connection, seconds: float) -> None:
    """Blocks for at most so long. Raises sqlite3.OperationalError."""
    import sqlite3

    until = time.monotonic() + seconds
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > until:
                raise
            time.sleep(STEP)
        else:
            return
