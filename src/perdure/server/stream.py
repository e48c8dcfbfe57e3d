"""Server-sent events: the records of a session as they happen, to any number of clients.

Durable records carry their sequence number as the event's id, so a client that was cut off continues
where it was, by `Last-Event-ID`, without gap or repeat; live deltas carry none and may be missed.
Source of the format: the WHATWG HTML standard, section 9.2.

Invariant: what is held for one client is bounded. History is read page by page as fast as the client
takes it; live events wait in an `_Outbox` of limited size. A client too slow for that is put back to
reading history, which loses it deltas but no record, and one that takes nothing at all is let go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable

import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from perdure.kernel.errors import PerdureError
from perdure.kernel.events import AnyDelta, Record, SessionId

from .api import RuntimeApi
from .grants import current
from .settings import ServerSettings

PAGE = 200
"""Records of history read at a time."""
CHUNK = 64 * 1024
"""Bytes sent at a time; the server's own write buffer holds about as much again."""
HELLO = b"retry: 1000\n\n"
PING = b": keep-alive\n\n"


class Streams:
    """All open event streams of a server: its owner closes them when it stops."""

    def __init__(self, runtime: RuntimeApi, settings: ServerSettings) -> None:
        self.runtime, self.settings = runtime, settings
        self.frames = Frames()
        self._open: dict[asyncio.Task[None], str] = {}
        """And by which token."""
        self.closing = asyncio.Event()

    @property
    def count(self) -> int:
        return len(self._open)

    def enter(self, stream: asyncio.Task[None], token: str = "") -> None:
        self._open[stream] = token
        stream.add_done_callback(lambda done: self._open.pop(done, None))
        if self.closing.is_set():
            stream.cancel()

    def close(self) -> None:
        """End every stream now, and every later one at once. Clients may reconnect elsewhere."""
        self.closing.set()
        for stream in list(self._open):
            stream.cancel()

    def close_where(self, gone: Callable[[str], bool]) -> None:
        """End the streams of tokens that are known no longer."""
        for stream, token in list(self._open.items()):
            if gone(token):
                stream.cancel()


class Frames:
    """Encodes each record once, however many clients are sent it."""

    KEPT, LARGEST = 128, 32 * 1024
    """Frames, and bytes of a frame, that are worth keeping."""

    def __init__(self) -> None:
        self._done: OrderedDict[int, tuple[Record | AnyDelta, bytes]] = OrderedDict()

    def of(self, item: Record | AnyDelta) -> bytes:
        # Invariant: an entry holds its item, so no other object can have that id meanwhile.
        known = self._done.get(id(item))
        if known is not None:
            return known[1]
        frame = _frame(item)
        if len(frame) > self.LARGEST:
            return frame
        self._done[id(item)] = (item, frame)
        if len(self._done) > self.KEPT:
            self._done.popitem(last=False)
        return frame


def _frame(item: Record | AnyDelta) -> bytes:
    try:
        data = msgspec.json.encode(item)
    except UnicodeEncodeError:
        return (
            b""  # a delta with half a character in it; records are cleaned before they are stored
        )
    if isinstance(item, Record):
        kind = item.event.__struct_config__.tag
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (item.seq, str(kind).encode(), data)
    return b"event: delta\ndata: %b\n\n" % data


class EventStream(StreamingResponse):
    """The response. Starlette's own streaming would cost five tasks and two encodings per client and
    holds what a slow one does not take, so this drives the connection itself."""

    def __init__(
        self, streams: Streams, session: SessionId, after: int, *, follow: bool = True
    ) -> None:
        super().__init__(
            _nothing(),
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            media_type="text/event-stream",
        )
        self._streams, self._session, self._follows = streams, session, follow
        self._send: Send
        self._last = after
        """Sequence number of the last record handed to the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._send = send
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        stream = asyncio.ensure_future(self._stream())
        self._streams.enter(stream, current().id)
        gone = asyncio.ensure_future(left(receive))
        try:
            await asyncio.wait((stream, gone), return_when=asyncio.FIRST_COMPLETED)
            went = gone.done()
        finally:
            stream.cancel()
            gone.cancel()
            results = await asyncio.gather(stream, gone, return_exceptions=True)
        failure = results[0]
        if went or isinstance(failure, _Stalled):
            return
        if isinstance(failure, Exception) and not isinstance(failure, PerdureError):
            raise failure
        # An error of the session's is for the next request to tell properly; here is no status left.
        why = f": {failure.code}\n\n".encode() if isinstance(failure, PerdureError) else b""
        with contextlib.suppress(_Stalled):
            await self._put(why, more=False, seconds=1.0)

    async def _stream(self) -> None:
        await self._put(HELLO)
        torn = False
        while True:
            await self._history()
            if not self._follows:
                return
            runtime = self._streams.runtime
            async with runtime.subscribe(self._session, self._last) as items:
                outbox = _Outbox(self._streams.settings.stream_buffer, torn=torn)
                pump = asyncio.ensure_future(self._pump(items, outbox))
                try:
                    await self._live(outbox)
                finally:
                    pump.cancel()
                    await asyncio.wait((pump,))
                    error = None if pump.cancelled() else pump.exception()
                if error is not None:
                    raise error
            if not outbox.overflowed:
                return  # the subscription ended
            torn = True

    async def _history(self) -> None:
        """Send what is in the log, at the client's pace."""
        while True:
            page = await self._streams.runtime.records(self._session, self._last, PAGE)
            chunk: list[bytes] = []
            size = 0
            for record in page:
                frame = _frame(record)
                chunk.append(frame)
                size += len(frame)
                if size >= CHUNK:
                    await self._put(b"".join(chunk))
                    chunk, size = [], 0
                    self._last = record.seq
            if chunk:
                await self._put(b"".join(chunk))
                self._last = page[-1].seq
            if len(page) < PAGE:
                return
            await asyncio.sleep(0)  # neither reading nor sending need have waited for anything

    async def _pump(self, items: AsyncIterator[Record | AnyDelta], outbox: _Outbox) -> None:
        frames = self._streams.frames
        try:
            async for item in items:
                seq = item.seq if isinstance(item, Record) else 0
                shared = self._streams.count > 1
                if not outbox.put(frames.of(item) if shared else _frame(item), seq):
                    return
        finally:
            outbox.end()

    async def _live(self, outbox: _Outbox) -> None:
        """Send what comes, until the outbox has ended (and is empty) or overflowed."""
        keep_alive = self._streams.settings.keep_alive
        while True:
            try:
                async with asyncio.timeout(keep_alive):
                    await outbox.wait()
            except TimeoutError:
                await self._put(PING)
                continue
            if outbox.overflowed:
                return
            chunk, last = outbox.take(CHUNK)
            if chunk:
                await self._put(chunk)
                self._last = max(self._last, last)
            elif outbox.ended:
                return

    async def _put(self, data: bytes, *, more: bool = True, seconds: float | None = None) -> None:
        try:
            async with asyncio.timeout(seconds or self._streams.settings.stall):
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError:
            raise _Stalled from None


class _Stalled(Exception):
    """The client takes nothing."""


class _Outbox:
    """Frames that wait for a client, up to a number of bytes; a single larger one passes."""

    def __init__(self, limit: int, *, torn: bool) -> None:
        self._limit = limit
        self._frames: deque[tuple[bytes, int]] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._torn = torn
        """Deltas were lost: those of the same answer would make no sense until the next record."""
        self.ended = self.overflowed = False

    def put(self, frame: bytes, seq: int) -> bool:
        """False: it overflowed. `seq` is 0 for a delta."""
        if seq:
            self._torn = False
        elif self._torn or not frame:
            return True
        if self._frames and self._size + len(frame) > self._limit:
            self.overflowed = True
            self._frames.clear()
            self._news.set()
            return False
        self._frames.append((frame, seq))
        self._size += len(frame)
        self._news.set()
        return True

    def end(self) -> None:
        self.ended = True
        self._news.set()

    async def wait(self) -> None:
        await self._news.wait()

    def take(self, size: int) -> tuple[bytes, int]:
        """About `size` bytes of whole frames, and the last sequence number among them or 0."""
        taken: list[bytes] = []
        total = last = 0
        while self._frames and (not taken or total + len(self._frames[0][0]) <= size):
            frame, seq = self._frames.popleft()
            taken.append(frame)
            total += len(frame)
            last = seq or last
        self._size -= total
        if not self._frames and not self.ended:
            self._news.clear()
        return b"".join(taken), last


async def left(receive: Receive) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
