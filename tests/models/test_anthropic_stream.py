"""What comes back from the Messages API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure.kernel.errors import ConfigError, ModelError
from perdure.kernel.events import AnyDelta, Text, Thinking, ToolCall, Usage
from perdure.kernel.prompt import AssistantItem, Item, Reply
from perdure.models.anthropic import Anthropic
from perdure.models.spec import ModelSpec
from perdure.models.wire import Http

from .openai_help import REQUEST, Answer, Server, playing, prompt, shown, user

USAGE = {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2}
START = {"type": "message_start", "message": {"model": "claude-x", "usage": USAGE}}
STOP = {"type": "message_stop"}


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    http = Http()
    yield http
    await http.close()


def end(reason: str, **more: Any) -> dict[str, Any]:
    usage = {"output_tokens": 20, "output_tokens_details": {"thinking_tokens": 7}}
    return {"type": "message_delta", "delta": {"stop_reason": reason, **more}, "usage": usage}


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content},
        *({"type": "content_block_delta", "index": index, "delta": d} for d in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *pieces: str) -> list[dict[str, Any]]:
    return block(
        index,
        {"type": "text", "text": "", "citations": None},
        *({"type": "text_delta", "text": p} for p in pieces),
    )


def tool(index: int, id: str, *pieces: str, name: str = "read") -> list[dict[str, Any]]:
    return block(
        index,
        {"type": "tool_use", "id": id, "name": name, "input": {}},
        *({"type": "input_json_delta", "partial_json": p} for p in pieces),
    )


def stream(*events: dict[str, Any]) -> list[bytes]:
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]


async def ask(
    http: Http,
    server: Server,
    items: list[Item] | None = None,
    name: str = "claude-sonnet-4-5",
    deltas: list[AnyDelta] | None = None,
) -> Reply:
    spec = ModelSpec(
        provider="anthropic", name=name, base_url=server.url, api_key=lambda: " the-key\n"
    )
    seen = deltas if deltas is not None else []
    return await Anthropic(spec, http).call(
        prompt(items or [user(1, "Hello")]), REQUEST, seen.append
    )


async def play(http: Http, *events: dict[str, Any]) -> Reply:
    async with playing(Answer(stream(*events))) as server:
        return await ask(http, server)


async def refuse(http: Http, *answers: Answer, name: str = "claude-sonnet-4-5") -> ModelError:
    async with playing(*answers) as server:
        with pytest.raises(ModelError) as failed:
            await ask(http, server, name=name)
    return failed.value


async def test_text_thinking_and_parallel_calls_stream_in(http: Http) -> None:
    events = [
        START,
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Let me "},
            {"type": "thinking_delta", "thinking": "see."},
            {"type": "signature_delta", "signature": "c2lnbmVk"},
        ),
        {"type": "ping"},
        *block(1, {"type": "redacted_thinking", "data": "aGlkZGVu"}),
        *text(2, "I will ", "look. 👋"),
        *tool(3, "toolu_1", '{"path":', ' "a.txt"}'),
        *tool(4, "toolu_2", "", '{"path": "b.txt", "n": 1.0}'),
        *tool(5, "toolu_3", name="ls"),
        end("tool_use"),
        STOP,
    ]
    deltas: list[AnyDelta] = []
    async with playing(Answer(stream(*events))) as server:
        reply = await ask(http, server, deltas=deltas)
        assert server.paths == ["/v1/messages"]
        assert server.headers[0]["x-api-key"] == "the-key"
        assert server.headers[0]["anthropic-version"] == "2023-06-01"
    assert reply.parts == (
        Thinking(text="Let me see."),
        Text(text="I will look. 👋"),
        ToolCall(id="toolu_1", name="read", arguments={"path": "a.txt"}),
        ToolCall(id="toolu_2", name="read", arguments={"path": "b.txt", "n": 1.0}),
        ToolCall(id="toolu_3", name="ls", arguments={}),
    )
    assert (reply.model, reply.stop) == ("claude-x", "tools")
    assert reply.usage == Usage(input=17, cache_read=5, cache_write=2, output=20, reasoning=7)
    assert shown(deltas) == {
        "text": "I will look. 👋",
        "thinking": "Let me see.",
        "calls": '0read{"path": "a.txt"}1read{"path": "b.txt", "n": 1.0}2ls',
    }
    # What goes back is what came.
    assert reply.native is not None
    assert json.loads(bytes(reply.native.body)) == {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmVk"},
            {"type": "redacted_thinking", "data": "aGlkZGVu"},
            {"type": "text", "text": "I will look. 👋"},
            {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "a.txt"}},
            {
                "type": "tool_use",
                "id": "toolu_2",
                "name": "read",
                "input": {"path": "b.txt", "n": 1.0},
            },
            {"type": "tool_use", "id": "toolu_3", "name": "ls", "input": {}},
        ],
    }
    assert b'{"path": "b.txt", "n": 1.0}' in bytes(reply.native.body)


async def test_omitted_thinking_keeps_its_signature(http: Http) -> None:
    events = block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "signature_delta", "signature": "abc"},
    )
    reply = await play(http, START, *events, *text(1, "Hi"), end("end_turn"), STOP)
    assert reply.parts == (Text(text="Hi"),)
    assert reply.native is not None
    thought, _ = json.loads(bytes(reply.native.body))["content"]
    assert thought == {"type": "thinking", "thinking": "", "signature": "abc"}


async def test_what_the_provider_ran_itself_goes_back_too(http: Http) -> None:
    searched = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    cited = {"type": "char_location", "cited_text": "x"}
    events = [
        *block(0, searched, {"type": "input_json_delta", "partial_json": '{"query":"x"}'}),
        *block(1, found),
        *block(
            2,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "Found."},
            {"type": "citations_delta", "citation": cited},
        ),
        *block(3, {"type": "something_new", "value": 1}, {"type": "something_delta"}),
    ]
    reply = await play(http, START, *events, end("end_turn"), STOP)
    assert reply.parts == (Text(text="Found."),)
    assert reply.native is not None
    assert json.loads(bytes(reply.native.body))["content"] == [
        {**searched, "input": {"query": "x"}},
        found,
        {"type": "text", "text": "Found.", "citations": [cited]},
        {"type": "something_new", "value": 1},
    ]


async def test_a_broken_call_is_mended_without_losing_the_signature(http: Http) -> None:
    thought = block(
        0,
        {"type": "thinking", "thinking": "Hm", "signature": "abc"},
    )
    events = [*thought, *tool(1, "a", '{"path": "x'), *tool(2, "a", "{}"), *text(3, " \n")]
    reply = await play(http, START, *events, end("max_tokens"), STOP)
    assert reply.stop == "length"
    _, first, second = reply.parts
    assert isinstance(first, ToolCall) and first.unparsed == '{"path": "x'
    assert isinstance(second, ToolCall) and second.id == "a-1"
    assert reply.native is not None
    assert json.loads(bytes(reply.native.body))["content"] == [
        {"type": "thinking", "thinking": "Hm", "signature": "abc"},
        {"type": "tool_use", "id": "a", "name": "read", "input": {}},
        {"type": "tool_use", "id": "a-1", "name": "read", "input": {}},
    ]


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("end_turn", "end"),
        ("stop_sequence", "end"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "other"),
        ("refusal", "refusal"),
        ("something_new", "other"),
    ],
)
async def test_a_stop_reason_is_understood(http: Http, reason: str, stop: str) -> None:
    assert (await play(http, START, *text(0, "Hi"), end(reason), STOP)).stop == stop


async def test_an_empty_refusal_says_why(http: Http) -> None:
    why = {"type": "refusal", "category": "cyber", "explanation": "This could do harm."}
    failed = await refuse(http, Answer(stream(START, end("refusal", stop_details=why), STOP)))
    assert failed.kind == "refused" and "could do harm" in failed.message


async def test_an_empty_answer_is_an_error(http: Http) -> None:
    assert (await refuse(http, Answer(stream(START, end("end_turn"), STOP)))).kind == "empty"


async def test_a_stream_that_just_ends_is_cut_and_keeps_its_text(http: Http) -> None:
    failed = await refuse(http, Answer(stream(START, *text(0, "Half of", " it"))))
    assert (failed.kind, failed.partial) == ("cut", "Half of it")


async def test_a_connection_lost_in_mid_stream_keeps_its_text(http: Http) -> None:
    failed = await refuse(http, Answer(stream(START, *text(0, "Half")), cut=True))
    assert (failed.kind, failed.partial) == ("cut", "Half")


async def test_an_error_in_mid_stream_is_understood(http: Http) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    failed = await refuse(http, Answer(stream(START, *text(0, "Half"), error)))
    assert (failed.kind, failed.partial) == ("overloaded", "Half")


async def test_a_limit_says_when_to_come_back(http: Http) -> None:
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"the-key is too fast"}}'
    answer = Answer([body], status=429, type="application/json", headers={"retry-after": "7"})
    failed = await refuse(http, answer)
    assert (failed.kind, failed.status, failed.retry_after) == ("rate_limited", 429, 7.0)
    assert "the-key" not in failed.message


async def test_an_error_under_a_good_status_is_an_error(http: Http) -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    failed = await refuse(http, Answer([body], type="application/json"))
    assert failed.kind == "overloaded"


@pytest.mark.parametrize("data", [b"nonsense", b"[]", b'{"type": 3}', b"[" * 100_000])
async def test_a_stream_that_is_no_json_is_the_servers_fault(http: Http, data: bytes) -> None:
    failed = await refuse(http, Answer([b"data: " + data + b"\n\n"]))
    assert failed.kind == "server"
    assert "anthropic" in failed.message and len(failed.message) < 700


async def test_stale_thinking_is_dropped_at_the_next_attempt(http: Http) -> None:
    message = "messages.1.content.0: The block is bound to a different conversation"
    body = json.dumps({"error": {"type": "invalid_request_error", "message": message}}).encode()
    bad = Answer([body], status=400, type="application/json")
    good = Answer(stream(START, *text(0, "Hi"), end("end_turn"), STOP))
    async with playing(bad, good, bad) as server:
        spec = ModelSpec(provider="anthropic", name="claude-opus-5-5", base_url=server.url)
        adapter = Anthropic(spec, http)
        items: list[Item] = [user(1, "Hello")]
        with pytest.raises(ModelError) as failed:
            await adapter.call(prompt(items), REQUEST, lambda delta: None)
        assert failed.value.kind == "server"
        await adapter.call(prompt(items), REQUEST, lambda delta: None)
        # It helps once; after that it is an error like any other.
        with pytest.raises(ModelError) as failed:
            await adapter.call(prompt(items), REQUEST, lambda delta: None)
        assert failed.value.kind == "invalid"
    assert "thinking" not in server.bodies[0]
    assert server.bodies[1]["thinking"]["block_binding"] == {
        "prefix_mismatch_behavior": "drop_block"
    }


async def test_a_conversation_goes_back_as_it_came(http: Http) -> None:
    async with playing(
        Answer(stream(START, *text(0, "One"), end("end_turn"), STOP)),
        Answer(stream(START, *text(0, "Two"), end("end_turn"), STOP)),
    ) as server:
        first = await ask(http, server)
        said = AssistantItem(seq=2, parts=first.parts, native=first.native)
        await ask(http, server, [user(1, "Hello"), said, user(3, "And?")])
        assert server.connections == 1
        assert server.bodies[1]["messages"][1] == {
            "role": "assistant",
            "content": [{"type": "text", "text": "One"}],
        }


async def test_stopping_closes_the_stream(http: Http) -> None:
    async with playing(Answer(stream(START, *text(0, "Hi")), hang=True)) as server:
        started = asyncio.Event()
        spec = ModelSpec(provider="anthropic", name="claude-x", base_url=server.url)
        call = asyncio.create_task(
            Anthropic(spec, http).call(
                prompt([user(1, "Hello")]), REQUEST, lambda delta: started.set()
            )
        )
        await asyncio.wait_for(started.wait(), 5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(server.left.wait(), 5)


async def test_a_key_that_cannot_be_had_is_a_model_error(http: Http) -> None:
    def locked() -> str:
        raise ConfigError("the store is locked", hint="unlock it")

    adapter = Anthropic(ModelSpec(provider="anthropic", name="claude-x", api_key=locked), http)
    with pytest.raises(ModelError, match="locked") as failed:
        await adapter.call(prompt([user(1, "Hello")]), REQUEST, lambda delta: None)
    assert (failed.value.kind, failed.value.hint) == ("auth", "unlock it")


def test_a_key_stands_in_no_description() -> None:
    spec = ModelSpec(
        provider="anthropic", name="x", api_key=lambda: "secret", headers={"a": "secret"}
    )
    assert "secret" not in repr(spec)
