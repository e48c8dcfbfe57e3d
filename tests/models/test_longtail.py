"""Providers reached through pydantic-ai, over a real connection."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from importlib.machinery import ModuleSpec
from typing import Any

import pytest

from perdure.kernel.errors import ConfigError, ModelError
from perdure.kernel.events import AnyDelta, Text, Thinking, ToolCall, Usage
from perdure.kernel.prompt import AssistantItem, Item, Prefix, ResultsItem
from perdure.models import longtail
from perdure.models.longtail import LongTail, knows
from perdure.models.spec import ModelSpec
from perdure.models.wire import Http

from .openai_help import REQUEST, Answer, history, playing, prompt, result, shown, sse, user

KEY = "sk-secret-0123456789abcdef"


@pytest.fixture
async def open_models() -> AsyncIterator[list[LongTail]]:
    models: list[LongTail] = []
    yield models
    for model in models:
        await model.close()


def tail(models: list[LongTail], url: str, **more: Any) -> LongTail:
    spec = ModelSpec(
        **{"provider": "ollama", "name": "qwen3", "base_url": url, "api_key": lambda: KEY, **more}
    )
    models.append(LongTail(spec, Http()))
    return models[-1]


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "choices": [choice]}


def calls(*arguments: str) -> list[dict[str, Any]]:
    return [
        {
            "index": n,
            "id": f"call_{n}",
            "type": "function",
            "function": {"name": "read", "arguments": text},
        }
        for n, text in enumerate(arguments)
    ]


OVER = Answer(sse(chunk(content="Done."), chunk("stop")))


async def test_a_round_of_tools_goes_through(open_models: list[LongTail]) -> None:
    first = Answer(
        sse(
            chunk(reasoning="Hm"),
            chunk(reasoning="m."),
            chunk(content="Look"),
            chunk(content="ing."),
            chunk(tool_calls=calls('{"path":"a"}', '{"path":"b"}')),
            chunk("tool_calls"),
            {
                **chunk(),
                "choices": [],
                "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
            },
        )
    )
    async with playing(first, OVER) as server:
        model = tail(open_models, server.url)
        deltas: list[AnyDelta] = []
        items: list[Item] = [user(1, "Hi")]
        reply = await model.call(prompt(items), REQUEST, deltas.append)
        items += [
            AssistantItem(seq=2, parts=reply.parts, native=reply.native),
            ResultsItem(seq=3, results=(result("call_0", 3, "A"), result("call_1", 3, "B"))),
        ]
        last = await model.call(prompt(items, tail="It is Monday."), REQUEST, deltas.append)
    assert reply.parts == (
        Thinking(text="Hmm."),
        Text(text="Looking."),
        ToolCall(id="call_0", name="read", arguments={"path": "a"}),
        ToolCall(id="call_1", name="read", arguments={"path": "b"}),
    )
    assert (reply.stop, reply.usage) == ("tools", Usage(input=9, output=4))
    assert reply.cost_usd == 0.0
    assert shown(deltas)["text"] == "Looking.Done."
    assert reply.native is not None
    assert reply.native.format == "pydantic-ai"
    assert b"\n" not in bytes(reply.native.body)
    assert last.parts == (Text(text="Done."),)
    sent = server.bodies[1]["messages"]
    assert [m["role"] for m in sent] == ["system", "user", "assistant", "tool", "tool", "user"]
    assert sent[0]["content"] == "Be brief."
    assert sent[2]["reasoning"] == "Hmm."
    assert sent[-1]["content"] == "It is Monday."
    assert server.bodies[1]["tools"][0]["function"]["name"] == "read"
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert model.name == "ollama/qwen3"


async def test_a_whole_history_is_sent_with_images_and_without_foreign_thinking(
    open_models: list[LongTail],
) -> None:
    async with playing(OVER) as server:
        await tail(open_models, server.url).call(prompt(history()), REQUEST, print)
    sent = json.dumps(server.bodies[0])
    assert sent.count("data:image/png;base64,") == 2
    assert "Let me look." not in sent
    assert "[error] no such file" in sent


async def test_settings_reach_the_provider(open_models: list[LongTail]) -> None:
    async with playing(OVER) as server:
        model = tail(
            open_models,
            server.url,
            temperature=0.5,
            max_output_tokens=7,
            extra={"top_k": 3},
            headers={"x-title": "Perdure"},
        )
        bare = Prefix(system="")
        await model.call(prompt([user(1, "Hi")], prefix=bare, tools=False), REQUEST, print)
    (body,) = server.bodies
    assert (body["temperature"], body["top_k"]) == (0.5, 3)
    assert 7 in (body.get("max_tokens"), body.get("max_completion_tokens"))
    assert "tools" not in body
    assert server.headers[0]["x-title"] == "Perdure"


@pytest.mark.parametrize(
    ("status", "headers", "error", "kind", "wait"),
    [
        (429, {"retry-after": "7"}, {"message": "slow"}, "rate_limited", 7.0),
        (500, {}, {"message": "oops"}, "server", None),
        (401, {}, {"message": f"bad key {KEY}", "code": "invalid_api_key"}, "auth", None),
        (404, {}, {"message": "no model"}, "not_found", None),
        (400, {}, {"message": "x", "code": "context_length_exceeded"}, "context_overflow", None),
        (400, {}, {"message": "bad field"}, "invalid", None),
    ],
)
async def test_a_refused_call_has_its_kind_and_is_not_retried_by_the_sdk(
    open_models: list[LongTail],
    status: int,
    headers: dict[str, str],
    error: dict[str, str],
    kind: str,
    wait: float | None,
) -> None:
    body = json.dumps({"error": error}).encode()
    refusal = Answer([body], status=status, type="application/json", headers=headers)
    async with playing(refusal, OVER) as server:
        with pytest.raises(ModelError) as caught:
            await tail(open_models, server.url).call(prompt([user(1, "Hi")]), REQUEST, print)
    assert (caught.value.kind, caught.value.retry_after) == (kind, wait)
    assert KEY not in str(caught.value)
    assert len(server.bodies) == 1


async def test_a_broken_connection_keeps_what_came(open_models: list[LongTail]) -> None:
    async with playing(Answer(sse(chunk(content="half"), done=False), cut=True)) as server:
        with pytest.raises(ModelError) as caught:
            await tail(open_models, server.url).call(prompt([user(1, "Hi")]), REQUEST, print)
    assert caught.value.kind in ("connection", "cut")
    assert caught.value.partial == "half"


async def test_a_server_that_is_not_there_is_a_connection_error(
    open_models: list[LongTail],
) -> None:
    async with playing() as server:
        url = server.url
    with pytest.raises(ModelError) as caught:
        await tail(open_models, url).call(prompt([user(1, "Hi")]), REQUEST, print)
    assert caught.value.kind == "connection"


async def test_a_stop_closes_the_connection(open_models: list[LongTail]) -> None:
    arrived = asyncio.Event()
    begun = Answer(sse(chunk(content="half"), done=False), hang=True)
    async with playing(begun) as server:
        model = tail(open_models, server.url)
        task = asyncio.create_task(
            model.call(prompt([user(1, "Hi")]), REQUEST, lambda delta: arrived.set())
        )
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.left.wait(), 5)


async def test_a_provider_whose_sdk_is_missing_says_what_to_install(
    open_models: list[LongTail],
) -> None:
    if "cohere" in sys.modules:
        pytest.skip("cohere is installed")
    with pytest.raises(ModelError) as caught:
        await tail(open_models, "", provider="cohere", name="x").call(
            prompt([user(1, "Hi")]), REQUEST, print
        )
    assert caught.value.kind == "invalid"
    assert "pydantic-ai-slim[cohere]" in caught.value.hint


def test_without_the_extra_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(longtail, "find_spec", lambda name: None)
    assert not knows("cohere")
    with pytest.raises(ConfigError) as caught:
        LongTail(ModelSpec(provider="cohere", name="x"), Http())
    assert "pip install 'perdure[providers]'" in str(caught.value)


def test_an_unknown_provider_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="acme"):
        LongTail(ModelSpec(provider="acme", name="x"), Http())
    assert knows("bedrock")
    assert knows("google-cloud")
    assert not knows("../providers/groq")
    assert not knows("")
    monkeypatch.setattr(longtail, "find_spec", lambda name: ModuleSpec(name, None))
    assert not knows("bedrock")
