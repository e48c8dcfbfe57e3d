"""Reads server-sent events from chunks of bytes. Source of the format: the WHATWG HTML standard,
section 9.2.6; only `event` and `data` are used, since records carry their own sequence number."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator


async def events_of(chunks: AsyncIterable[bytes]) -> AsyncIterator[tuple[str, bytes]]:
    """(event type, data) of each event. Comments and events without data are skipped."""
    rest = b""
    kind = ""
    data: list[bytes] = []
    async for chunk in chunks:
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for raw in lines:
            line = raw.removesuffix(b"\r")
            if not line:
                if data:
                    yield kind, b"\n".join(data)
                kind, data = "", []
                continue
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                kind = value.decode(errors="replace")
