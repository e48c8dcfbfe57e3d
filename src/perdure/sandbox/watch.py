"""Tells sessions of their background processes: of the end, or that the output holds what was waited for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

from perdure.kernel.errors import InvalidInput, NotFound, PerdureError

from .aside import aside
from .background import Background
from .records import Process

FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0
"""Seconds between attempts to tell a session that could not take it."""
HEAD_START = 0.5
"""Seconds for a call that waits for the same: then its result tells it, and nothing else need to."""
LAST_LINES = 12
LAST_CHARS = 1_500
"""Of the output, in what is told."""
FOREVER = 1e9

Notify = Callable[[str, str, str], Awaitable[object]]

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class ProcessWatch:
    """Follows every running process of the workspace, each by a descriptor that wakes at its end; only
    an output in which a pattern is looked for is looked at again and again, while it runs.

    Tells once per process, also across restarts: what was told is marked on disk after `notify` has
    returned, and a crash between the two repeats it under the same key.
    """

    def __init__(
        self,
        background: Background,
        notify: Notify,
        *,
        exists: Callable[[str], bool] = lambda _: True,
        ended: Callable[[Process], Awaitable[None]] | None = None,
    ) -> None:
        """`notify(session, text, key)`: put it into the session's inbox; it returns once it is durable
        there, and takes a key only once. Raises NotFound when there is no such session any more,
        another PerdureError when it is to be tried again. `exists`: is there such a session? What runs
        for one that is gone is ended at the start. `ended(process)`: may be told twice; never raises."""
        self._background, self._notify, self._exists = background, notify, exists
        self._ended = ended
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._adopting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, with what an earlier process has left running. Returns at once."""
        self._loop = asyncio.get_running_loop()
        self._background.started = self._started
        self._adopting = asyncio.create_task(self._adopt(), name="processes")

    async def close(self) -> None:
        """What runs goes on, and is watched again at the next start."""
        if self._loop is None:
            return
        self._loop = None
        tasks = [*self._tasks.values(), *([self._adopting] if self._adopting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def _adopt(self) -> None:
        for session in await aside(self._background.sessions):
            if not self._exists(session):
                await self._background.stop_all(session)
                continue
            for process in await self._background.all(session):
                if self._ended is not None and process.state != "running":
                    await self._ended(process)
                self._add(process)

    def _started(self, process: Process) -> None:
        loop = self._loop
        if loop is not None:  # it may have been started in a tool's own thread
            loop.call_soon_threadsafe(self._add, process)

    def _add(self, process: Process) -> None:
        place = (process.session, process.id)
        if self._loop is None or place in self._tasks:
            return
        due = process.notify and not self._background.told(process)
        # One that nobody has come to start is added when somebody does.
        if process.state == "running" or (due and (process.state != "unstarted" or process.error)):
            task = asyncio.create_task(self._follow(process), name=f"process {process.id}")
            self._tasks[place] = task
            task.add_done_callback(lambda _: self._tasks.pop(place, None))

    async def _follow(self, process: Process) -> None:
        while True:
            try:
                return await self._to_the_end(process)
            except OSError:  # no descriptor left
                await asyncio.sleep(FIRST_RETRY)

    async def _to_the_end(self, process: Process) -> None:
        background, pattern = self._background, process.notify
        if pattern not in ("", "end") and not background.told(process):
            try:
                process, found = await background.wait(process, FOREVER, until=pattern)
            except InvalidInput as problem:
                await self._tell(process, f"is not looked at any more: {problem.message}")
            else:
                if found:
                    await self._tell(process, f"printed what matches {pattern[:200]!r}")
        # To the end, also of one that was told of: what is left of a lost one must be ended.
        process, _ = await background.wait(process, FOREVER)
        if self._ended is not None:
            await self._ended(process)
        if process.notify:
            await self._tell(process, _ending(process))

    async def _tell(self, process: Process, what: str) -> None:
        """Unless it was told; until it could be told."""
        await asyncio.sleep(HEAD_START)
        delay = FIRST_RETRY
        while process.folder.exists() and not self._background.told(process):
            text = await aside(_message, process, what)
            try:
                await self._notify(process.session, text, f"process:{process.id}")
            except NotFound:
                await self._background.stop_all(process.session)
            except PerdureError:
                await asyncio.sleep(delay)
                delay = min(LONGEST_RETRY, delay * 2)
            else:
                self._background.tell(process)


def _ending(process: Process) -> str:
    took = f"after {process.seconds:.3g} s"
    match process.state:
        case "exited":
            return f"ended {took} with exit code {process.exit_code}"
        case "stopped":
            return f"was stopped {took}"
        case _:
            return f"is gone: {process.error}"


def _message(process: Process, what: str) -> str:
    """Blocking. For the model: what happened, and how its output ends."""
    name = f" ({process.name})" if process.name else ""
    command = process.command if len(process.command) <= 200 else process.command[:199] + "…"
    text = f"Process {process.id}{name} {what}.\nCommand: {command}"
    last = _last(process)
    return _storable(f"{text}\nIts output ends:\n{last}" if last else f"{text}\nNo output.")


def _last(process: Process) -> str:
    try:
        with process.output.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 4 * LAST_CHARS))
            data = file.read(4 * LAST_CHARS)
    except OSError:
        return ""
    text = _ESCAPES.sub("", data.decode("utf-8", "replace"))
    text = _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "\n".join(text.rstrip("\n").split("\n")[-LAST_LINES:])[-LAST_CHARS:]


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
