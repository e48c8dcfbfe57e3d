"""Background processes: commands that outlive the call that started them, until they end or are stopped.

Each is a supervised command as any other, in `processes/<session>/<id>/`, with three files more:
`input` (a fifo, while it runs), `seen` (JSON: how far its session has read the output, and in which
call), `told` (empty: its session knows of its end, or of what it wanted to be told).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from perdure.kernel.errors import Conflict, InvalidInput, NotFound

from .aside import aside, whole
from .claims import Claims, Contain, launch
from .ending import Ending
from .following import Following
from .launcher import Launcher
from .patterns import Patterns, Scan, check_pattern
from .records import Process, Seen, examine, settle
from .tail import Stream, Tail

FIRST_LOOK = 0.15
"""Seconds that a process gets to fail at once, so that its start tells it."""
BEGINNING = 5.0
"""Seconds until a supervisor must have begun."""
LOOK = 0.25
"""Seconds between looks at the output of a process somebody waits for."""
FAR = 3600.0
SENDING = 2.0
"""Seconds that a process gets to read what is sent to it."""
KEPT_ENDED = 16
"""Ended ones that a session keeps; with more, starting another forgets the oldest."""

_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}\Z")

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    # What is written into a pipe would otherwise arrive in blocks, long after it was written.
    {"PYTHONUNBUFFERED": "1", "PAGER": "cat", "GIT_PAGER": "cat", "TERM": "dumb"}
)


class Background:
    """All sessions' processes. Implements tools.Processes."""

    def __init__(self, claims: Claims, launcher: Launcher, *, limit: int) -> None:
        """`limit`: how many a session may have running at once."""
        self._claims, self._launcher, self._limit = claims, launcher, limit
        self._patterns = Patterns()
        self._starting = threading.Lock()
        self.started: Callable[[Process], None] = _nobody
        """Told of every start, in whatever thread it happens."""

    async def start(
        self,
        session: str,
        command: str,
        *,
        key: str,
        cwd: Path,
        name: str = "",
        notify: str = "",
        terminal: bool = False,
        contain: Contain | None = None,
    ) -> Process:
        """Start one, or return the one that was started under this key. `notify`: `end`, or a pattern
        in its output. `contain`: see Claims. Returns within a moment, also telling what failed at once.
        Raises Conflict when too many are running, InvalidInput, Unavailable, OSError."""
        if notify and notify != "end":
            check_pattern(notify)
        about = {
            "session": session,
            "name": name,
            "command": command,
            "notify": notify,
            "key": key,
        }
        id_ = "p" + hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=4).hexdigest()
        folder = self._home(session) / id_

        def begin() -> int | None:
            with self._starting:
                known = examine(folder, self._claims.boot)
                if known is not None and known.key != key:
                    raise Conflict(f"{id_} was taken by another call; start it again")
                if known is None:
                    self._make_room(session)
                    self._claims.make(
                        folder,
                        command,
                        cwd,
                        timeout=None,
                        env=ENVIRONMENT,
                        input="terminal" if terminal else "pipe",
                        about=about,
                        contain=contain,
                    )
                elif known.state != "unstarted" or (folder / "exit").exists():
                    return None
                return launch(self._launcher, folder)

        supervisor = await whole(aside(begin))
        if supervisor is not None:
            await self._begun(folder, supervisor)
        process = await self._look(folder)
        if process.state == "unstarted" and supervisor is not None and not process.error:
            raise OSError(Following(folder, self._claims.boot).problem())
        self.started(process)
        if process.state == "running":
            process, _ = await self.wait(process, FIRST_LOOK)
        return process

    async def all(self, session: str) -> list[Process]:
        """Oldest first, ended ones included."""
        return await aside(self._all, session)

    async def find(self, session: str, name: str) -> Process:
        """By its id, or by the name it was given (the newest of that name). Raises NotFound."""
        known = await self.all(session)
        if (process := _called(name, known)) is not None:
            return process
        there = ", ".join(p.id for p in known) or "none"
        raise NotFound(f"there is no process {name[:100]!r}; known: {there}")

    def called(self, session: str, name: str) -> Process | None:
        """As `find`. Blocking."""
        return _called(name, self._all(session))

    async def wait(
        self,
        process: Process,
        seconds: float,
        *,
        until: str = "",
        after: int = 0,
        show: Callable[[Stream, str], None] | None = None,
    ) -> tuple[Process, bool]:
        """Wait for its end, or until the output from byte `after` on matches a pattern. What it is
        then, and whether it matched. Cancelling leaves it alone. Raises InvalidInput."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        scan = Scan(self._patterns, until, process.output, after) if until else None
        tail = Tail(process.folder, show, after=after) if show else None
        while True:
            now = await self._look(process.folder, process)
            if tail:
                tail.pump(last=now.state != "running")
            if scan and await scan.found():
                return now, True
            if now.state != "running" or loop.time() >= deadline:
                return now, False
            with Ending(now.supervisor, now.folder) as ending:
                while (rest := deadline - loop.time()) > 0:
                    pause = LOOK if scan or tail or not ending.prompt else FAR
                    if await ending.within(min(rest, pause)):
                        break
                    if tail:
                        tail.pump()
                    if scan and await scan.found():
                        return await self._look(now.folder, now), True

    async def unseen(self, process: Process, *, key: str, advance: bool = True) -> tuple[int, int]:
        """The part of its output that its session has not read: from byte, to byte. `advance`: now
        it has. The same again when the call `key` is repeated after a crash."""

        def look() -> tuple[int, int]:
            seen = Seen.load(process.folder)
            begin = seen.begin if seen.key == key else seen.end
            try:
                end = process.output.stat().st_size
            except OSError:
                end = begin
            begin = min(begin, end)
            if advance:
                Seen(key=key, begin=begin, end=end).save(process.folder)
                if process.state != "running":
                    self.tell(process)
            return begin, end

        return await aside(look)

    async def send(self, process: Process, text: str) -> None:
        """Write to its input. Raises Conflict when it does not take it."""
        data = text.encode("utf-8", "replace")
        until = asyncio.get_running_loop().time() + SENDING
        try:
            fd = os.open(process.folder / "input", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            now = await self._look(process.folder, process)
            why = "its input was closed" if now.state == "running" else "it is not running"
            raise Conflict(f"nothing was sent to {process.id}: {why}") from None
        sent = 0
        try:
            while sent < len(data):
                try:
                    sent += os.write(fd, data[sent : sent + 4096])
                except BlockingIOError:
                    if asyncio.get_running_loop().time() > until:
                        text = f"{process.id} reads no input: {sent:,} of {len(data):,} bytes sent"
                        raise Conflict(text) from None
                    await asyncio.sleep(0.02)
                except BrokenPipeError:
                    raise Conflict(f"{process.id} ended while it was sent to") from None
        finally:
            os.close(fd)

    async def stop(self, process: Process) -> Process:
        """End it with everything below it. What it is then; the same when it had ended."""
        now = await self._look(process.folder, process)
        if now.state == "running":
            with contextlib.suppress(OSError):
                (process.folder / "stopping").touch()
            await whole(Following(process.folder, self._claims.boot).stop())
            now = await self._look(process.folder, process)
        self.tell(now)
        return now

    async def stop_all(self, session: str) -> int:
        """The session is no more: end its processes and forget them. How many were running."""
        return await whole(self._stop_all(session))

    async def _stop_all(self, session: str) -> int:
        running = [p for p in await self.all(session) if p.state == "running"]
        await asyncio.gather(*(self.stop(p) for p in running))
        home = self._home(session)
        await aside(shutil.rmtree, home, ignore_errors=True)
        return len(running)

    # For ProcessWatch ---------------------------------------------------------------------------

    def sessions(self) -> list[str]:
        """Those that have processes. Blocking."""
        try:
            with os.scandir(self._claims.root) as entries:
                names = [e.name for e in entries if e.is_dir() and _SESSION.match(e.name)]
        except OSError:
            return []
        return [name for name in names if not (self._claims.root / name / "spec").exists()]

    def told(self, process: Process) -> bool:
        return (process.folder / "told").exists()

    def tell(self, process: Process) -> None:
        """Its session knows. A mark that a crash of the machine loses is made again: keys are taken once."""
        with contextlib.suppress(OSError):
            fd = os.open(process.folder / "told", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            os.close(fd)

    def close(self) -> None:
        self._patterns.close()

    # Inside -------------------------------------------------------------------------------------

    def _home(self, session: str) -> Path:
        if not _SESSION.match(session):
            raise InvalidInput(f"{session[:100]!r} is no session's id")
        return self._claims.root / session

    async def _look(self, folder: Path, known: Process | None = None) -> Process:
        """What it is now; `lost` if its folder went away."""
        process = await aside(settle, folder, self._claims.boot)
        if process is None:
            if known is None:
                raise NotFound(f"there is no process {folder.name}")
            return known.gone()
        return process

    def _all(self, session: str) -> list[Process]:
        try:
            folders = [f for f in self._home(session).iterdir() if not f.name.startswith(".")]
        except OSError:
            return []
        found = (settle(folder, self._claims.boot) for folder in folders)
        return sorted((p for p in found if p is not None), key=lambda p: (p.started, p.id))

    def _make_room(self, session: str) -> None:
        known = self._all(session)
        if sum(p.state == "running" for p in known) >= self._limit:
            raise Conflict(
                f"{self._limit} processes of this session are running, which is the limit; "
                "stop one first"
            )
        ended = [p for p in known if p.state != "running" and (not p.notify or self.told(p))]
        for process in ended[: max(0, len(ended) - KEPT_ENDED + 1)]:
            shutil.rmtree(process.folder, ignore_errors=True)

    async def _begun(self, folder: Path, supervisor: int) -> None:
        """Wait until its supervisor has taken it, or has given up."""
        loop = asyncio.get_running_loop()
        until = loop.time() + BEGINNING
        with Ending(supervisor, folder) as ending:
            while loop.time() < until and not (folder / "began").exists():
                if await ending.within(0.005) and ending.prompt:
                    return


def _nobody(_: Process) -> None:
    pass


def _called(name: str, known: Sequence[Process]) -> Process | None:
    return next((p for p in reversed(known) if name and name in (p.id, p.name)), None)
