"""The line to the server: lost and found again without gap or repeat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from perdure.cli.client import Connected
from perdure.cli.link import Link, Lost, message_key
from perdure.cli.place import Place
from perdure.cli.problems import Problem
from perdure.kernel import events as e
from perdure.kernel.errors import Conflict, NotFound

from .fake_server import FakeServer, FakeSession, play


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[tuple[FakeServer, Link]]:
    place = Place(root=tmp_path)
    async with FakeServer(play) as server:
        server.write_file(place.server_file)
        async with Link(place) as link:
            yield server, link


def text(words: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": words}]


async def test_a_dropped_stream_goes_on_without_gap_or_repeat(
    world: tuple[FakeServer, Link],
) -> None:
    server, link = world
    session = server.sessions[(await link.client.create_session()).id]
    seen: list[int] = []
    between: list[str] = []
    async with asyncio.timeout(10), aclosing(link.follow(session.id)) as feed:  # type: ignore[type-var]
        async for thing in feed:
            if isinstance(thing, e.Record):
                seen.append(thing.seq)
                if thing.seq == 3:
                    server.drop_streams()
                    grow(session, 3)
                elif len(session.records) < 3:
                    grow(session, 1)
                if thing.seq == 6:
                    break
            elif isinstance(thing, Connected | Lost):
                between.append(type(thing).__name__)
    assert seen == [1, 2, 3, 4, 5, 6]
    assert between == ["Connected", "Lost", "Connected"]


def grow(session: FakeSession, records: int) -> None:
    for number in range(records):
        session.append(e.SessionRenamed(title=str(number)))


async def test_a_message_sent_twice_with_its_key_is_one_message(
    world: tuple[FakeServer, Link],
) -> None:
    _, link = world
    view = await link.client.create_session()
    key = message_key()
    first = await link.client.send(view.id, text("hi"), key=key)
    second = await link.client.send(view.id, text("hi"), key=key)
    assert (second.message, second.duplicate) == (first.message, True)


async def test_problems_of_the_api_become_errors_with_their_hint(
    world: tuple[FakeServer, Link],
) -> None:
    server, link = world
    with pytest.raises(NotFound, match="no session nope"):
        await link.client.session("nope")
    with pytest.raises(NotFound) as caught:
        await link.client.create_session(agent="x")
    assert caught.value.hint == "There are: default."
    view = await link.client.create_session()
    with pytest.raises(Conflict):
        await link.client.decide(view.id, "a_1", "allow")
    server.token = "another"
    with pytest.raises(Problem, match="refused"):
        await link.client.agents()


async def test_a_server_that_came_back_elsewhere_is_found(tmp_path: Path) -> None:
    place = Place(root=tmp_path)
    async with FakeServer(play) as first:
        first.write_file(place.server_file)
        link = await Link(place).__aenter__()
    async with FakeServer(play) as second:
        second.write_file(place.server_file)
        view = await link.call(lambda client: client.create_session(), again=False)
        assert view.id in second.sessions
    await link.__aexit__(None, None, None)


async def test_all_records_are_read_page_by_page(
    world: tuple[FakeServer, Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, link = world
    session = server.sessions[(await link.client.create_session()).id]
    grow(session, 1_200)
    seqs = [record.seq async for record in link.client.records(session.id)]
    assert seqs == list(range(1, 1_202))


async def test_a_server_stopped_on_purpose_is_told_from_one_that_was_lost(tmp_path: Path) -> None:
    place = Place(root=tmp_path)
    async with FakeServer(play) as first:
        first.write_file(place.server_file)
        link = await Link(place).__aenter__()
        view = await link.client.create_session()
        feed = link.follow(view.id)
        seen = [type(await anext(feed)).__name__ for _ in range(2)]
        first.drop_streams()
        place.server_file.unlink()
    async with asyncio.timeout(10):
        seen += [type(await anext(feed)).__name__ for _ in range(2)]
    assert seen == ["Connected", "Record", "Lost", "Stopped"]
    await feed.aclose()  # type: ignore[attr-defined]
    await link.__aexit__(None, None, None)
