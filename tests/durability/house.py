"""A whole runtime on a disk in memory, that can be killed, lose its power, fail and be full."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Awaitable, Coroutine, Iterator
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from perdure.agents import Agents, open_workspace, scaffold
from perdure.kernel.errors import PerdureError
from perdure.kernel.events import Record, SessionId
from perdure.kernel.state import State, evolve
from perdure.runtime import Runtime
from perdure.runtime.labelling import file_labels
from perdure.runtime.live import Live
from perdure.runtime.services import Services
from perdure.runtime.team import Team
from perdure.storage import FaultyDisk, SessionStore

from .outside import Outside, OutsideCommands, Provider
from .still import Counted, StillClock, StillCommitter, still_loop

T = TypeVar("T")

POLICY = "mode: ask\nallow:\n" + "".join(
    f"- {{tool: {name}}}\n" for name in ("look", "flood", "pay", "post", "slow", "bash")
)
AGENT = "  context: {window: 8000, keep_tokens: 500, keep_results: 1, max_result_tokens: 2000}\n"


def furnish(root: Path) -> None:
    """The files a person writes; on the real disk, and the same for all lives."""
    scaffold(root)
    private = root / ".perdure"
    (private / "policy.yaml").write_text(POLICY)
    agent = private / "agents" / "default" / "agent.yaml"
    text = agent.read_text()
    assert "spec:" in text
    agent.write_text(text.replace("spec:\n", f"spec:\n{AGENT}", 1))


class Least(Random):
    """What a power loss may leave in the worst case: nothing that was not synced."""

    def choice(self, seq: Any) -> Any:
        return seq[0]

    def randint(self, a: int, b: int) -> int:
        return a


class NoIndex:
    """The listing is derived, and no part of this."""

    incomplete = False

    def upsert(self, row: object) -> None: ...

    def delete(self, session: object) -> None: ...

    def close(self) -> None: ...


class NoWatch:
    """There are no processes in the background."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class StillTeam(Team):
    def watch(self, notify: object, exists: object) -> Any:
        return NoWatch()


class House:
    """One workspace through many lives of its process. Drive it with `spin`, `do` and `settle`."""

    def __init__(self, furnished: Path, *, group_from: int = 8) -> None:
        self._group_from = group_from
        self._place = tempfile.TemporaryDirectory(prefix="perdure-house-")
        self.root = root = Path(self._place.name) / "w"
        shutil.copytree(furnished, root)
        self.loop = still_loop()
        self.disk = FaultyDisk()
        self.outside = Outside(lambda key: self.is_stored(b'"key":"%b"' % key))
        self.ids, self.clock = Counted(), StillClock()
        self.loop.time = lambda: self.clock.time  # type: ignore[method-assign]
        self.watched: dict[SessionId, dict[int, Record]] = {}
        """What watchers were shown."""
        self._watchers: dict[SessionId, asyncio.Task[None]] = {}
        private = root / ".perdure"
        for path in (*reversed(private.parents), private):
            if not self.disk.exists(path):
                self.disk.mkdir(path)
                self.disk.sync_path(path.parent)
        self.lives = 0
        self._begin()

    def _begin(self) -> None:
        self.lives += 1
        workspace = open_workspace(self.root)
        committer = StillCommitter(self.disk, group_from=self._group_from)
        self.clock = StillClock(self.clock.time)
        self.commands = OutsideCommands(self.outside)
        agents = Agents(workspace)
        services = Services(
            clock=self.clock,
            ids=self.ids,
            committer=committer,
            store=SessionStore(workspace.private, committer, self.clock),
            index=NoIndex(),  # type: ignore[arg-type]
            models=Provider(self.outside),
            commands=self.commands,
            boot=str(self.outside.boot),
        )
        self.store = services.store

        async def begin() -> None:
            labels = file_labels(workspace.private, services.boot)
            team = StillTeam(agents, services, self.commands, labels, tools=self.outside.tools)  # type: ignore[arg-type]
            self.runtime = Runtime(workspace, agents, team, services)
            await self.runtime.start()

        self.do(begin())

    # Time ---------------------------------------------------------------------------------------

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def spin(self, passes: int | None = None) -> None:
        """Let the process run: so many passes of its loop, or (None) until nothing more happens."""

        async def turn() -> None:
            for _ in range(passes or 100_000):
                await asyncio.sleep(0)
                if passes is None and not self.loop._ready:  # type: ignore[attr-defined]
                    return
            assert passes is not None, "it does not come to rest"

        self.do(turn())

    def pass_time(self, seconds: float) -> None:
        until = self.clock.time + seconds
        self.spin()
        while self.clock.advance(until - self.clock.time):
            self.spin()

    async def give_up_on(self, work: Awaitable[T]) -> T | PerdureError:
        try:
            return await work
        except PerdureError as error:
            return error

    def attempt(self, work: Coroutine[Any, Any, T]) -> T | PerdureError | None:
        """A request by a client. None: no answer came, because the process waits for something."""
        task = self.loop.create_task(self.give_up_on(work))
        for _ in range(50):
            self.spin(1)
            if task.done():
                return task.result()
        task.cancel()
        self.spin(2)
        return None

    # Ends and beginnings --------------------------------------------------------------------------

    def kill(self) -> None:
        """kill -9, and a new process."""
        after = self.disk.taken_over()
        self._bury()
        self.disk = after
        self._begin()

    def lose_power(self, random: Random) -> None:
        if not self.disk.dead:
            self.disk.power_lost_at = 0
        self._bury()
        self.disk = self.disk.restart(random)
        self.outside.machine_went_down()
        self._begin()

    def restart(self) -> None:
        """In an orderly way."""
        self._unwatch()
        self.do(self.runtime.close())
        self.disk.taken_over()
        self.disk = self.disk.taken_over()
        self._begin()

    def _bury(self) -> None:
        """Nothing of the old process may act any more: its disk is dead already."""
        self.commands.release()
        self._unwatch()
        self.do(self.runtime.close())

    def close(self) -> None:
        self.disk.power_lost_at = 0
        self._bury()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        self._place.cleanup()

    # Faults ---------------------------------------------------------------------------------------

    def fail(self, operations: frozenset[str], count: int, code: int) -> None:
        """The next `count` of these operations fail."""
        left = [count]

        def fault(operation: str, path: Path) -> OSError | None:
            if operation not in operations or left[0] <= 0:
                return None
            left[0] -= 1
            return OSError(code, os.strerror(code), str(path))

        self.disk.fault = fault

    def fill(self, room: int) -> None:
        self.disk.capacity = self.disk._used() + room

    def heal(self) -> None:
        self.disk.fault = self.disk.capacity = None

    @property
    def open(self) -> list[Live]:
        """Sessions that are open now."""
        return list(self.runtime._rooms)

    def live(self, session: SessionId) -> Live:
        live = self.runtime._rooms.get(session)
        assert live is not None
        return live

    # Looking --------------------------------------------------------------------------------------

    def is_stored(self, what: bytes) -> bool:
        """Would a power loss at this very moment leave it in some session's log?"""
        after = self.disk.restart(Least())
        return any(what in log for log in self._logs(after))

    def _logs(self, disk: FaultyDisk) -> Iterator[bytes]:
        folder = self.root / ".perdure" / "sessions"
        with contextlib.suppress(FileNotFoundError):
            for name in disk.names(folder):
                with contextlib.suppress(OSError):
                    handle = disk.open(folder / name / "events.jsonl")
                    yield disk.read(handle, 0, disk.size(handle))
                    disk.close(handle)

    def records(self, session: SessionId) -> list[Record]:
        """Of its log as it is on disk now; looking is no operation of the process."""
        peek = FaultyDisk()
        peek._root = self.disk._root
        committer = StillCommitter(peek, group_from=8)
        store = SessionStore(self.root / ".perdure", committer, self.clock)
        return list(store.open_readonly(session).read())

    def watch(self, session: SessionId) -> None:
        """As a client does that comes back with the last number it saw."""
        if session in self._watchers and not self._watchers[session].done():
            return
        shown = self.watched.setdefault(session, {})

        async def look() -> None:
            with contextlib.suppress(PerdureError):
                async with self.runtime.subscribe(session, max(shown, default=0)) as stream:
                    async for item in stream:
                        if isinstance(item, Record):
                            assert item.seq == max(shown, default=item.seq - 1) + 1
                            stored = b'"seq":%d,' % item.seq
                            assert self.is_stored(stored), f"{item} was shown before it was stored"
                            shown[item.seq] = item

        self._watchers[session] = self.loop.create_task(look())

    def _unwatch(self) -> None:
        for task in self._watchers.values():
            task.cancel()
        ended = self.do(_gathered(list(self._watchers.values())))
        self._watchers.clear()
        for error in ended:
            if isinstance(error, AssertionError):
                raise error

    async def snapshot(self, session: SessionId) -> None:
        """As after many records."""
        live = self.runtime._rooms.get(session)
        if live is not None and not live.error:
            live._save(1)

    def fold(self, session: SessionId) -> State:
        state = State()
        for record in self.records(session):
            evolve(state, record)
        return state


async def _gathered(tasks: list[asyncio.Task[None]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


FAULTS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EMFILE": errno.EMFILE, "EROFS": errno.EROFS}
