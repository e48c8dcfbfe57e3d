"""Following one command from the runtime: its output as it comes, its end, and ending it early."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from .aside import aside
from .ending import Ending, held
from .tail import Stream, Tail
from .tree import kill_all
from .walls.marking import MARKER

STOPPING = 0.6
"""Seconds a supervisor gets to end everything before we do."""
DYING = 0.2
"""Seconds that a killed supervisor takes at most to let go of its lock."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended. Implements tools.CommandOutcome."""

    state: Literal["exited", "timeout", "stopped", "lost", "unstarted"]
    output: Path
    exit_code: int | None = None
    seconds: float = 0.0
    size: int = 0
    lines: int = 0
    dropped: int = 0
    left: int = 0
    error: str = ""


class Following:
    """One command being followed."""

    def __init__(
        self, folder: Path, boot: str, show: Callable[[Stream, str], None] | None = None
    ) -> None:
        self._folder, self._boot = folder, boot
        self._tail = Tail(folder, show) if show else None
        self.supervisor: int | None = None
        self._launched = False

    def launched(self, supervisor: int | None) -> None:
        """None: one began whose process id is not known."""
        self.supervisor, self._launched = supervisor, True

    def unbegun(self) -> bool:
        """Was it certainly never started, nor is it about to be?"""
        if (self._folder / "exit").exists() or (self._folder / "began").exists():
            return False
        if self._other_boot():
            return False
        return not held(self._folder)

    def _other_boot(self) -> bool:
        """Has the machine gone down since it was claimed? Then files may be missing."""
        return self._boot != "" and self._spec().get("boot", self._boot) != self._boot

    def _spec(self) -> dict[str, Any]:
        try:
            spec: dict[str, Any] = json.loads((self._folder / "spec").read_bytes())
        except (OSError, ValueError):
            return {}
        return spec

    def pids(self) -> tuple[int | None, int | None]:
        """Supervisor and command, as noted in `began`."""
        try:
            numbers = [int(n) for n in (self._folder / "began").read_bytes().split(b"\n") if n]
        except (OSError, ValueError):
            return None, None
        return (numbers[0] if numbers else None), (numbers[1] if len(numbers) > 1 else None)

    def running(self) -> int | None:
        """The supervisor's process id, while it lives. Raises OSError when that cannot be told."""
        # The lock tells whether a noted process id is still that of its supervisor.
        return self.pids()[0] if held(self._folder) else None

    def marker(self) -> str:
        """What all of the command's processes carry in their environment. Empty in a copy of the folder,
        whose original may have them running."""
        spec = self._spec()
        try:
            copied = self._folder.stat().st_ino != spec["inode"]
        except (OSError, KeyError):
            return ""
        return "" if copied else str(spec["env"][MARKER])

    def _leader(self) -> int | None:
        """The command's own process, if its number can have gone to no other since."""
        return self.pids()[1] if self._launched else None

    async def follow(self, overdue: float, launch: Callable[[], int | None]) -> Outcome:
        """Wait for the end, showing output meanwhile."""
        loop = asyncio.get_running_loop()
        until = loop.time() + overdue
        relaunched = False
        while True:
            try:
                watched = self.supervisor or self.running()
            except OSError:
                watched = None
            if watched:
                await self._watch(watched, until)
            if outcome := self.outcome():
                return outcome
            if loop.time() >= until:
                await aside(kill_all, watched, self._leader(), self.marker())
                return self.outcome() or await self._lost("timeout", "its supervisor was stuck")
            self.supervisor = None
            try:
                alive = held(self._folder)
            except OSError:
                await asyncio.sleep(0.1)
                continue
            if alive:
                # It is only now being started, or another supervisor had the claim before ours.
                await asyncio.sleep(0.01)
                continue
            if outcome := self.outcome():
                return outcome
            if (self._folder / "began").exists() or self._other_boot():
                await aside(kill_all, None, self._leader(), self.marker())
                why = "its supervisor was killed, or the machine went down"
                return await self._lost("lost", why)
            if relaunched:
                return await self._lost("unstarted", self.problem())
            relaunched = True
            self.launched(await aside(launch))

    def problem(self) -> str:
        """Why its supervisor could not begin."""
        try:
            number = int((self._folder / "problem").readlink().name)
        except (OSError, ValueError):
            return "its supervisor could not start; is the disk full?"
        return f"its supervisor could not start: {os.strerror(number).lower()}"

    async def _watch(self, pid: int, until: float) -> None:
        """Show output until that process ends or has left an outcome."""
        loop = asyncio.get_running_loop()
        with Ending(pid, self._folder) as ended:
            pause = 0.01
            while loop.time() < until:
                over = await ended.within(pause)
                if self._tail:
                    self._tail.pump()
                if over or (self._folder / "exit").exists():
                    return
                pause = min(pause * 2, 0.08)

    def outcome(self) -> Outcome | None:
        """What the supervisor wrote at the end; None as long as it has not, or if a crash of the
        machine damaged it."""
        try:
            told = json.loads((self._folder / "exit").read_bytes())
            state, error = told["reason"], ""
            if state == "unstarted":
                error = unstarted(told)
            outcome = Outcome(
                state=state,
                output=self._folder / "output",
                exit_code=told["code"],
                seconds=told["seconds"],
                size=told["size"],
                lines=told["lines"],
                dropped=told["dropped"],
                left=told["left"],
                error=error,
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if self._tail:
            self._tail.pump(last=True)
        return outcome

    async def _lost(self, state: Literal["lost", "timeout", "unstarted"], error: str) -> Outcome:
        output = self._folder / "output"
        size, lines = await aside(_measure, output)
        if self._tail:
            self._tail.pump(last=True)
        return Outcome(state=state, output=output, size=size, lines=lines, error=error)

    async def stop(self) -> None:
        """End it with everything below it; returns when nothing is left."""
        try:
            supervisor = self.supervisor or self.running()
        except OSError:
            supervisor = self.pids()[0]
        if supervisor is None:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + STOPPING
        with Ending(supervisor, self._folder) as ended:
            ended.signal(signal.SIGTERM)
            ended.signal(signal.SIGCONT)  # its command may have stopped it
            while loop.time() < until:
                if await ended.within(0.02):
                    return
            await aside(kill_all, supervisor, self._leader(), self.marker())
            await ended.within(DYING)


def unstarted(told: dict[str, Any]) -> str:
    """Why a command was not executed, from what its supervisor wrote."""
    number, about = int(told["errno"]), str(told.get("about", ""))
    said = f"{os.strerror(number).lower()} ({errno.errorcode.get(number, number)})"
    return f"{said}: {about}" if about else said


def _measure(path: Path) -> tuple[int, int]:
    """Bytes and lines."""
    size = lines = 0
    with contextlib.suppress(OSError), path.open("rb") as file:
        while chunk := file.read(1 << 20):
            size += len(chunk)
            lines += chunk.count(b"\n")
    return size, lines
