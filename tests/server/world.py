"""A server on the loopback over a fake runtime, and a client that speaks to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from perdure.server import RuntimeApi, ServerFile, ServerSettings, run_server

from .fake_runtime import FakeRuntime


@dataclass
class Answer:
    status: int
    headers: Any
    raw: bytes
    json: Any


@dataclass
class World:
    runtime: FakeRuntime
    file: ServerFile
    http: aiohttp.ClientSession
    task: asyncio.Task[None]

    async def ask(self, method: str, path: str, /, *, body: Any = None, **more: Any) -> Answer:
        """Ask with the local token; `body` is sent as JSON."""
        if body is not None:
            more["json"] = body
        async with self.http.request(method, self.file.url + path, **more) as response:
            raw = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            parsed = await response.json(content_type=None) if is_json else None
            return Answer(response.status, response.headers, raw, parsed)

    async def session(self) -> str:
        return str((await self.runtime.create_session()).id)

    @asynccontextmanager
    async def events(self, session: str, **more: Any) -> AsyncIterator[Events]:
        headers = {"Accept": "text/event-stream", **more.pop("headers", {})}
        url = f"{self.file.url}/api/v1/sessions/{session}/events"
        async with self.http.get(url, headers=headers, **more) as response:
            assert response.status == 200, await response.text()
            yield Events(response)


@dataclass
class Event:
    id: str
    type: str
    data: str


class Events:
    """A strict reader of server-sent events."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.comments: list[str] = []

    async def next(self) -> Event | None:
        """None at the end of the stream."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(10):
            while raw := await self.response.content.readline():
                line = raw.decode().removesuffix("\n")
                if line.startswith(":"):
                    self.comments.append(line[1:].strip())
                elif line:
                    name, _, value = line.partition(": ")
                    assert name not in fields
                    fields[name] = value
                elif "data" in fields:
                    return Event(fields.get("id", ""), fields["event"], fields["data"])
                else:
                    fields = {}
        return None

    async def take(self, count: int) -> list[Event]:
        events = [await self.next() for _ in range(count)]
        return [event for event in events if event is not None]

    async def rest(self) -> list[Event]:
        events = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events

    async def ids(self, count: int) -> list[int]:
        return [int(event.id) for event in await self.take(count)]


@asynccontextmanager
async def running(folder: Path, **settings: Any) -> AsyncIterator[World]:
    runtime = FakeRuntime(folder)
    async with serving(runtime, folder / "run", **settings) as (file, task):
        headers = {"Authorization": f"Bearer {file.token}"}
        async with aiohttp.ClientSession(headers=headers) as http:
            yield World(runtime, file, http, task)


@asynccontextmanager
async def serving(
    runtime: RuntimeApi, run: Path, **settings: Any
) -> AsyncIterator[tuple[ServerFile, asyncio.Task[None]]]:
    ready: asyncio.Future[ServerFile] = asyncio.get_running_loop().create_future()

    async def opener() -> RuntimeApi:
        return runtime

    task = asyncio.create_task(
        run_server(opener, ServerSettings(**settings), run=run, announce=ready.set_result)
    )
    try:
        await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield ready.result(), task
    finally:
        ready.cancel()
        if not task.done():
            task.cancel()
        await asyncio.wait((task,))


async def until(true: Any, what: str = "it happens") -> None:
    """Wait for a condition of another task to hold."""
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)
