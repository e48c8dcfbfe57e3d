"""The terminal's line to the workspace's server: started when none runs, found again when lost.

A server that crashed is started again. One that was stopped on purpose stays stopped until somebody
wants something of it (`call`), and is waited for meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TypeVar

from perdure.cli import server_process
from perdure.cli.client import Client, Connected, Disconnected
from perdure.cli.place import Place
from perdure.cli.server_process import ServerFile
from perdure.kernel.events import AnyDelta, Record

T = TypeVar("T")
POLL_SECONDS = 0.25


class Lost:
    """The connection is gone; the turn goes on in the server, or when it is back."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why


class Stopped(Lost):
    """The server is away because somebody wanted it so; the turn goes on when it is started again."""

    __slots__ = ()


class Link:
    """Use as an async context manager."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._server: ServerFile | None = None
        self._client: Client | None = None
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> Link:
        await self._open(await server_process.ensure(self.place))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    @property
    def client(self) -> Client:
        assert self._client is not None, "use `async with Link(…)`"
        return self._client

    @property
    def server(self) -> ServerFile:
        assert self._server is not None, "use `async with Link(…)`"
        return self._server

    async def call(self, ask: Callable[[Client], Awaitable[T]], *, again: bool = True) -> T:
        """Ask the server; when it is not there, start it and ask once more. `again` False: only
        where the request surely did not reach it."""
        try:
            return await ask(self.client)
        except Disconnected as lost:
            if lost.sent and not again:
                raise
        await self._renew(start_stopped=True)
        return await ask(self.client)

    async def follow(
        self, session: str, after: int = 0
    ) -> AsyncIterator[Record | AnyDelta | Connected | Lost]:
        """Records after `after` without gap or repeat, and deltas, for ever; between Lost and the
        next Connected deltas are missed, records are not. Raises PerdureError when the session is
        gone or cannot be read."""
        last = after
        barren = 0
        while True:
            barren += 1
            try:
                async for thing in self.client.follow(session, last):
                    if isinstance(thing, Record):
                        if thing.seq <= last:
                            continue
                        last, barren = thing.seq, 0
                    yield thing
            except Disconnected as lost:
                yield Lost(lost.message)
            if not await self._renew(start_stopped=False, wait=False):
                yield Stopped("the server was stopped")
                await self._renew(start_stopped=False)
            if barren:
                # A stream can only break off; why it cannot be read, a page says.
                with contextlib.suppress(Disconnected):
                    await self.client.page(session, last, 1)
            if barren > 1:
                await asyncio.sleep(POLL_SECONDS)

    async def _renew(self, *, start_stopped: bool, wait: bool = True) -> bool:
        """False: the server was stopped on purpose, which is waited out only with `wait`."""
        while True:
            async with self._renewing:
                found = server_process.look(self.place)
                if found.file is not None and found.alive and not start_stopped:
                    if await server_process.answers(found.file):
                        await self._open(found.file)
                        return True
                elif found.file is not None or start_stopped:
                    await self._open(await server_process.ensure(self.place))
                    return True
                elif not (found.held or wait):
                    return False
            await asyncio.sleep(POLL_SECONDS)

    async def _open(self, server: ServerFile) -> None:
        if self._client is not None and server == self._server:
            return
        await self._close()
        self._server = server
        self._client = await Client(server.url, server.token).__aenter__()

    async def _close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.__aexit__(None, None, None)


def message_key() -> str:
    """A fresh Idempotency-Key: sending a message again cannot make two of it (D7)."""
    return f"terminal-{uuid.uuid4().hex}"
