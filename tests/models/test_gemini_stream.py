"""What comes back from Gemini."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure.kernel.errors import ModelError
from perdure.kernel.events import AnyDelta, Text, Thinking, ToolCall, Usage
from perdure.kernel.prompt import AssistantItem, Item, Reply, ResultsItem
from perdure.models.gemini import Gemini
from perdure.models.spec import ModelSpec
from perdure.models.wire import Http

from .openai_help import REQUEST, Answer, Server, playing, prompt, result, shown, sse, user


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    http = Http()
    yield http
    await http.close()


def chunk(*parts: dict[str, Any], finish: str = "", **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-x", **more}


def answer(*chunks: Any, **more: Any) -> Answer:
    return Answer(sse(*chunks, done=False), **more)


async def ask(
    http: Http, server: Server, items: list[Item] | None = None, deltas: Any = None
) -> Reply:
    spec = ModelSpec(
        provider="gemini",
        name="gemini-3-flash-preview",
        base_url=server.url,
        api_key=lambda: "the-key",
    )
    seen: list[AnyDelta] = deltas if deltas is not None else []
    return await Gemini(spec, http).call(prompt(items or [user(1, "Hi")]), REQUEST, seen.append)


async def play(http: Http, *chunks: Any) -> Reply:
    async with playing(answer(*chunks)) as server:
        return await ask(http, server)


async def refuse(http: Http, given: Answer) -> ModelError:
    async with playing(given) as server:
        with pytest.raises(ModelError) as failed:
            await ask(http, server)
    return failed.value


def parts_back(reply: Reply) -> list[Any]:
    assert reply.native is not None
    message = json.loads(bytes(reply.native.body))
    assert message["role"] == "model"
    parts: list[Any] = message["parts"]
    return parts


async def test_text_thoughts_and_parallel_calls_stream_in(http: Http) -> None:
    first = {"functionCall": {"id": "f1", "name": "read", "args": {"path": "a"}}}
    second = {"functionCall": {"id": "f2", "name": "read", "args": {"path": "b"}}}
    counts = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 7,
        "toolUsePromptTokenCount": 3,
        "totalTokenCount": 130,
    }
    deltas: list[AnyDelta] = []
    async with playing(
        answer(
            chunk({"text": "Let me ", "thought": True}),
            chunk({"text": "see.", "thought": True}),
            chunk({"text": "I will "}),
            chunk({"text": "look. 👋"}),
            chunk({**first, "thoughtSignature": "c2lnbmVk"}, second),
            chunk(finish="STOP", usageMetadata=counts),
        )
    ) as server:
        reply = await ask(http, server, deltas=deltas)
        assert server.paths == ["/v1/models/gemini-3-flash-preview:streamGenerateContent?alt=sse"]
        assert server.headers[0]["x-goog-api-key"] == "the-key"
    assert reply.parts == (
        Thinking(text="Let me see."),
        Text(text="I will look. 👋"),
        ToolCall(id="f1", name="read", arguments={"path": "a"}),
        ToolCall(id="f2", name="read", arguments={"path": "b"}),
    )
    assert (reply.model, reply.stop) == ("gemini-x", "tools")
    assert reply.usage == Usage(input=103, cache_read=60, output=27, reasoning=7)
    assert shown(deltas) == {
        "text": "I will look. 👋",
        "thinking": "Let me see.",
        "calls": '0read{"path":"a"}1read{"path":"b"}',
    }
    assert parts_back(reply) == [
        {"text": "Let me see.", "thought": True},
        {"text": "I will look. 👋"},
        {**first, "thoughtSignature": "c2lnbmVk"},
        second,
    ]


async def test_a_signature_stays_in_its_own_part(http: Http) -> None:
    signed = {"text": "", "thoughtSignature": "YQ=="}
    reply = await play(
        http,
        chunk({"text": "One "}),
        chunk({"text": "two ", "thoughtSignature": "Yg=="}),
        chunk({"text": "three"}),
        chunk({"text": ""}),
        chunk(signed, finish="STOP"),
    )
    assert reply.parts == (Text(text="One "), Text(text="two "), Text(text="three"))
    assert parts_back(reply) == [
        {"text": "One "},
        {"text": "two ", "thoughtSignature": "Yg=="},
        {"text": "three"},
        signed,
    ]


async def test_calls_without_ids_get_the_same_one_in_call_and_result(http: Http) -> None:
    call = {"functionCall": {"name": "read", "args": {"path": "a"}}, "thoughtSignature": "YQ=="}
    bare = {"functionCall": {"name": "ls"}}
    async with playing(
        answer(chunk(call, bare, finish="STOP")), answer(chunk({"text": "Done"}, finish="STOP"))
    ) as server:
        reply = await ask(http, server)
        ids = [p.id for p in reply.parts if isinstance(p, ToolCall)]
        assert ids == ["r_1-0", "r_1-1"]
        items: list[Item] = [
            user(1, "Hi"),
            AssistantItem(seq=2, parts=reply.parts, native=reply.native),
            ResultsItem(seq=3, results=tuple(result(id, 3, "x") for id in ids)),
        ]
        await ask(http, server, items)
    _, said, results = server.bodies[1]["contents"]
    assert [p["functionCall"]["id"] for p in said["parts"]] == ids
    assert said["parts"][0]["thoughtSignature"] == "YQ=="
    assert said["parts"][1]["functionCall"] == {"name": "ls", "id": ids[1], "args": {}}
    assert [p["functionResponse"]["id"] for p in results["parts"]] == ids


async def test_double_ids_are_mended_without_losing_the_signature(http: Http) -> None:
    call = {"functionCall": {"id": "f", "name": "read", "args": {}}}
    reply = await play(http, chunk({**call, "thoughtSignature": "YQ=="}, call, finish="STOP"))
    assert [p["functionCall"]["id"] for p in parts_back(reply)] == ["f", "f-1"]
    assert parts_back(reply)[0]["thoughtSignature"] == "YQ=="


async def test_what_the_provider_ran_itself_goes_back_too(http: Http) -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1+1"}}
    ran = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}}
    reply = await play(http, chunk(code), chunk(ran), chunk({"text": "Two."}, finish="STOP"))
    assert parts_back(reply) == [code, ran, {"text": "Two."}]


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("STOP", "end"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "refusal"),
        ("PROHIBITED_CONTENT", "refusal"),
        ("OTHER", "other"),
        ("SOMETHING_NEW", "other"),
    ],
)
async def test_a_finish_reason_is_understood(http: Http, reason: str, stop: str) -> None:
    assert (await play(http, chunk({"text": "Hi"}, finish=reason))).stop == stop


@pytest.mark.parametrize(
    ("chunks", "kind", "said"),
    [
        ([chunk(finish="STOP")], "empty", "empty"),
        ([chunk(finish="MALFORMED_FUNCTION_CALL")], "empty", "malformed function call"),
        ([chunk(finish="UNEXPECTED_TOOL_CALL")], "empty", "unexpected tool call"),
        ([chunk(finish="SAFETY")], "refused", "safety"),
        ([{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}], "refused", "PROHIBITED"),
        ([chunk(finish="MISSING_THOUGHT_SIGNATURE")], "invalid", "signature"),
        ([], "cut", "closed"),
        ([{"usageMetadata": {"promptTokenCount": 3}}], "cut", "closed"),
        ([b"nonsense"], "server", "gemini"),
        ([b'{"candidates": 3}'], "server", "gemini"),
    ],
)
async def test_an_answer_that_is_none_is_an_error(
    http: Http, chunks: list[Any], kind: str, said: str
) -> None:
    failed = await refuse(http, answer(*chunks))
    assert failed.kind == kind
    assert said in failed.message


async def test_a_stream_that_just_ends_is_cut_and_keeps_its_text(http: Http) -> None:
    failed = await refuse(http, answer(chunk({"text": "Half"})))
    assert (failed.kind, failed.partial) == ("cut", "Half")
    failed = await refuse(http, answer(chunk({"text": "Half"}), cut=True))
    assert (failed.kind, failed.partial) == ("cut", "Half")


async def test_an_error_in_mid_stream_is_understood(http: Http) -> None:
    error = {"error": {"code": 503, "status": "UNAVAILABLE", "message": "Overloaded."}}
    failed = await refuse(http, answer(chunk({"text": "Half"}), error))
    assert (failed.kind, failed.partial) == ("overloaded", "Half")


async def test_a_limit_says_when_to_come_back(http: Http) -> None:
    details = [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "12s"}]
    error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota", "details": details}
    body = json.dumps({"error": error}).encode()
    failed = await refuse(http, Answer([body], status=429, type="application/json"))
    assert (failed.kind, failed.retry_after) == ("rate_limited", 12.0)
