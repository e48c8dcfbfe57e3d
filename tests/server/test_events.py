from __future__ import annotations

import asyncio
import gc
import json
import socket
from pathlib import Path

import aiohttp
import pytest

from perdure.kernel.errors import Locked
from perdure.kernel.events import NoticeAdded, RequestId, TextDelta

from .world import World, running, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/api/v1"


def notice(text: str = "hello") -> NoticeAdded:
    return NoticeAdded(text=text, audience="user")


def delta(text: str) -> TextDelta:
    return TextDelta(request=RequestId("r1"), text=text)


async def test_a_page_of_records_ends_with_where_the_next_begins(world: World) -> None:
    id_ = await world.session()
    world.runtime.happens(id_, *[notice() for _ in range(4)])
    page = (await world.ask("GET", f"{API}/sessions/{id_}/events?limit=3")).json
    assert ([one["seq"] for one in page["events"]], page["last"], page["more"]) == (
        [1, 2, 3],
        3,
        True,
    )
    assert page["events"][1]["event"] == {
        "type": "notice_added",
        "text": "hello",
        "audience": "user",
    }
    page = (await world.ask("GET", f"{API}/sessions/{id_}/events?after=3")).json
    assert ([one["seq"] for one in page["events"]], page["last"], page["more"]) == (
        [4, 5],
        5,
        False,
    )
    page = (await world.ask("GET", f"{API}/sessions/{id_}/events?after=5")).json
    assert page == {"events": [], "last": 5, "more": False}


async def test_a_stream_brings_history_then_what_happens_with_deltas_between(world: World) -> None:
    id_ = await world.session()
    world.runtime.happens(id_, notice("old"))
    async with world.events(id_) as events:
        assert events.response.headers["Content-Type"].startswith("text/event-stream")
        assert await events.ids(2) == [1, 2]
        await until(lambda: world.runtime.listeners(id_) == 1)
        world.runtime.streams(id_, delta("Hel"), delta("lo\n\nyou"))
        world.runtime.happens(id_, notice("new"))
        first, second, record = await events.take(3)
        assert (first.type, first.id) == ("delta", "")
        assert json.loads(first.data) == {"type": "text_delta", "request": "r1", "text": "Hel"}
        assert json.loads(second.data)["text"] == "lo\n\nyou"
        assert (record.type, record.id) == ("notice_added", "3")
        assert json.loads(record.data)["event"]["text"] == "new"


@pytest.mark.parametrize(
    ("params", "headers", "first"),
    [
        ({}, {}, 1),
        ({"after": "3"}, {}, 4),
        ({}, {"Last-Event-ID": "3"}, 4),
        ({"after": "1"}, {"Last-Event-ID": "3"}, 4),
        ({"after": "3"}, {"Last-Event-ID": ""}, 4),
    ],
)
async def test_a_stream_resumes_after_the_record_seen_last(
    world: World, params: dict[str, str], headers: dict[str, str], first: int
) -> None:
    id_ = await world.session()
    world.runtime.happens(id_, *[notice() for _ in range(5)])
    async with world.events(id_, params=params, headers=headers) as events:
        assert await events.ids(7 - first) == list(range(first, 7))


async def test_reconnecting_again_and_again_misses_and_repeats_nothing(world: World) -> None:
    id_ = await world.session()
    seen: list[int] = []

    async def write() -> None:
        for number in range(300):
            world.runtime.happens(id_, notice(str(number)))
            world.runtime.streams(id_, delta("x"))
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    while len(seen) < 301:
        headers = {"Last-Event-ID": str(seen[-1])} if seen else {}
        async with world.events(id_, headers=headers) as events:
            fresh = 0
            while fresh < 23 and len(seen) < 301:
                event = await events.next()
                assert event is not None
                if event.id:
                    seen.append(int(event.id))
                    fresh += 1
    await writing
    assert seen == list(range(1, 302))


async def test_a_stream_that_does_not_follow_ends_with_what_there_is(world: World) -> None:
    id_ = await world.session()
    world.runtime.happens(id_, *[notice() for _ in range(500)])
    async with world.events(id_, params={"follow": "false"}) as events:
        assert [int(event.id) for event in await events.rest()] == list(range(1, 502))


async def test_follow_alone_asks_for_a_stream_too(world: World) -> None:
    id_ = await world.session()
    async with world.events(id_, params={"follow": "true"}, headers={"Accept": "*/*"}) as events:
        assert await events.ids(1) == [1]


async def test_any_number_of_clients_see_the_same(world: World) -> None:
    id_ = await world.session()

    async def watch() -> list[str]:
        async with world.events(id_) as events:
            return [event.data for event in await events.take(41)]

    watching = [asyncio.create_task(watch()) for _ in range(30)]
    await until(lambda: world.runtime.listeners(id_) == 30)
    for number in range(20):
        world.runtime.streams(id_, delta(str(number)))
        world.runtime.happens(id_, notice(str(number)))
    seen = await asyncio.gather(*watching)
    assert all(one == seen[0] for one in seen)


async def test_clients_that_leave_leave_no_task_behind(world: World) -> None:
    id_ = await world.session()
    before = len(asyncio.all_tasks())
    for _ in range(5):
        async with world.events(id_) as events:
            await events.ids(1)
    await until(lambda: world.runtime.listeners(id_) == 0)
    gc.collect()
    await until(lambda: len(asyncio.all_tasks()) <= before + 1)


async def test_silence_is_broken_by_comments(tmp_path: Path) -> None:
    async with running(tmp_path, keep_alive=0.02) as world:
        id_ = await world.session()
        async with world.events(id_) as events:
            await events.ids(1)
            await until(lambda: world.runtime.listeners(id_) == 1)
            waiting = asyncio.create_task(events.next())
            await until(lambda: "keep-alive" in events.comments)
            world.runtime.happens(id_, notice())
            event = await waiting
            assert event is not None
            assert event.id == "2"


async def slow_reader(world: World, session: str) -> socket.socket:
    """A connection that asked for a stream and reads nothing of it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, (world.file.host, world.file.port))
    request = (
        f"GET {API}/sessions/{session}/events HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {world.file.token}\r\nAccept: text/event-stream\r\n\r\n"
    )
    await loop.sock_sendall(client, request.encode())
    return client


async def test_a_slow_client_is_served_from_the_log_and_misses_no_record(tmp_path: Path) -> None:
    async with running(tmp_path, stream_buffer=20_000) as world:
        id_ = await world.session()
        client = await slow_reader(world, id_)
        await until(lambda: world.runtime.listeners(id_) == 1)
        text = "x" * 20_000
        for number in range(500):  # 20 MB, far more than any buffer on the way
            world.runtime.happens(id_, notice(f"{number} {text}"))
            world.runtime.streams(id_, delta(text))
            if number % 50 == 0:
                await asyncio.sleep(0)
        await until(lambda: world.runtime.listeners(id_) == 0)
        reads = world.runtime.reads

        loop, got = asyncio.get_running_loop(), b""
        async with asyncio.timeout(20):
            while b"id: 501\n" not in got:
                got += await loop.sock_recv(client, 1 << 20)
        ids = [int(line[4:]) for line in got.split(b"\n") if line.startswith(b"id: ")]
        assert ids == list(range(1, 502))
        assert world.runtime.reads > reads
        # From here on it is live again.
        await until(lambda: world.runtime.listeners(id_) == 1)
        world.runtime.happens(id_, notice("last"))
        async with asyncio.timeout(10):
            while b"id: 502\n" not in got:
                got += await loop.sock_recv(client, 1 << 20)
        client.close()
        await until(lambda: world.runtime.listeners(id_) == 0)


async def test_a_client_that_takes_nothing_is_let_go(tmp_path: Path) -> None:
    async with running(tmp_path, stall=0.1) as world:
        id_ = await world.session()
        world.runtime.happens(id_, *[notice("x" * 100_000) for _ in range(200)])
        before = len(asyncio.all_tasks())
        client = await slow_reader(world, id_)
        await until(lambda: world.runtime.reads > 0)
        await until(lambda: len(asyncio.all_tasks()) <= before)
        client.close()


async def test_a_stream_ends_when_its_session_is_deleted(world: World) -> None:
    id_ = await world.session()
    async with world.events(id_) as events:
        await events.ids(1)
        await until(lambda: world.runtime.listeners(id_) == 1)
        await world.ask("DELETE", f"{API}/sessions/{id_}")
        assert await events.next() is None


async def test_a_session_that_cannot_be_read_ends_its_stream_cleanly(world: World) -> None:
    id_ = await world.session()
    world.runtime.happens(id_, *[notice() for _ in range(250)])
    async with world.events(id_, params={"after": "0"}) as events:
        await events.ids(251)
    found = world.runtime.all[id_]
    del world.runtime.all[id_]
    got = await world.ask(
        "GET", f"{API}/sessions/{id_}/events", headers={"Accept": "text/event-stream"}
    )
    assert got.status == 404
    world.runtime.all[id_] = found
    world.runtime.fails = Locked("process 7 writes it")
    got = await world.ask("GET", f"{API}/sessions/{id_}/events?follow=true")
    assert (got.status, got.json["code"]) == (423, "locked")


async def test_a_delta_with_half_a_character_does_not_break_the_stream(world: World) -> None:
    id_ = await world.session()
    async with world.events(id_) as events:
        await events.ids(1)
        await until(lambda: world.runtime.listeners(id_) == 1)
        world.runtime.streams(id_, delta("\ud83d"), delta("whole"))
        event = await events.next()
        assert event is not None
        assert json.loads(event.data)["text"] == "whole"


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "9" * 30, "٣"])
async def test_an_event_id_that_is_no_number_is_refused(world: World, value: str) -> None:
    id_ = await world.session()
    url = f"{world.file.url}{API}/sessions/{id_}/events"
    async with aiohttp.ClientSession() as http:
        headers = {"Authorization": f"Bearer {world.file.token}", "Last-Event-ID": value}
        async with http.get(url, headers=headers) as response:
            assert response.status == 422
            assert (await response.json(content_type=None))["errors"][0]["where"] == (
                "header.Last-Event-ID"
            )


async def test_shutting_down_closes_every_stream_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        id_ = await world.session()
        async with world.events(id_) as one, world.events(id_) as other:
            await one.ids(1)
            await other.ids(1)
            asked = await world.ask("POST", f"{API}/admin/shutdown")
            assert asked.status == 202
            async with asyncio.timeout(1):
                assert await one.next() is None
                assert await other.next() is None
        async with asyncio.timeout(2):
            await world.task
        assert world.runtime.closed
