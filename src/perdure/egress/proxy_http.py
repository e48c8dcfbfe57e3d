"""HTTP/1.1 as the sandbox speaks it to its proxy: read strictly, one meaning or none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

MAX_HEAD = 64 << 10
MAX_HEADERS = 100
_LINE = re.compile(rb"([A-Z]{1,20}) ([\x21-\x7e]{1,8192}) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t\x80-\xff]*?)[ \t]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[\x20-\x7e\t]*)?\r\n")
HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "proxy-authenticate",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "accept-encoding",
        "expect",
        "host",
    )
)
"""Between the sandbox and its proxy only; the request that goes out has its own."""


class BadRequest(Exception):
    """What was sent can be read in no way, or in more than one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    method: str
    target: str
    headers: Mapping[str, str]
    """Without hop-by-hop ones."""
    host: str
    length: int | None
    chunked: bool
    expects: bool
    """The client waits for a word before it sends the body."""


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """None at the end of the connection. Raises BadRequest."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise BadRequest("the request is cut off") from None
        return None
    except asyncio.LimitOverrunError:
        raise BadRequest("the headers are too long") from None
    return parse_head(raw[:-4])


def parse_head(raw: bytes) -> Head:
    """Raises BadRequest."""
    lines = raw.split(b"\r\n")
    first = _LINE.fullmatch(lines[0])
    if first is None:
        raise BadRequest("the request line is no HTTP/1.1")
    if len(lines) - 1 > MAX_HEADERS:
        raise BadRequest("there are too many headers")
    found: dict[str, str] = {}
    for line in lines[1:]:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise BadRequest("a header is malformed")
        name, value = match[1].decode().lower(), match[2].decode("latin-1")
        if name in found:
            if name not in ("accept", "accept-language", "cache-control", "connection", "vary"):
                raise BadRequest(f"the header {name} stands there twice")
            value = f"{found[name]}, {value}"
        found[name] = value
    length, chunked = _framing(found)
    dropped = {n.strip().lower() for n in found.get("connection", "").split(",")} | HOP_BY_HOP
    return Head(
        method=first[1].decode(),
        target=first[2].decode(),
        headers={n: v for n, v in found.items() if n not in dropped},
        host=found.get("host", ""),
        length=length,
        chunked=chunked,
        expects=found.get("expect", "").lower() == "100-continue",
    )


def _framing(found: Mapping[str, str]) -> tuple[int | None, bool]:
    coding, length = found.get("transfer-encoding"), found.get("content-length")
    if coding is not None:
        if length is not None or coding.lower() != "chunked":
            raise BadRequest("the end of the body cannot be told")
        return None, True
    if length is None:
        return None, False
    if not re.fullmatch(r"[0-9]{1,12}", length):
        raise BadRequest("content-length is no number")
    return int(length), False


async def read_body(reader: asyncio.StreamReader, head: Head, limit: int) -> bytes:
    """Raises BadRequest, also when it is longer than `limit`."""
    try:
        if head.length is not None:
            if head.length > limit:
                raise BadRequest(f"the body is longer than {limit:,} bytes")
            return await reader.readexactly(head.length)
        if not head.chunked:
            return b""
        parts: list[bytes] = []
        size = 0
        while True:
            line = _CHUNK.fullmatch(await reader.readuntil(b"\r\n"))
            if line is None:
                raise BadRequest("a chunk of the body is malformed")
            count = int(line[1], 16)
            size += count
            if size > limit:
                raise BadRequest(f"the body is longer than {limit:,} bytes")
            if count == 0:
                if await reader.readexactly(2) != b"\r\n":
                    raise BadRequest("trailers are not taken")
                return b"".join(parts)
            parts.append(await reader.readexactly(count))
            if await reader.readexactly(2) != b"\r\n":
                raise BadRequest("a chunk of the body is malformed")
    except asyncio.IncompleteReadError:
        raise BadRequest("the body is cut off") from None
    except asyncio.LimitOverrunError:
        raise BadRequest("a chunk of the body is malformed") from None


def response(status: int, headers: Mapping[str, str], body: bytes, *, head_only: bool) -> bytes:
    """Closed after it. Every name and value is checked once more: they came from outside."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    lines = [f"HTTP/1.1 {status} {reason}"]
    length = headers.get("content-length", "") if head_only else ""
    for name, value in headers.items():
        if name in HOP_BY_HOP or name in (
            "content-encoding",
            "alt-svc",
            "strict-transport-security",
        ):
            continue
        if re.fullmatch(r"[a-z0-9!#$%&'*+.^_`|~-]+", name) and not re.search(r"[\r\n\0]", value):
            lines.append(f"{name}: {value}")
    if not length.isdigit():
        length = str(len(body))
    if status not in (204, 304):
        lines.append(f"content-length: {length}")
    lines.append("connection: close")
    text = "\r\n".join(lines) + "\r\n\r\n"
    return text.encode("latin-1", "replace") + (b"" if head_only or status in (204, 304) else body)


def refusal(status: int, message: str, stage: str) -> bytes:
    body = f"perdure: {message}\n".encode()
    headers = {"content-type": "text/plain; charset=utf-8", "x-perdure-refused": stage}
    return response(status, headers, body, head_only=False)
