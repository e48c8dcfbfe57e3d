"""One session's records and deltas, to any number of watchers, each at its own pace."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

from perdure.kernel.events import (
    AnyDelta,
    CallId,
    ModelFailed,
    ModelInterrupted,
    ModelResponded,
    OutputDelta,
    Record,
    RequestId,
    TextDelta,
    ThinkingDelta,
    ToolFinished,
)

DELTAS_KEPT = 2_000
"""A watcher that is further behind gets no more deltas until it has caught up; records it always gets."""
RECORDS_KEPT = 20_000
"""A watcher that is further behind is let go: it comes back with the last number it saw."""
OUTPUT_KEPT = 64_000
"""Characters of a running tool's output that a late watcher is shown."""

History = Callable[[int, int], Iterator[Record]]
"""Reads records with first < seq <= second."""


class Broadcast:
    def __init__(self, published: int) -> None:
        self.published = published
        """Sequence number of the last record shown."""
        self._watchers: set[_Watcher] = set()
        self._now = _Now()
        self._closed = False

    @property
    def watched(self) -> bool:
        return bool(self._watchers)

    def record(self, record: Record) -> None:
        self.published = record.seq
        self._now.settle(record)
        for watcher in self._watchers:
            watcher.put(record)

    def delta(self, delta: AnyDelta) -> None:
        self._now.add(delta)
        for watcher in self._watchers:
            watcher.put(delta)

    def close(self) -> None:
        self._closed = True
        for watcher in self._watchers:
            watcher.end()

    async def watch(self, after: int, history: History) -> AsyncIterator[Record | AnyDelta]:
        """Records after `after`, then live. Ends when the session closes or the watcher lags too far."""
        watcher = _Watcher()
        if self._closed:
            return
        # Invariant: what is published up to here comes from the log, everything later from the queue.
        through = self.published
        self._watchers.add(watcher)
        for delta in self._now.deltas():
            watcher.put(delta)
        try:
            for n, record in enumerate(history(after, through)):
                yield record
                if n % 256 == 255:
                    await asyncio.sleep(0)
            while (item := await watcher.get()) is not None:
                if not isinstance(item, Record) or item.seq > after:
                    yield item
        finally:
            self._watchers.discard(watcher)


class _Watcher:
    __slots__ = ("_arrived", "_ended", "_queue", "_records")

    def __init__(self) -> None:
        self._queue: deque[Record | AnyDelta] = deque()
        self._records = 0
        self._arrived = asyncio.Event()
        self._ended = False

    def put(self, item: Record | AnyDelta) -> None:
        if self._ended:
            return
        if isinstance(item, Record):
            self._records += 1
            if self._records > RECORDS_KEPT:
                self.end()
                return
        elif len(self._queue) >= DELTAS_KEPT:
            return
        self._queue.append(item)
        self._arrived.set()

    def end(self) -> None:
        self._ended = True
        self._arrived.set()

    async def get(self) -> Record | AnyDelta | None:
        while not self._queue:
            if self._ended:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        item = self._queue.popleft()
        if isinstance(item, Record):
            self._records -= 1
        return item


class _Now:
    """What is streaming at this moment, so that who comes in the middle sees it from its beginning."""

    def __init__(self) -> None:
        self._request = RequestId("")
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._output: dict[CallId, deque[OutputDelta]] = {}
        self._sizes: dict[CallId, int] = {}

    def add(self, delta: AnyDelta) -> None:
        if isinstance(delta, OutputDelta):
            kept = self._output.setdefault(delta.call, deque())
            kept.append(delta)
            size = self._sizes.get(delta.call, 0) + len(delta.text)
            while size > OUTPUT_KEPT and len(kept) > 1:
                size -= len(kept.popleft().text)
            self._sizes[delta.call] = size
            return
        if delta.request != self._request:
            self._request = delta.request
            self._text, self._thinking = [], []
        if isinstance(delta, TextDelta):
            self._text.append(delta.text)
        elif isinstance(delta, ThinkingDelta):
            self._thinking.append(delta.text)

    def settle(self, record: Record) -> None:
        """A record took the place of its deltas."""
        event = record.event
        if isinstance(event, ToolFinished):
            self._output.pop(event.call, None)
            self._sizes.pop(event.call, None)
        elif (
            isinstance(event, ModelResponded | ModelFailed | ModelInterrupted)
            and event.request == self._request
        ):
            self._text, self._thinking = [], []

    def deltas(self) -> Iterator[AnyDelta]:
        if self._thinking:
            yield ThinkingDelta(request=self._request, text="".join(self._thinking))
        if self._text:
            yield TextDelta(request=self._request, text="".join(self._text))
        for kept in self._output.values():
            yield from kept
