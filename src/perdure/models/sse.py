"""Server-sent events, parsed from raw bytes as they arrive.

Source: WHATWG HTML, section 9.2 (server-sent events). Tolerant where servers are sloppy: any of the
three line ends, comments, several `data:` lines, no space after the colon, no blank line at the end.
"""

from __future__ import annotations

MAX_EVENT_BYTES = 48 * 1024 * 1024


class EventTooLong(ValueError):
    """One event passed MAX_EVENT_BYTES: the server is broken or hostile."""


class SseParser:
    """Feed it chunks, take whole events `(name, data)`; `name` is empty where the server gave none."""

    __slots__ = ("_buffer", "_crlf", "_searched")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._crlf = False

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """Events completed by this chunk, in order. Raises EventTooLong."""
        if self._crlf or b"\r" in chunk:
            chunk = self._unify(chunk)
        buffer = self._buffer
        if not buffer and chunk.endswith(b"\n\n"):
            return _parse(chunk)
        buffer += chunk
        # Only the new bytes are searched, so a huge event in small chunks stays linear.
        end = buffer.rfind(b"\n\n", self._searched)
        if end < 0:
            if len(buffer) > MAX_EVENT_BYTES:
                raise EventTooLong
            self._searched = max(0, len(buffer) - 1)
            return []
        whole = bytes(buffer[: end + 2])
        del buffer[: end + 2]
        self._searched = max(0, len(buffer) - 1)
        return _parse(whole)

    def end(self) -> list[tuple[str, bytes]]:
        """The event left over when a server closed without a last blank line."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        return _parse(rest)

    def _unify(self, chunk: bytes) -> bytes:
        """CRLF and CR become LF. A CR that ends a chunk is held back: its LF may come next."""
        if self._crlf:
            chunk = b"\r" + chunk
        self._crlf = chunk.endswith(b"\r")
        if self._crlf:
            chunk = chunk[:-1]
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _parse(text: bytes) -> list[tuple[str, bytes]]:
    events: list[tuple[str, bytes]] = []
    for block in text.split(b"\n\n"):
        if not block:
            continue
        first, line_end, rest = block.partition(b"\n")
        if not line_end and block.startswith(b"data: "):
            events.append(("", block[6:]))
            continue
        if first.startswith(b"event: ") and rest.startswith(b"data: ") and b"\n" not in rest:
            events.append((first[7:].decode("utf-8", "replace"), rest[6:]))
            continue
        name = ""
        data: list[bytes] = []
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            if value.startswith(b" "):
                value = value[1:]
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value.decode("utf-8", "replace")
        if data:
            events.append((name, data[0] if len(data) == 1 else b"\n".join(data)))
    return events
