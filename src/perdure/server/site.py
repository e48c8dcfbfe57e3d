"""What the routes share with the process they run in."""

from __future__ import annotations

import asyncio

from .stream import Streams


class Site:
    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.stopping = asyncio.Event()
        """Set: take nothing more, end what is open, then leave."""

    def stop(self) -> None:
        self.stopping.set()
        self.streams.close()
