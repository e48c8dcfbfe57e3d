"""The open sessions of a workspace: opened when asked for, resumed at the start, let go when idle."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from perdure.kernel.errors import NotFound, PerdureError, StorageError
from perdure.kernel.events import SessionId

from .listing import Listing
from .live import Live
from .resuming import DEATHS, Resuming
from .services import Services
from .team import Team

IDLE_SECONDS = 300.0
"""A session that nobody used for so long is closed; the next use opens it again."""
RESUMING_AT_ONCE = 8
"""Unfinished sessions that are opened together at the start."""
STEADY_SECONDS = 5.0
"""A session that was resumed and has not brought the process down for so long is innocent."""
FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0
"""Seconds between attempts to open again a session that the disk refused, or another process holds."""


class Rooms:
    """Invariant: opening and closing one session happen under its lock, so that nobody meets it half
    open, and its log's lock file is free before it is opened again."""

    def __init__(
        self, team: Team, services: Services, listing: Listing, resuming: Resuming
    ) -> None:
        self._team, self._services = team, services
        self._listing, self._resuming = listing, resuming
        self._live: dict[SessionId, Live] = {}
        self._locks: dict[SessionId, asyncio.Lock] = {}
        self._retries: dict[SessionId, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.held: set[SessionId] = set()
        """Those that wait for their owner: the process died at them, or they come from a backup."""
        self._closing = False

    def __iter__(self) -> Iterator[Live]:
        """Those that are open."""
        return iter(list(self._live.values()))

    def get(self, session: SessionId) -> Live | None:
        """If it is open."""
        return self._live.get(session)

    async def start(self) -> None:
        """Resume what was unfinished, and from then on let go of what nobody uses."""
        unfinished = sorted(self._services.store.unfinished.ids(), reverse=True)
        deaths = {id_: self._resuming.deaths(id_) for id_ in unfinished}
        self.held = {id_ for id_ in unfinished if deaths[id_] >= DEATHS}
        self._tasks.append(asyncio.create_task(self._resume_all(deaths), name="resume"))
        self._tasks.append(asyncio.create_task(self._sweep(), name="sweep"))

    async def close(self) -> None:
        """Running turns go on at the next start."""
        self._closing = True
        tasks = [*self._tasks, *self._retries.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(live.close() for live in self._live.values()))
        self._live.clear()
        self._services.store.unfinished.sweep()

    # One session --------------------------------------------------------------------------------

    async def open(self, session: SessionId) -> Live:
        """Raises NotFound, Locked, StorageError."""
        if self._closing:
            raise StorageError("the runtime is shutting down")
        live = self._live.get(session)
        if live is not None and not live.error:
            live.touch()
            return live
        async with self._alone(session):
            live = self._live.get(session)
            if live is not None and live.error:
                await self._leave(live)
                live = None
            if live is None:
                live = await self._load(session)
            return live

    def enter(self, live: Live) -> None:
        """A session that was made just now."""
        self._live[live.id] = live
        self._listing.note(live.view())

    @asynccontextmanager
    async def emptied(self, session: SessionId) -> AsyncIterator[None]:
        """Inside, it is closed and stays so."""
        async with self._alone(session):
            live = self._live.get(session)
            if live is not None:
                if live.state.turn is not None and not live.error:
                    with contextlib.suppress(PerdureError):
                        await live.stop(by="owner", reason="the session is deleted")
                        await live.at_rest(5.0)
                await self._leave(live)
            yield

    def why(self, session: SessionId) -> str:
        """What its owner is told of a held session."""
        return self._resuming.why(session)

    async def release(self, session: SessionId) -> None:
        """The owner wants a held one to go on."""
        if session in self.held:
            self.held.discard(session)
            await asyncio.to_thread(self._resuming.over, session)

    def rested(self, live: Live) -> None:
        """It came to rest, or broke."""
        self._listing.note(live.view())
        if live.error and not self._closing:
            self._retry(live.id)

    # Inside -------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _alone(self, session: SessionId) -> AsyncIterator[None]:
        lock = self._locks.setdefault(session, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and self._locks.get(session) is lock:
                del self._locks[session]

    async def _load(self, session: SessionId) -> Live:
        opened = await self._services.store.open(session)
        try:
            live = await self._team.open(opened, self.rested)
        except BaseException:
            await opened.log.close()
            raise
        self._live[session] = live
        live.resume(self.why(session) if session in self.held else "")
        self._listing.note(live.view())
        return live

    async def _leave(self, live: Live) -> None:
        self._live.pop(live.id, None)
        await live.close()

    def _retry(self, session: SessionId) -> None:
        """D9: what the disk refused is tried again, by itself, until it goes."""
        if session not in self._retries:
            task = asyncio.create_task(self._try_again(session), name=f"reopen {session}")
            self._retries[session] = task
            task.add_done_callback(lambda _: self._retries.pop(session, None))

    async def _try_again(self, session: SessionId) -> None:
        delay = FIRST_RETRY
        while True:
            await self._services.clock.sleep(delay)
            try:
                await self.open(session)
            except NotFound:
                return
            except PerdureError:
                delay = min(LONGEST_RETRY, delay * 2)
            else:
                return

    async def _resume_all(self, deaths: dict[SessionId, int]) -> None:
        """D4, newest conversation first; those at which the process died before come last, alone."""
        gate = asyncio.Semaphore(RESUMING_AT_ONCE)

        async def resume(session: SessionId) -> None:
            async with gate:
                await self._resume(session)

        await asyncio.gather(*(resume(id_) for id_, died in deaths.items() if not died))
        for id_, died in deaths.items():
            if died and id_ not in self.held:
                await self._resume(id_)

    async def _resume(self, session: SessionId) -> None:
        """Returns once it is going, or it is clear that it will not now."""
        going = asyncio.Event()
        try:
            await asyncio.to_thread(self._resuming.begin, session)
            live = await self.open(session)
        except NotFound:
            self._services.store.unfinished.clear(session)
        except Exception:  # this session cannot be opened; the others can (D12)
            self._retry(session)
        else:
            if not live.running:
                self._services.store.unfinished.clear(session)
            elif live.progressed is None:
                live.progressed = going.set
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STEADY_SECONDS):
                        await going.wait()
        await asyncio.to_thread(self._resuming.over, session)

    async def _sweep(self) -> None:
        clock = self._services.clock
        while True:
            await clock.sleep(IDLE_SECONDS / 5)
            for live in self:
                if self._unused(live):
                    async with self._alone(live.id):
                        if self._unused(live) and self._live.get(live.id) is live:
                            await self._leave(live)

    def _unused(self, live: Live) -> bool:
        long = self._services.clock.monotonic() - live.used > IDLE_SECONDS
        return long and live.idle and not live.error
