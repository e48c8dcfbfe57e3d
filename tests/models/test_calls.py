"""No name or id of a call makes a history that a provider refuses."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure.kernel.events import CallId, RequestId, ToolCall, ToolResult
from perdure.kernel.prompt import AssistantItem, CallResult, Item, Reply, ResultsItem
from perdure.models.adapter import Adapter
from perdure.models.anthropic import Anthropic
from perdure.models.calls import call_id, call_name, short_id
from perdure.models.gemini import Gemini
from perdure.models.openai_chat import OpenAIChat
from perdure.models.openai_responses import OpenAIResponses
from perdure.models.reply import Draft, native
from perdure.models.spec import ModelSpec
from perdure.models.wire import Http

from .openai_help import REQUEST, Answer, body_of, playing, prompt, sse, user

NAMES = [
    "",
    "   ",
    "read file",
    "\x00\x1f",
    "a\nb",
    "x" * 200,
    "1st",
    "-x",
    "läs",
    "ns.tool:x",
    "…",
]
TAKEN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
ADAPTERS: list[tuple[type[Adapter], str]] = [
    (OpenAIChat, "openai-chat"),
    (OpenAIResponses, "openai-responses"),
    (Anthropic, "anthropic"),
    (Gemini, "gemini"),
]


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    http = Http()
    yield http
    await http.close()


def found(value: Any, *names: str) -> list[str]:
    """All strings under one of those keys, in order."""
    if isinstance(value, list):
        return [text for one in value for text in found(one, *names)]
    if not isinstance(value, dict):
        return []
    here = [v for k, v in value.items() if k in names and isinstance(v, str)]
    return here + [text for v in value.values() for text in found(v, *names)]


def history(name: str, id: str, format: str = "") -> list[Item]:
    """One call and its result, as an earlier version wrote it: `format` names its native form."""
    body = b'{"role":"as it was"}' if format != "openai-responses" else b'[{"as":"it was"}]'
    call = ToolCall(id=CallId(id), name=name, arguments={})
    result = CallResult(call=id, tool=name, seq=3, result=ToolResult(status="ok"))
    return [
        user(1, "Hi"),
        AssistantItem(seq=2, parts=(call,), native=native(format, body) if format else None),
        ResultsItem(seq=3, results=(result,)),
    ]


def model(make: type[Adapter], http: Http, url: str = "https://api.openai.com/v1") -> Adapter:
    return make(ModelSpec(provider="acme", name="m", base_url=url), http)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_mended_to_what_all_take_and_then_stays(name: str) -> None:
    mended = call_name(name)
    assert TAKEN.fullmatch(mended)
    assert call_name(mended) == mended
    assert call_name("read_file-2") == "read_file-2"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("make", "format"), ADAPTERS)
def test_history_with_an_unusable_name_is_encoded_with_another(
    http: Http, make: type[Adapter], format: str, name: str
) -> None:
    for own in ("", format):
        body = body_of(model(make, http), prompt(history(name, "c1", own)))
        body.pop("tools", None)
        names = found(body, "name")
        assert names and all(TAKEN.fullmatch(found) for found in names)
        assert "as it was" not in json.dumps(body)


@pytest.mark.parametrize("id", ["functions.read:0", "x" * 90, "a b", "ü"])
@pytest.mark.parametrize(("make", "format"), ADAPTERS)
def test_ids_of_another_provider_fit_and_stay_the_same_in_call_and_result(
    http: Http, make: type[Adapter], format: str, id: str
) -> None:
    body = body_of(model(make, http), prompt(history("read", id)))
    ids = found(body, "id", "call_id", "tool_call_id", "tool_use_id")
    assert len(ids) == 2 and len(set(ids)) == 1
    if make is Anthropic:
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", ids[0])
    if make in (OpenAIChat, OpenAIResponses):
        assert len(ids[0]) <= (40 if make is OpenAIChat else 64)


def calls_of(make: type[Adapter], *calls: tuple[str, str]) -> list[dict[str, Any]]:
    """The events of an answer that makes these calls, (id, name)."""
    if make is OpenAIChat:
        listed = [
            {"index": n, "id": id, "function": {"name": name, "arguments": "{}"}}
            for n, (id, name) in enumerate(calls)
        ]
        return [{"choices": [{"delta": {"tool_calls": listed}, "finish_reason": "tool_calls"}]}]
    if make is OpenAIResponses:
        items = [
            {"type": "function_call", "call_id": id, "name": name, "arguments": "{}"}
            for id, name in calls
        ]
        done = [
            {"type": "response.output_item.done", "output_index": n, "item": item}
            for n, item in enumerate(items)
        ]
        return [*done, {"type": "response.completed", "response": {"status": "completed"}}]
    if make is Anthropic:
        blocks = [{"type": "tool_use", "id": id, "name": name, "input": {}} for id, name in calls]
        return [
            *(
                {"type": "content_block_start", "index": n, "content_block": block}
                for n, block in enumerate(blocks)
            ),
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
            {"type": "message_stop"},
        ]
    parts = [{"functionCall": {"id": id, "name": name, "args": {}}} for id, name in calls]
    return [{"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}]


async def answered(http: Http, make: type[Adapter], *calls: tuple[str, str]) -> Reply:
    async with playing(Answer(sse(*calls_of(make, *calls), done=False))) as server:
        return await model(make, http, server.url).call(
            prompt([user(1, "Hi")]), REQUEST, lambda _: None
        )


@pytest.mark.parametrize(("make", "format"), ADAPTERS)
async def test_a_reply_with_an_unusable_name_can_be_sent_back(
    http: Http, make: type[Adapter], format: str
) -> None:
    reply = await answered(http, make, ("c1", "read"), ("c2", ""), ("c3", "read file\x07"))
    names = [part.name for part in reply.parts if isinstance(part, ToolCall)]
    assert names == ["read", "unnamed", "read_file_"]
    assert reply.native is not None and reply.native.format == format
    assert found(json.loads(bytes(reply.native.body)), "name") == names


async def test_ids_that_the_api_would_not_take_back_are_mended_in_the_reply(http: Http) -> None:
    reply = await answered(http, Anthropic, ("functions.read:0", "read"))
    (call,) = reply.parts
    assert isinstance(call, ToolCall) and call.id == call_id("functions.read:0")
    assert reply.native is not None and call.id.encode() in bytes(reply.native.body)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["x-2", "x", "x"], {0, 1}),
        (["x", "x", "x-1"], {0, 2}),
        (["x", "x", "x", "x-1", "x-2", "x-1-2"], {0, 3, 4, 5}),
        (["", "r_1-0", ""], {1}),
    ],
)
def test_mended_ids_never_meet_another(given: list[str], kept: set[int]) -> None:
    draft = Draft("m", RequestId("r_1"), lambda _: None)
    draft.stop = "tools"
    for n, id in enumerate(given):
        draft.call(n, id=id, name="read")
    reply = draft.finish(lambda calls: native("x", b"{}"), lambda usage: None)
    ids = [part.id for part in reply.parts if isinstance(part, ToolCall)]
    assert len(set(ids)) == len(given)
    assert {n for n, id in enumerate(ids) if id == given[n]} == kept
    assert reply.native is None


def test_ids_are_shortened_the_same_way_each_time() -> None:
    assert short_id("functions.read:0") == "functions.read:0"
    assert short_id("y" * 41, 40) == short_id("y" * 41, 40) != short_id("y" * 42, 40)
    assert len(short_id("y" * 41, 40)) <= 40
