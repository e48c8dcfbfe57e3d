"""HTTP to model servers: what is sent arrives, and what fails says how."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from perdure.kernel.errors import ModelError
from perdure.models import wire
from perdure.models.wire import Http

from .openai_help import Answer, playing


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    http = Http()
    yield http
    await http.close()


async def fetch(http: Http, url: str, *chunks: bytes, timeout: float = 5.0) -> bytes:
    async with http.post(url, {}, chunks or (b"{}",), timeout=timeout) as response:
        return await response.read()


@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
async def test_a_body_in_chunks_arrives_whole_whatever_its_size(http: Http, size: int) -> None:
    chunks = (b'{"a":["', b"x" * size, b'","', b"y" * size, b'",', b'"z"]}')
    async with playing(Answer([b"ok"])) as server:
        assert await fetch(http, server.url, *chunks) == b"ok"
    assert server.bodies == [json.loads(b"".join(chunks))]
    assert server.headers[0]["content-length"] == str(len(b"".join(chunks)))


async def test_a_connection_is_used_again(http: Http) -> None:
    async with playing(Answer([b"1"]), Answer([b"2"]), Answer([b"3"])) as server:
        for _ in range(3):
            await fetch(http, server.url)
    assert server.connections == 1


async def test_a_response_left_early_closes_its_connection(http: Http) -> None:
    async with playing(Answer([b"1"], hang=True), Answer([b"2"])) as server:
        async with http.post(server.url, {}, (b"{}",)):
            pass
        assert await fetch(http, server.url) == b"2"
        await asyncio.wait_for(server.left.wait(), 5)
    assert server.connections == 2


async def test_cancelling_closes_the_connection(http: Http) -> None:
    started = asyncio.Event()

    async def read(url: str) -> None:
        async with http.post(url, {}, (b"{}",)) as response:
            assert await response.chunk() == b"1"
            started.set()
            await response.chunk()

    async with playing(Answer([b"1"], hang=True)) as server:
        task = asyncio.create_task(read(server.url))
        await asyncio.wait_for(started.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.left.wait(), 5)


async def test_a_server_that_is_not_there_is_named(http: Http) -> None:
    with pytest.raises(ModelError) as failed:
        await fetch(http, "http://127.0.0.1:9/v1?key=secret")
    assert failed.value.kind == "connection"
    assert "127.0.0.1:9" in failed.value.message
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://[bad/"])
async def test_an_address_that_is_none_is_reported(http: Http, url: str) -> None:
    with pytest.raises(ModelError) as failed:
        await fetch(http, url)
    assert failed.value.kind == "invalid"


async def test_silence_in_mid_answer_is_a_time_out(http: Http) -> None:
    async with playing(Answer([b"1"], hang=True)) as server:
        with pytest.raises(ModelError) as failed:
            await fetch(http, server.url, timeout=0.05)
    assert failed.value.kind == "timeout"


async def test_a_connection_closed_in_mid_answer_is_a_cut(http: Http) -> None:
    async with playing(Answer([b"1"], cut=True)) as server:
        with pytest.raises(ModelError) as failed:
            await fetch(http, server.url)
    assert failed.value.kind == "cut"


async def test_a_connection_closed_before_an_answer_failed(http: Http) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener:
        with pytest.raises(ModelError) as failed:
            await fetch(http, f"http://127.0.0.1:{port}/")
    assert failed.value.kind == "connection"


async def test_a_redirect_is_not_followed_for_it_would_carry_the_key_away(http: Http) -> None:
    answer = Answer([], status=302, headers={"location": "http://127.0.0.1:9/"})
    async with playing(answer) as server, http.post(server.url, {}, (b"{}",)) as response:
        assert response.status == 302


async def test_a_server_that_does_not_end_is_left_when_drained(
    http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "DRAIN_SECONDS", 0.02)
    async with playing(Answer([b"1"], hang=True), Answer([b"2"])) as server:
        async with http.post(server.url, {}, (b"{}",)) as response:
            await response.drain()
        await asyncio.wait_for(server.left.wait(), 5)


async def test_an_error_body_is_read_no_further_than_its_limit(http: Http) -> None:
    async with (
        playing(Answer([b"x" * 1_000] * 50, status=500)) as server,
        http.post(server.url, {}, (b"{}",)) as response,
    ):
        assert len(await response.read(limit=2_500)) == 2_500


def test_a_proxy_of_the_environment_is_used_where_it_applies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    http = Http()
    assert http.proxy("https://api.example.com/v1") == "http://proxy.example:3128"
    assert http.proxy("https://127.0.0.1:8080/v1") is None
    assert http.proxy("http://api.example.com/v1") is None


async def test_closing_twice_or_unused_is_harmless() -> None:
    http = Http()
    await http.close()
    http.session()
    await http.close()
    await http.close()
