"""What the files of a background process say of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .ending import held
from .following import Following, unstarted
from .tree import kill_all

ProcessState = Literal["running", "exited", "stopped", "lost", "unstarted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A background process as it was when looked at. Implements tools.Process."""

    id: str
    session: str
    name: str
    command: str
    notify: str
    """`end`, a pattern in its output, or empty."""
    key: str
    terminal: bool
    """It has a terminal, into which input is typed."""
    started: float
    """Unix time."""
    state: ProcessState
    """`lost`: its supervisor was killed or the machine went down. `unstarted`: `error` says why; with
    no error, nobody has come to start it yet."""
    exit_code: int | None = None
    seconds: float = 0.0
    size: int = 0
    """Bytes of output."""
    dropped: int = 0
    """Bytes of output beyond the limit, which were not kept."""
    left: int = 0
    """Processes it had left behind, which were stopped."""
    error: str = ""
    supervisor: int = 0
    """Process id, while it is running."""
    folder: Path

    @property
    def output(self) -> Path:
        return self.folder / "output"

    def gone(self) -> Process:
        return dataclasses.replace(self, state="lost", error="what was kept of it was removed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """How far a session has read an output: from `begin` to `end` in the call `key`."""

    key: str = ""
    begin: int = 0
    end: int = 0

    @staticmethod
    def load(folder: Path) -> Seen:
        try:
            told = json.loads((folder / "seen").read_bytes())
            return Seen(key=str(told["key"]), begin=int(told["begin"]), end=int(told["end"]))
        except (OSError, ValueError, KeyError, TypeError):
            return Seen()

    def save(self, folder: Path) -> None:
        with contextlib.suppress(OSError):  # then the same is shown once more
            new = folder / "seen.new"
            new.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")
            new.replace(folder / "seen")


def examine(folder: Path, boot: str) -> Process | None:
    """Blocking. None: nothing is claimed there. Raises OSError when it cannot be told."""
    try:
        spec = json.loads((folder / "spec").read_bytes())
        about = spec["about"]
        process = Process(
            id=folder.name,
            session=about["session"],
            name=about["name"],
            command=about["command"],
            notify=about["notify"],
            key=about["key"],
            terminal=spec["input"] == "terminal",
            started=spec["created"],
            state="running",
            folder=folder,
        )
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
    if ended := _ended(process):
        return ended
    if held(folder):
        return dataclasses.replace(
            process,
            supervisor=Following(folder, boot).pids()[0] or 0,
            seconds=max(0.0, time.time() - process.started),
            size=_size(folder),
        )
    if ended := _ended(process):  # between the two looks
        return ended
    if (folder / "began").exists() or (boot and spec["boot"] != boot):
        error = "its supervisor was killed, or the machine went down"
        return dataclasses.replace(process, state="lost", error=error, size=_size(folder))
    return dataclasses.replace(process, state="unstarted")


def settle(folder: Path, boot: str) -> Process | None:
    """`examine`, and if it was lost, end what is left of it and write that down. Blocking."""
    process = examine(folder, boot)
    if process is None or process.state != "lost" or (folder / "exit").exists():
        return process
    kill_all(None, None, Following(folder, boot).marker())
    stopped = (folder / "stopping").exists()
    state: ProcessState = "stopped" if stopped else "lost"
    outcome: dict[str, Any] = {
        "reason": state,
        "code": None,
        "seconds": 0.0,
        "size": process.size,
        "dropped": 0,
        "left": 0,
        "errno": 0,
    }
    with contextlib.suppress(OSError):
        new = folder / f"exit.{os.getpid()}"
        new.write_text(json.dumps(outcome), encoding="utf-8")
        new.rename(folder / "exit")
    return dataclasses.replace(process, state=state, error="" if stopped else process.error)


def _ended(process: Process) -> Process | None:
    try:
        told = json.loads((process.folder / "exit").read_bytes())
        state = told["reason"]
        error = ""
        if state == "unstarted":
            error = unstarted(told)
        elif state == "lost":
            error = "its supervisor was killed, or the machine went down"
        return dataclasses.replace(
            process,
            state=state,
            exit_code=told["code"],
            seconds=told["seconds"],
            size=told["size"],
            dropped=told["dropped"],
            left=told["left"],
            error=error,
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _size(folder: Path) -> int:
    try:
        return (folder / "output").stat().st_size
    except OSError:
        return 0
