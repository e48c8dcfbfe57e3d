"""A request body in several chunks of bytes, sent as they lie. Loads aiohttp: import where used."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

SMALL_BYTES = 16 * 1024


class Chunks(Payload):
    """Bytes that need not be joined first. Of known size, so it is not sent chunk-encoded."""

    _autoclose = True

    def __init__(self, chunks: Sequence[bytes], size: int) -> None:
        super().__init__(chunks, content_type="application/json")
        self._chunks = _packed(chunks)
        self._size = size

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._chunks).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        for chunk in self._chunks:
            await writer.write(chunk)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        # The length is always our own.
        await self.write(writer)


def _packed(chunks: Sequence[bytes]) -> list[bytes]:
    """Small neighbours joined: each chunk left is worth a system call."""
    packed: list[bytes] = []
    small: list[bytes] = []
    for chunk in chunks:
        if len(chunk) < SMALL_BYTES:
            small.append(chunk)
            continue
        if small:
            packed.append(b"".join(small))
            small = []
        packed.append(chunk)
    if small:
        packed.append(b"".join(small))
    return packed
