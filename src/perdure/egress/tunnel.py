"""An encrypted connection of a command's, of which only the ends and the bytes are known."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from perdure.kernel.errors import PerdureError

from .address import Address
from .errors import Refused, Unreachable
from .message import Caller
from .networks import plain
from .record import Entry, new_request
from .rules import TUNNEL

CONNECT_SECONDS = 15.0
IDLE_SECONDS = 300.0
UP = 64 << 20
"""Bytes that may leave through one."""
DOWN = 2 << 30


class Note:
    """What the record will say of a tunnel."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.rule = ""
        self.ips: tuple[str, ...] = ()
        self.sent = self.received = 0
        self.error: PerdureError | None = None
        self._request = new_request()
        self._begun = time.monotonic()

    def fail(self, error: PerdureError) -> None:
        self.error = error

    def made(self, caller: Caller, verdict: str = "sent") -> Entry:
        stage = self.error.stage if isinstance(self.error, Refused) else ""
        return Entry(
            at=datetime.now(UTC),
            session=caller.session,
            agent=caller.agent,
            tool=caller.tool,
            method=TUNNEL,
            host=self.address.authority,
            addresses=self.ips,
            sent=self.sent,
            received=self.received,
            verdict=f"refused: {stage}" if stage else "failed" if self.error else verdict,
            rule=self.rule,
            why=self.error.message[:500] if self.error else "",
            ms=round((time.monotonic() - self._begun) * 1000),
            request=self._request,
        )


async def reach(
    address: Address, ips: tuple[str, ...]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for ip in ips:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(ip, address.port)
        except (OSError, TimeoutError):
            continue
        peer = writer.get_extra_info("peername")
        if peer and plain(str(peer[0])) == plain(ip):
            return reader, writer
        writer.transport.abort()
    raise Unreachable(f"{address.authority} cannot be reached.")


async def pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
    note: Note,
) -> None:
    """Both ways, until both ends are through or the limits are reached. Raises Refused, OSError."""

    async def up() -> None:
        while data := await _some(reader):
            note.sent += len(data)
            if note.sent > UP:
                raise Refused(f"More than {UP:,} bytes in one tunnel.", stage="proxy")
            far_writer.write(data)
            await far_writer.drain()
        far_writer.write_eof()

    async def down() -> None:
        while data := await _some(far_reader):
            note.received += len(data)
            if note.received > DOWN:
                raise Refused(f"More than {DOWN:,} bytes in one tunnel.", stage="proxy")
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(up())
            group.create_task(down())
    except* Refused as errors:
        raise errors.exceptions[0] from None
    except* (OSError, TimeoutError) as broken:
        raise OSError("the tunnel broke") from broken


async def _some(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(IDLE_SECONDS):
        return await reader.read(64 << 10)
