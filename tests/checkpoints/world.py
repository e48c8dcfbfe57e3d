"""A working folder, a store of checkpoints beside it, and a way to say what is in a folder."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from perdure.checkpoints import Checkpoint, Checkpoints, Limits
from perdure.kernel.events import SessionId, TurnId

S = SessionId("s_1")


class Clock:
    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds


class Ids:
    def __init__(self, first: int = 0) -> None:
        self._last = first

    def new(self, kind: str) -> str:
        self._last += 1
        return f"{kind}_{self._last:08d}"

    def jitter(self) -> float:
        return 0.0


class World:
    def __init__(self, folder: Path, **limits: Any) -> None:
        self.work = folder / "work"
        self.work.mkdir(exist_ok=True)
        self.root = folder / "private" / "checkpoints"
        self.clock, self.ids = Clock(), Ids()
        limits.setdefault("spare_bytes", 0)
        self.store = Checkpoints(self.root, self.clock, self.ids, lambda: Limits(**limits))
        self._turns = 0

    def take(self, session: SessionId = S, seq: int | None = None, **more: Any) -> Checkpoint:
        """For a new turn."""
        self._turns += 1
        turn = TurnId(f"t_{self._turns}")
        return self.store.take(session, self.work, turn=turn, seq=seq or self._turns, **more)

    def skip(self) -> None:
        """Another process may have used some ids and turns."""
        self.ids.new("c")
        self._turns += 10
        self.ids._last += 10

    def objects(self) -> set[str]:
        return {p.parent.name + p.name for p in (self.root / "objects").glob("??/*") if p.is_file()}

    def write(self, path: str, text: str | bytes = "", mode: int | None = None) -> Path:
        file = self.work / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        if mode is not None:
            file.chmod(mode)
        return file


def content(folder: Path) -> dict[str, tuple[Any, ...]]:
    """All that a checkpoint promises to bring back."""
    found: dict[str, tuple[Any, ...]] = {}
    for at, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(at) / name
            key = os.fsdecode(os.fsencode(path.relative_to(folder)))
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                found[key] = ("link", os.fspath(path.readlink()))
            elif stat.S_ISDIR(mode):
                found[key] = ("folder", stat.S_IMODE(mode))
            elif stat.S_ISREG(mode):
                found[key] = ("file", stat.S_IMODE(mode), path.read_bytes())
            else:
                found[key] = ("special",)
    return found


def actions(changes: Any) -> set[tuple[str, str]]:
    return {(change.action, change.path) for change in changes.changes}


def kept(changes: Any) -> set[tuple[str, str]]:
    return {(left.why, left.path) for left in changes.kept}
