"""Loops that do the same tool rounds with nothing around them: no store, no policy, no events.

They build each request by joining the bytes of messages encoded once, and parse each answer with the
standard library. What they cost is what the client library costs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .lookup import SCHEMA, lookup

_HEAD = b'{"model":"bench","messages":['
_TAIL = b'],"tools":' + json.dumps([SCHEMA]).encode()


class Loop:
    """The rounds, over whatever sends a request."""

    def __init__(self, stream: bool) -> None:
        self.folder = ""
        self.stream = stream
        self._tail = _TAIL + (
            b',"stream":true,"stream_options":{"include_usage":true}}' if stream else b"}"
        )
        self._sessions: dict[str, list[bytes]] = {}

    async def ready(self) -> None: ...

    async def close(self) -> None: ...

    async def post(self, body: bytes) -> bytes:
        raise NotImplementedError

    def events(self, body: bytes) -> AsyncIterator[bytes]:
        raise NotImplementedError

    async def turn(self, session: str, message: str) -> str:
        if session not in self._sessions:
            file = Path(self.folder) / f"{session}.jsonl"
            past = file.read_bytes().splitlines() if self.folder and file.exists() else []
            self._sessions[session] = past
        history = self._sessions[session]
        history.append(json.dumps({"role": "user", "content": message}).encode())
        while True:
            body = b"".join((_HEAD, b",".join(history), self._tail))
            reply = await (self._streamed(body) if self.stream else self._whole(body))
            history.append(json.dumps(reply).encode())
            calls = reply.get("tool_calls")
            if not calls:
                return str(reply["content"])
            for call in calls:
                text = lookup(**json.loads(call["function"]["arguments"]))
                result = {"role": "tool", "tool_call_id": call["id"], "content": text}
                history.append(json.dumps(result).encode())

    async def _whole(self, body: bytes) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.post(body))["choices"][0]["message"]
        return message

    async def _streamed(self, body: bytes) -> dict[str, Any]:
        text: list[str] = []
        calls: list[dict[str, Any]] = []
        rest = b""
        async for piece in self.events(body):
            *events, rest = (rest + piece).split(b"\n\n")
            for event in events:
                if event == b"data: [DONE]":
                    continue
                choices = json.loads(event[6:])["choices"]
                delta = choices[0]["delta"] if choices else {}
                text.append(delta.get("content") or "")
                for part in delta.get("tool_calls", ()):
                    if "id" in part:
                        calls.append(part)
                    else:
                        more = part["function"]["arguments"]
                        calls[part["index"]]["function"]["arguments"] += more
        reply: dict[str, Any] = {"role": "assistant", "content": "".join(text)}
        if calls:
            reply["tool_calls"] = calls
        return reply


class Sockets(Loop):
    """asyncio streams and just enough HTTP."""

    def __init__(self, url: str, stream: bool) -> None:
        super().__init__(stream)
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or 80
        self._path = f"{address.path}/chat/completions"
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, body: bytes) -> bytes:
        reader, writer = (
            self._idle.pop()
            if self._idle
            else await asyncio.open_connection(self._host, self._port, limit=1 << 20)
        )
        writer.write(
            b"POST %b HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n" % (self._path.encode(), len(body)) + body
        )
        head = await reader.readuntil(b"\r\n\r\n")
        at = head.find(b"content-length: ")
        if at >= 0:
            data = await reader.readexactly(int(head[at + 16 : head.index(b"\r", at)]))
        else:
            size = int(await reader.readline(), 16)
            data = await reader.readexactly(size)
            await reader.readuntil(b"0\r\n\r\n")
        self._idle.append((reader, writer))
        return data

    async def events(self, body: bytes) -> AsyncIterator[bytes]:
        yield await self.post(body)

    async def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


class Aiohttp(Loop):
    def __init__(self, url: str, stream: bool) -> None:
        super().__init__(stream)
        self._url = f"{url}/chat/completions"

    async def ready(self) -> None:
        import aiohttp

        self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._headers = {"content-type": "application/json"}

    async def post(self, body: bytes) -> bytes:
        async with self._client.post(self._url, data=body, headers=self._headers) as response:
            return await response.read()

    async def events(self, body: bytes) -> AsyncIterator[bytes]:
        async with self._client.post(self._url, data=body, headers=self._headers) as response:
            async for piece in response.content.iter_any():
                yield piece

    async def close(self) -> None:
        await self._client.close()


class Httpx(Loop):
    def __init__(self, url: str, stream: bool) -> None:
        super().__init__(stream)
        self._url = f"{url}/chat/completions"

    async def ready(self) -> None:
        import httpx

        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx.AsyncClient(limits=limits, timeout=300)
        self._headers = {"content-type": "application/json"}

    async def post(self, body: bytes) -> bytes:
        response = await self._client.post(self._url, content=body, headers=self._headers)
        return response.content

    async def events(self, body: bytes) -> AsyncIterator[bytes]:
        request = self._client.stream("POST", self._url, content=body, headers=self._headers)
        async with request as response:
            async for piece in response.aiter_bytes():
                yield piece

    async def close(self) -> None:
        await self._client.aclose()


_LOOPS = {"sockets": Sockets, "aiohttp": Aiohttp, "httpx": Httpx}


def make(*, url: str, stream: bool, client: str, folder: str = "") -> Loop:
    loop = _LOOPS[client](url, stream)
    loop.folder = folder
    return loop


def bare() -> dict[str, float]:
    """An interpreter that has done nothing."""
    import time

    from .meter import memory_mb

    return {"cpu_s": time.process_time(), "mb": memory_mb()}


def append(folder: str, count: int) -> dict[str, float]:
    """A line appended and synced, again and again."""
    import os

    from .meter import Span

    handle = os.open(Path(folder) / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    line = b"x" * 400 + b"\n"
    span = Span()
    for _ in range(count):
        os.write(handle, line)
        os.fdatasync(handle)
    cpu, wall = span.lap()
    return {"cpu_ms": cpu / count * 1e3, "wall_ms": wall / count * 1e3, "syncs": 1.0}


def sqlite(folder: str, count: int) -> dict[str, float]:
    """The same as a row in a transaction: WAL, synchronous=FULL."""
    import sqlite3

    from .meter import Span

    base = sqlite3.connect(Path(folder) / "floor.sqlite", isolation_level=None)
    base.execute("pragma journal_mode=wal")
    base.execute("pragma synchronous=full")
    base.execute("create table events (seq integer primary key, body blob)")
    line = b"x" * 400
    span = Span()
    for _ in range(count):
        base.execute("insert into events (body) values (?)", (line,))
    cpu, wall = span.lap()
    base.close()
    return {"cpu_ms": cpu / count * 1e3, "wall_ms": wall / count * 1e3}
