"""A process in which nothing happens by itself: one thread, no waiting, time only when it is told to
pass. So a test that kills at the nth disk operation meets the same operation each time."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from perdure.storage import Committer, Disk
from perdure.storage.committer import Job

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


class InPlace(ThreadPoolExecutor):
    """What is given to a thread is done at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class StillCommitter(Committer):
    """Performs its batches on the event loop: all that one pass of the loop asked for together."""

    def __init__(self, disk: Disk, *, group_from: int) -> None:
        super().__init__(disk, group_from=group_from, in_place=False)
        self._waiting: list[Job] = []

    def submit(self, job: Job) -> None:
        if self._closed:
            raise RuntimeError("the committer is closed")
        if not self._waiting:
            job.loop.call_soon(self._go)
        self._waiting.append(job)

    def _go(self) -> None:
        batch, self._waiting = self._waiting, []
        if batch:
            self._perform(batch)
            for job in batch:
                job.done(job)

    def close(self) -> None:
        self._go()
        self._closed = True


class StillClock:
    """Sleepers wake only when `advance` passes their time."""

    def __init__(self, time: float = 0.0) -> None:
        self.time = time
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.time)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + seconds, next(self._numbers), future))
        await future

    def advance(self, seconds: float) -> bool:
        """One wake-up nearer to `seconds` from now. False: there was none in that time."""
        until = self.time + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            self.time, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
                return True
        self.time = until
        return False


def still_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_default_executor(InPlace())
    return loop


class Counted:
    """Ids in one row, whoever asks: `s_000001`. Survives restarts, as random ones would."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def new(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers):06d}"

    def jitter(self) -> float:
        return 0.5
