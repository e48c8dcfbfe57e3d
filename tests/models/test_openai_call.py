"""Whole calls over a real connection, with a server that plays what servers do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure.kernel.errors import ModelError
from perdure.kernel.events import AnyDelta, Text, TextDelta
from perdure.kernel.prompt import AssistantItem
from perdure.models.openai_chat import OpenAIChat
from perdure.models.openai_responses import OpenAIResponses
from perdure.models.spec import ModelSpec
from perdure.models.wire import Http

from .openai_help import REQUEST, Answer, body_of, playing, prompt, shown, sse, user

KEY = "sk-secret-0123456789abcdef"
ADAPTERS = [OpenAIChat, OpenAIResponses]
Adapter = type[OpenAIChat] | type[OpenAIResponses]


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    http = Http()
    yield http
    await http.close()


def chat(text: str, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": finish}], **more}


def responses(text: str) -> list[dict[str, Any]]:
    item = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    return [
        {"type": "response.output_text.delta", "output_index": 0, "delta": text},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"status": "completed", "output": [item]}},
    ]


def answer(make: Adapter, text: str = "Hello.") -> Answer:
    if make is OpenAIChat:
        return Answer(sse(chat(text), chat("", "stop")))
    return Answer(sse(*responses(text), done=False))


def model(make: Adapter, url: str, http: Http, **more: Any) -> OpenAIChat | OpenAIResponses:
    spec = ModelSpec(provider="acme", name="m", base_url=url, api_key=lambda: KEY, **more)
    return make(spec, http)


async def ask(model: OpenAIChat | OpenAIResponses, deltas: list[AnyDelta] | None = None) -> Any:
    seen: list[AnyDelta] = [] if deltas is None else deltas
    return await model.call(prompt([user(1, "Hi")]), REQUEST, seen.append)


@pytest.mark.parametrize("make", ADAPTERS)
async def test_a_call_is_posted_and_streams(make: Adapter, http: Http) -> None:
    async with playing(answer(make), answer(make)) as server:
        asked = model(make, server.url, http, headers={"x-title": "Perdure"})
        deltas: list[AnyDelta] = []
        reply = await ask(asked, deltas)
        await ask(asked)
    assert reply.parts == (Text(text="Hello."),)
    assert shown(deltas)["text"] == "Hello."
    tail = "chat/completions" if make is OpenAIChat else "responses"
    assert server.paths == [f"/v1/{tail}"] * 2
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert server.headers[0]["x-title"] == "Perdure"
    assert server.connections == 1
    assert asked.name == "acme/m"


@pytest.mark.parametrize("make", ADAPTERS)
async def test_a_stream_in_crumbs_reads_the_same(make: Adapter, http: Http) -> None:
    whole = b": hello\r\n\r\n" + b"".join(answer(make, "Grüße 👋").chunks).replace(b"\n", b"\r\n")
    crumbs = [whole[i : i + 7] for i in range(0, len(whole), 7)]
    async with playing(Answer(crumbs)) as server:
        reply = await ask(model(make, server.url, http))
    assert reply.parts == (Text(text="Grüße 👋"),)


@pytest.mark.parametrize("make", ADAPTERS)
@pytest.mark.parametrize(
    ("status", "headers", "error", "kind", "wait"),
    [
        (429, {"retry-after": "7"}, {"message": "slow"}, "rate_limited", 7.0),
        (429, {"retry-after-ms": "1500"}, {"message": "slow"}, "rate_limited", 1.5),
        (429, {}, {"message": "no money", "code": "insufficient_quota"}, "billing", None),
        (500, {}, {"message": "oops"}, "server", None),
        (503, {}, {"message": "busy"}, "overloaded", None),
        (401, {}, {"message": f"bad key {KEY}", "code": "invalid_api_key"}, "auth", None),
        (404, {}, {"message": "no model", "code": "model_not_found"}, "not_found", None),
        (400, {}, {"message": "x", "code": "context_length_exceeded"}, "context_overflow", None),
        (400, {}, {"message": "bad field"}, "invalid", None),
    ],
)
async def test_a_refused_call_says_what_to_do(
    make: Adapter,
    http: Http,
    status: int,
    headers: dict[str, str],
    error: dict[str, str],
    kind: str,
    wait: float | None,
) -> None:
    body = json.dumps({"error": error}).encode()
    async with playing(
        Answer([body], status=status, type="application/json", headers=headers)
    ) as server:
        with pytest.raises(ModelError) as caught:
            await ask(model(make, server.url, http))
    assert (caught.value.kind, caught.value.status) == (kind, status)
    assert caught.value.retry_after == wait
    assert KEY not in str(caught.value)
    assert len(server.bodies) == 1


@pytest.mark.parametrize("make", ADAPTERS)
@pytest.mark.parametrize("cut", [True, False])
async def test_a_stream_that_stops_in_the_middle_is_cut_and_keeps_its_text(
    make: Adapter, http: Http, cut: bool
) -> None:
    begun = sse(chat("half")) if make is OpenAIChat else sse(*responses("half")[:1])
    async with playing(Answer(begun[:1], cut=cut)) as server:
        with pytest.raises(ModelError) as caught:
            await ask(model(make, server.url, http))
    assert (caught.value.kind, caught.value.partial) == ("cut", "half")


@pytest.mark.parametrize("make", ADAPTERS)
async def test_an_error_under_a_good_status_is_an_error(make: Adapter, http: Http) -> None:
    body = json.dumps({"error": {"code": 429, "message": "slow down"}}).encode()
    async with playing(Answer([body], type="application/json")) as server:
        with pytest.raises(ModelError) as caught:
            await ask(model(make, server.url, http))
    assert caught.value.kind == "rate_limited"


async def test_an_answer_that_did_not_stream_is_taken_whole(http: Http) -> None:
    completion = {
        "object": "chat.completion",
        "choices": [
            {
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Hi", "reasoning_content": "Hm"},
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }
    response = {"object": "response", **responses("Hi")[2]["response"], "error": None}
    for make, body in ((OpenAIChat, completion), (OpenAIResponses, response)):
        raw = json.dumps(body, indent=1).encode()
        async with playing(Answer([raw], type="application/json; charset=utf-8")) as server:
            deltas: list[AnyDelta] = []
            reply = await ask(model(make, server.url, http), deltas)
        assert reply.parts[-1] == Text(text="Hi")
        assert shown(deltas)["text"] == "Hi"


@pytest.mark.parametrize("make", ADAPTERS)
async def test_a_stop_closes_the_connection(make: Adapter, http: Http) -> None:
    begun = sse(chat("half")) if make is OpenAIChat else sse(*responses("half")[:1])
    arrived = asyncio.Event()

    def emit(delta: AnyDelta) -> None:
        assert isinstance(delta, TextDelta)
        arrived.set()

    async with playing(Answer(begun[:1], hang=True)) as server:
        asked = model(make, server.url, http)
        task = asyncio.create_task(asked.call(prompt([user(1, "Hi")]), REQUEST, emit))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.left.wait(), 5)


@pytest.mark.parametrize("make", ADAPTERS)
async def test_a_server_that_falls_silent_is_timed_out(make: Adapter, http: Http) -> None:
    async with playing(Answer([], hang=True)) as server:
        with pytest.raises(ModelError) as caught:
            await ask(model(make, server.url, http, timeout_seconds=0.05))
    assert caught.value.kind == "timeout"


@pytest.mark.parametrize("make", ADAPTERS)
async def test_a_server_that_is_not_there_is_a_connection_error(make: Adapter, http: Http) -> None:
    async with playing() as server:
        url = server.url
    with pytest.raises(ModelError) as caught:
        await ask(model(make, url, http))
    assert caught.value.kind == "connection"


@pytest.mark.parametrize("make", ADAPTERS)
async def test_garbage_for_an_event_is_the_servers_fault(make: Adapter, http: Http) -> None:
    async with playing(Answer([b"data: {oops\n\n"])) as server:
        with pytest.raises(ModelError) as caught:
            await ask(model(make, server.url, http))
    assert caught.value.kind == "server"


@pytest.mark.parametrize("make", ADAPTERS)
async def test_a_web_page_is_no_answer_that_comes_if_asked_again(make: Adapter, http: Http) -> None:
    page = b"<!doctype html>\n\n<html><title>Sign in</title></html>"
    async with playing(Answer([page], type="text/html; charset=utf-8")) as server:
        with pytest.raises(ModelError, match="web page") as caught:
            await ask(model(make, server.url, http))
    assert caught.value.kind == "invalid"


@pytest.mark.parametrize("make", ADAPTERS)
async def test_a_stream_under_the_wrong_type_is_read(make: Adapter, http: Http) -> None:
    async with playing(Answer(answer(make).chunks, type="text/html")) as server:
        reply = await ask(model(make, server.url, http))
    assert reply.parts == (Text(text="Hello."),)


async def test_openrouter_is_believed_about_the_cost(http: Http) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "cost": 0.0125}
    stream = Answer(sse(chat("x"), chat("", "stop", usage=usage)))
    async with playing(stream, stream) as server:
        spec = ModelSpec(provider="openrouter", name="a/b", base_url=server.url)
        told = await OpenAIChat(spec, http).call(prompt([user(1, "Hi")]), REQUEST, print)
        other = await ask(model(OpenAIChat, server.url, http))
    assert told.cost_usd == 0.0125
    assert other.cost_usd is None


@pytest.mark.parametrize("make", ADAPTERS)
async def test_a_reply_goes_back_as_it_came(make: Adapter, http: Http) -> None:
    async with playing(answer(make)) as server:
        asked = model(make, server.url, http)
        reply = await ask(asked)
    item = AssistantItem(seq=2, parts=reply.parts, native=reply.native)
    raw = b"".join(asked.request(prompt([user(1, "Hi"), item]))[1])
    assert reply.native is not None
    assert bytes(reply.native.body).strip(b"[]") in raw
    assert body_of(asked, prompt([user(1, "Hi"), item]))
