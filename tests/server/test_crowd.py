"""Strangers cost little: connections, memory, and what their mistakes become."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from perdure.kernel.errors import ConfigError, StorageError
from perdure.server import connections

from .fake_runtime import FakeRuntime
from .world import World, running, serving

SESSIONS = "/api/v1/sessions"
MB = 1024 * 1024


@asynccontextmanager
async def connected(
    world: World, first: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(world.file.host, world.file.port)
    try:
        writer.write(first)
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What came until the server hung up."""
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


def request(world: World, path: str = SESSIONS, **headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize("first", [b"", b"GET / HT", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"])
async def test_a_connection_that_sends_no_request_is_closed(tmp_path: Path, first: bytes) -> None:
    async with running(tmp_path, patience=0.2) as world, connected(world, first) as (reader, _):
        assert await ended(reader) == b""


async def test_a_byte_now_and_then_gains_no_time(tmp_path: Path) -> None:
    async with (
        running(tmp_path, patience=0.3) as world,
        connected(world, b"GET /livez HTTP/1.1\r\nX: ") as (reader, writer),
    ):
        over = asyncio.ensure_future(ended(reader))
        async with asyncio.timeout(5):
            while not over.done():
                writer.write(b"x")
                await asyncio.wait((over,), timeout=0.02)


async def test_nor_does_the_body_of_a_request_that_was_refused(tmp_path: Path) -> None:
    async with running(tmp_path, patience=0.3) as world:
        first = b"POST /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n"
        async with connected(world, first) as (reader, writer):
            over = asyncio.ensure_future(ended(reader))
            async with asyncio.timeout(5):
                while not over.done():
                    writer.write(b"x")
                    await asyncio.wait((over,), timeout=0.02)
            assert b" 401 " in over.result()


async def test_a_request_that_takes_its_time_to_be_answered_is_left_alone(tmp_path: Path) -> None:
    async with running(tmp_path, patience=0.1, keep_alive=0.1) as world:
        session = await world.session()
        async with world.events(session) as events:
            while len(events.comments) < 3:
                line = await events.response.content.readline()
                events.comments += [line.decode()] if line.startswith(b":") else []


async def test_only_so_many_strangers_stay_and_the_oldest_idle_one_goes(tmp_path: Path) -> None:
    async with running(tmp_path, strangers=3) as world, contextlib.AsyncExitStack() as stack:
        bearer = f"Bearer {world.file.token}"
        ours, our_writer = await stack.enter_async_context(
            connected(world, request(world, Authorization=bearer))
        )
        assert b" 200 " in await ours.readline()
        crowd = [(await stack.enter_async_context(connected(world)))[0] for _ in range(5)]
        assert await ended(crowd[0]) == b"" == await ended(crowd[1])
        our_writer.write(request(world, "/api/v1/admin/status", Authorization=bearer))
        async with asyncio.timeout(5):
            assert b'"pid"' in await ours.readuntil(b'"pid"')
        assert not any(reader.at_eof() for reader in crowd[2:])


def test_the_process_takes_the_files_it_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"now": (1_024, 4_096)}
    fake = SimpleNamespace(
        RLIMIT_NOFILE=resource.RLIMIT_NOFILE,
        RLIM_INFINITY=resource.RLIM_INFINITY,
        getrlimit=lambda _: limits["now"],
        setrlimit=lambda _, wanted: limits.update(now=wanted),
    )
    monkeypatch.setattr(connections, "resource", fake)
    connections.room_for_files()
    assert limits["now"] == (4_096, 4_096)
    limits["now"] = (1_024, resource.RLIM_INFINITY)
    connections.room_for_files()
    assert limits["now"] == (connections.FILES, resource.RLIM_INFINITY)


async def test_large_bodies_together_are_bounded(tmp_path: Path) -> None:
    async with running(tmp_path, max_bodies=3 * MB) as world:
        head = (
            f"POST {SESSIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {world.file.token}\r\nContent-Length: {2 * MB}\r\n\r\n"
        )
        body = b'{"title": "late"}' + b" " * (2 * MB - 17)
        async with connected(world, head.encode() + body[:-1]) as (reader, writer):
            await writer.drain()
            answer = await world.ask(
                "POST", SESSIONS, data=body, headers={"Content-Type": "application/json"}
            )
            assert (answer.status, answer.json["code"]) == (503, "busy")
            assert int(answer.headers["Retry-After"]) > 0
            assert (await world.ask("POST", SESSIONS, body={"title": "small"})).status == 201
            writer.write(body[-1:])
            async with asyncio.timeout(5):
                assert b" 201 " in await reader.readline()
        for _ in range(3):  # all was given back
            answer = await world.ask(
                "POST", SESSIONS, data=body, headers={"Content-Type": "application/json"}
            )
            assert answer.status == 201


async def test_a_message_s_body_is_not_held_while_its_answer_is_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path, max_bodies=3 * MB) as world:
        session = await world.session()
        url = f"{SESSIONS}/{session}/messages"
        large = {"text": "x" * (2 * MB)}
        records = world.runtime.all[session].records
        before = len(records)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(world.ask("POST", url, body=large, params={"wait": "1"}))
            async with asyncio.timeout(5):
                while len(records) == before:
                    await asyncio.sleep(0.005)
            assert (await world.ask("POST", url, body=large)).status == 202
            assert not asked.done()


async def test_a_model_that_cannot_be_used_is_the_request_s_mistake(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        session = await world.session()
        for method, path in (("POST", SESSIONS), ("PATCH", f"{SESSIONS}/{session}")):
            world.runtime.fails = ConfigError("There is no provider 'nope'.")
            answer = await world.ask(method, path, body={"model": "nope/x"})
            assert (answer.status, answer.json["code"]) == (422, "invalid_input")
            assert answer.json["errors"][0]["where"] == "body.model"
            world.runtime.fails = ConfigError("unknown key", file="agent.yaml", line=3)
            assert (await world.ask(method, path, body={"model": "nope/x"})).status == 500
            world.runtime.fails = ConfigError("unknown key")
            assert (await world.ask(method, path, body={"title": "T"})).status == 500
        world.runtime.fails = None


async def test_a_folder_s_name_holds_no_zero_byte(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        answer = await world.ask("POST", SESSIONS, body={"workdir": "/\0"})
        assert (answer.status, answer.json["errors"][0]["where"]) == (422, "body.workdir")


@pytest.mark.parametrize(("blocks", "files"), [(100, 10), (1_000_000, 0)])
async def test_a_full_disk_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, files: int
) -> None:
    async with running(tmp_path) as world:
        assert (await world.ask("GET", "/readyz")).status == 200
        found = SimpleNamespace(f_bavail=blocks, f_frsize=4_096, f_files=1_000, f_favail=files)
        monkeypatch.setattr(os, "statvfs", lambda _: found)
        answer = await world.ask("GET", "/readyz")
        assert (answer.status, answer.json["code"]) == (503, "storage")
        assert str(tmp_path) not in answer.raw.decode()
        assert (await world.ask("GET", "/livez")).status == 200


async def test_a_server_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "run" / "server.json.new").mkdir(parents=True)
    with pytest.raises(StorageError) as caught:
        async with serving(FakeRuntime(tmp_path), tmp_path / "run"):
            pass
    assert "server.json" in caught.value.message
