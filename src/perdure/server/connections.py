"""Connections that cost a stranger nothing must not cost the server its file descriptors.

Whoever connects has a while to send the head of a request, and as long again for what is left of one that
was answered early. Of the connections that never showed a known token only so many stay: past that, the
oldest that is idle goes. uvicorn knows neither of the two.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from functools import partial
from typing import Any

from starlette.types import Scope
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

KNOWN = "perdure.known"
"""In the state of a request's scope: call it when the request showed a known token."""
FILES = 65_536
"""File descriptors asked for, where the hard limit has more: some programs walk through all they could
have, and commands inherit the limit."""


def known(scope: Scope) -> None:
    """The connection of this request is not a stranger's."""
    tell = scope.get("state", {}).get(KNOWN)
    if tell is not None:
        tell()


class Crowd:
    """The connections that have shown no token yet, oldest first."""

    def __init__(self, *, limit: int, patience: float) -> None:
        """`patience`: seconds for the head of a request."""
        self.patience = patience
        self._limit = limit
        self._strangers: dict[Connection, None] = {}

    def protocol(self) -> partial[Connection]:
        """What uvicorn calls for each connection."""
        return partial(Connection, self)

    def enter(self, connection: Connection) -> None:
        self._strangers[connection] = None
        if len(self._strangers) > self._limit:
            oldest = next(iter(self._strangers))
            idle = next((one for one in self._strangers if one.waits), oldest)
            self.leave(idle)
            idle.transport.abort()

    def leave(self, connection: Connection) -> None:
        self._strangers.pop(connection, None)


class Connection(H11Protocol):
    """uvicorn's own, with a deadline while it waits for a request."""

    def __init__(
        self,
        crowd: Crowd,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, KNOWN: self._trust}, _loop)
        self._crowd = crowd
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def waits(self) -> bool:
        """No request of it is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._crowd.enter(self)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.leave(self)
        self._rest()
        # uvicorn leaves its own timer behind when the connection broke.
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.waits:
            self._watch()
        else:
            self._rest()

    def _watch(self) -> None:
        """Begin to count, unless it has begun: a byte now and then gains no time."""
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self._crowd.patience, self._give_up)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.waits:
            self.transport.abort()

    def _trust(self) -> None:
        self._crowd.leave(self)


def room_for_files() -> None:
    """Raise this process's limit of open files, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
