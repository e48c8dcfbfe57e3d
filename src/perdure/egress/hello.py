"""The name a TLS client asks for, read from its first message."""

from __future__ import annotations

import asyncio
import struct

MAX = 16 << 10


class NotTls(Exception):
    """What was sent does not begin a TLS connection."""


async def read_hello(reader: asyncio.StreamReader) -> tuple[bytes, str]:
    """The bytes read, which have to be sent on, and the server's name in lower case; empty when the
    client names none. Raises NotTls."""
    raw, message = b"", b""
    try:
        while True:
            record = await reader.readexactly(5)
            kind, major, _, length = struct.unpack("!BBBH", record)
            if kind != 22 or major != 3 or not 0 < length <= MAX:
                raise NotTls
            data = await reader.readexactly(length)
            raw, message = raw + record + data, message + data
            if len(message) >= 4:
                if message[0] != 1:
                    raise NotTls
                wanted = 4 + int.from_bytes(message[1:4], "big")
                if wanted > MAX:
                    raise NotTls
                if len(message) >= wanted:
                    return raw, _name(message[4:wanted])
    except asyncio.IncompleteReadError:
        raise NotTls from None


def _name(hello: bytes) -> str:
    try:
        at = 34
        at += 1 + hello[at]
        at += 2 + int.from_bytes(hello[at : at + 2], "big")
        at += 1 + hello[at]
        if at == len(hello):
            return ""
        end = at + 2 + int.from_bytes(hello[at : at + 2], "big")
        at += 2
        while at + 4 <= end:
            kind, length = struct.unpack("!HH", hello[at : at + 4])
            at += 4
            if kind == 0:
                if hello[at + 2] != 0:
                    raise NotTls
                size = int.from_bytes(hello[at + 3 : at + 5], "big")
                name = hello[at + 5 : at + 5 + size]
                if size + 5 != length or len(name) != size:
                    raise NotTls
                return name.decode("ascii").lower().removesuffix(".")
            at += length
    except (IndexError, struct.error, UnicodeDecodeError):
        raise NotTls from None
    return ""
