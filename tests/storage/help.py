"""What the storage tests share."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from perdure.kernel.events import Record, SessionId
from perdure.storage import Committer, Disk, FileSessionLog, SessionFiles, SessionStore
from perdure.storage.log import open_log

from ..conformance.session_log import BEGAN, record, run

__all__ = [
    "FOLDER",
    "ROOT",
    "S1",
    "Clock",
    "Fault",
    "content",
    "log_in",
    "record",
    "run",
    "store_in",
]

ROOT = Path("/w")
FOLDER = ROOT / "s_1"
S1 = SessionId("s_1")


class Clock:
    """Goes on a second with every look."""

    def __init__(self) -> None:
        self.time = BEGAN

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Fault:
    """A FaultyDisk's fault: `code` for these operations on these file names, while `on`."""

    def __init__(self, *operations: str, name: str = "", code: int = errno.EIO) -> None:
        self.operations, self.name, self.code = operations, name, code
        self.on = True
        self.hits = 0

    def __call__(self, operation: str, path: Path) -> OSError | None:
        if not self.on or operation not in self.operations or not path.name.startswith(self.name):
            return None
        self.hits += 1
        return OSError(self.code, os.strerror(self.code), str(path))


def log_in(disk: Disk, committer: Committer, folder: Path = FOLDER) -> FileSessionLog:
    """The log in `folder`, which is made when missing."""
    for path in (*reversed(folder.parents), folder):
        if not disk.exists(path):
            disk.mkdir(path)
    files = SessionFiles(folder)
    return open_log(files, committer, create=True, needs=[folder, folder.parent, ROOT.parent])[0]


@contextmanager
def store_in(root: Path, committer: Committer | None = None) -> Iterator[SessionStore]:
    committer = committer or Committer()
    try:
        yield SessionStore(root, committer, Clock())
    finally:
        committer.close()


def content(disk: Disk, path: Path) -> bytes:
    handle = disk.open(path)
    try:
        return disk.read(handle, 0, disk.size(handle))
    finally:
        disk.close(handle)


def records(log: FileSessionLog) -> list[Record]:
    return list(log.read())
