"""What the routes share with the process they run in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .stream import Streams


class Site:
    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.stopping = asyncio.Event()
        """Set: take nothing more, end what is open, then leave."""
        self._waiting: dict[asyncio.Event, str] = {}
        """Requests that are answered later, and by which token."""

    def tick(self, gone: Callable[[str], bool]) -> None:
        """Every second: no stream outlives its token, whoever revoked it."""
        if self.streams.count or self._waiting:
            self.close_where(gone)

    def close_where(self, gone: Callable[[str], bool]) -> None:
        """End the streams and the waiting of tokens that are known no longer."""
        self.streams.close_where(gone)
        for event, token in self._waiting.items():
            if gone(token):
                event.set()

    async def revoked(self, token: str) -> None:
        """Returns when it is."""
        event = asyncio.Event()
        self._waiting[event] = token
        try:
            await event.wait()
        finally:
            del self._waiting[event]

    def stop(self) -> None:
        self.stopping.set()
        self.streams.close()
