"""The conformance suite over every session log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.kernel.ports import SessionLog
from perdure.storage import Committer, FaultyDisk, MemorySessionLog, RealDisk

from ..conformance.session_log import Logs, SessionLogConformance
from .help import Fault, log_in


class MemoryLogs:
    def __init__(self) -> None:
        self.log = MemorySessionLog()

    async def open(self) -> SessionLog:
        self.log = MemorySessionLog(self.log.committed)
        return self.log

    def refuse(self) -> None:
        self.log.fail()


class FileLogs:
    """On a disk in memory, each sync in the committer's thread, or in place, or as a group."""

    def __init__(self, committer: Committer) -> None:
        self.committer = committer

    async def open(self) -> SessionLog:
        return log_in(self.committer.disk, self.committer)

    def refuse(self) -> None:
        assert isinstance(self.committer.disk, FaultyDisk)
        self.committer.disk.fault = Fault("sync", "sync_everything", name="events.jsonl")


class TestMemory(SessionLogConformance):
    @pytest.fixture
    def logs(self) -> Logs:
        return MemoryLogs()


class TestFilesInPlace(SessionLogConformance):
    @pytest.fixture
    def logs(self) -> Iterator[Logs]:
        committer = Committer(FaultyDisk())
        yield FileLogs(committer)
        committer.close()


class TestFilesByThread(SessionLogConformance):
    @pytest.fixture
    def logs(self) -> Iterator[Logs]:
        committer = Committer(FaultyDisk(), in_place=False)
        yield FileLogs(committer)
        committer.close()


class TestFilesInGroups(SessionLogConformance):
    @pytest.fixture
    def logs(self) -> Iterator[Logs]:
        committer = Committer(FaultyDisk(), in_place=False, group_from=1)
        yield FileLogs(committer)
        committer.close()


class _FailingRealDisk(RealDisk):
    fault: Fault | None = None

    def sync(self, handle: int) -> None:
        error = self.fault and self.fault("sync", Path("events.jsonl"))
        if error:
            raise error
        super().sync(handle)


class RealLogs:
    def __init__(self, folder: Path, committer: Committer, disk: _FailingRealDisk) -> None:
        self.folder, self.committer, self.disk = folder, committer, disk

    async def open(self) -> SessionLog:
        return log_in(self.disk, self.committer, self.folder / "s_1")

    def refuse(self) -> None:
        self.disk.fault = Fault("sync")


class TestRealFiles(SessionLogConformance):
    @pytest.fixture
    def logs(self, tmp_path: Path) -> Iterator[Logs]:
        disk = _FailingRealDisk()
        committer = Committer(disk)
        yield RealLogs(tmp_path, committer, disk)
        committer.close()
