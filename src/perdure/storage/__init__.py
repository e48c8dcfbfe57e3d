"""Storage: sessions on files, so that nothing acknowledged is ever lost.

Here belongs what puts bytes on a disk and gets them back whole: the session log with its checksums and
its lock, group commit, snapshots, artifacts, labels of files, marks of unfinished sessions, the derived
index, ids and the clock; and the doubles for tests (`MemorySessionLog`, `FaultyDisk`). What does not
belong here: what events mean, when a session runs, what goes into a prompt, files that people write
(agents, policy).

Formats are written down in docs/formats.md. Reading order: lines, scan, reader, committer, log, store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .artifacts import ArtifactStore, artifact_id
    from .committer import Committer
    from .disk import Disk, RealDisk
    from .export import FORMATS, ExportFormat
    from .faulty import FaultyDisk
    from .filelabels import FileLabels
    from .ids import SystemClock, TimeIds
    from .index import Index, SessionRow
    from .log import FileSessionLog
    from .memory import MemorySessionLog
    from .paths import SessionFiles, session_id
    from .snapshot import Snapshot
    from .store import OpenedSession, SessionStore, StoredSession
    from .unfinished import Unfinished
    from .verify import Problem, Report

_HOMES = {
    "ArtifactStore": "artifacts",
    "Committer": "committer",
    "Disk": "disk",
    "ExportFormat": "export",
    "FORMATS": "export",
    "FaultyDisk": "faulty",
    "FileLabels": "filelabels",
    "FileSessionLog": "log",
    "Index": "index",
    "MemorySessionLog": "memory",
    "OpenedSession": "store",
    "Problem": "verify",
    "RealDisk": "disk",
    "Report": "verify",
    "SessionFiles": "paths",
    "SessionRow": "index",
    "SessionStore": "store",
    "Snapshot": "snapshot",
    "StoredSession": "store",
    "SystemClock": "ids",
    "TimeIds": "ids",
    "Unfinished": "unfinished",
    "artifact_id": "artifacts",
    "session_id": "paths",
}

__all__ = [
    "FORMATS",
    "ArtifactStore",
    "Committer",
    "Disk",
    "ExportFormat",
    "FaultyDisk",
    "FileLabels",
    "FileSessionLog",
    "Index",
    "MemorySessionLog",
    "OpenedSession",
    "Problem",
    "RealDisk",
    "Report",
    "SessionFiles",
    "SessionRow",
    "SessionStore",
    "Snapshot",
    "StoredSession",
    "SystemClock",
    "TimeIds",
    "Unfinished",
    "artifact_id",
    "session_id",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value
