"""Both OpenAI protocols against aimock, a model server that nobody here wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from perdure.kernel.errors import ModelError
from perdure.kernel.events import AnyDelta, Text, Thinking, ToolCall
from perdure.kernel.prompt import AssistantItem, Item, Reply, ResultsItem
from perdure.models.openai_chat import OpenAIChat
from perdure.models.openai_responses import OpenAIResponses
from perdure.models.spec import ModelSpec
from perdure.models.wire import Http

from .aimock import Aimock, aimock
from .openai_help import REQUEST, prompt, result, shown, user

READS = [
    {"id": "call_a", "name": "read", "arguments": '{"path":"a.txt"}'},
    {"id": "call_b", "name": "read", "arguments": '{"path":"b.txt"}'},
]
FIXTURES: list[dict[str, Any]] = [
    {
        "match": {"userMessage": "tidy", "hasToolResult": False},
        "response": {"content": "Let me look.", "toolCalls": READS},
    },
    {
        "match": {"userMessage": "tidy", "toolResultContains": "of call_b"},
        "response": {"toolCalls": [{"id": "call_c", "name": "read", "arguments": "{}"}]},
    },
    {
        "match": {"userMessage": "tidy", "toolResultContains": "of call_c"},
        "response": {
            "content": "All tidy. Grüße 👋",
            "reasoning": "Nothing is left.",
            "usage": {
                "prompt_tokens": 30,
                "completion_tokens": 5,
                "total_tokens": 35,
                "input_tokens": 30,
                "output_tokens": 5,
            },
        },
    },
    {
        "match": {"userMessage": "hurry"},
        "response": {
            "error": {"message": "Slow down.", "code": "rate_limit_exceeded"},
            "status": 429,
            "retryAfter": 7,
        },
    },
    {
        "match": {"userMessage": "break"},
        "response": {"error": {"message": "Broken.", "type": "server_error"}, "status": 500},
    },
    {
        "match": {"userMessage": "cut"},
        "response": {"content": "A long answer of which only the beginning arrives. " * 8},
        "latency": 5,
        "chunkSize": 10,
        "truncateAfterChunks": 6,
    },
]
ADAPTERS = [OpenAIChat, OpenAIResponses]
Adapter = type[OpenAIChat] | type[OpenAIResponses]


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    with aimock(tmp_path_factory.mktemp("aimock"), FIXTURES) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    http = Http()
    yield http
    await http.close()


async def ask(
    make: Adapter, url: str, http: Http, items: list[Item], **more: Any
) -> tuple[Reply, list[AnyDelta]]:
    spec = ModelSpec(
        provider="openai-chat", name="gpt-5", base_url=url, api_key=lambda: "k", **more
    )
    deltas: list[AnyDelta] = []
    model = make(spec, http)
    return await model.call(prompt(items), REQUEST, deltas.append), deltas


def spoken(reply: Reply, seq: int) -> AssistantItem:
    return AssistantItem(seq=seq, parts=reply.parts, native=reply.native)


def answered(reply: Reply, seq: int) -> ResultsItem:
    calls = [p.id for p in reply.parts if isinstance(p, ToolCall)]
    return ResultsItem(seq=seq, results=tuple(result(id, seq, f"of {id}") for id in calls))


@pytest.mark.parametrize("make", ADAPTERS)
async def test_several_rounds_of_tools_end_in_an_answer(
    mock: Aimock, http: Http, make: Adapter
) -> None:
    items: list[Item] = [user(1, "tidy")]
    first, deltas = await ask(make, f"{mock.url}/v1", http, items)
    assert first.parts[0] == Text(text="Let me look.")
    calls = [p for p in first.parts if isinstance(p, ToolCall)]
    assert [(c.id, c.arguments) for c in calls] == [
        ("call_a", {"path": "a.txt"}),
        ("call_b", {"path": "b.txt"}),
    ]
    assert first.stop == "tools"
    assert shown(deltas)["text"] == "Let me look."
    items += [spoken(first, 2), answered(first, 3)]
    second, _ = await ask(make, f"{mock.url}/v1", http, items)
    assert [p.id for p in second.parts if isinstance(p, ToolCall)] == ["call_c"]
    items += [spoken(second, 4), answered(second, 5)]
    last, _ = await ask(make, f"{mock.url}/v1", http, items)
    assert last.parts[-1] == Text(text="All tidy. Grüße 👋")
    assert [p for p in last.parts if isinstance(p, Thinking)] == [Thinking(text="Nothing is left.")]
    assert last.stop == "end"
    assert (last.usage.input, last.usage.output) == (30, 5)
    tail = "responses" if make is OpenAIResponses else "completions"
    body = [e["body"] for e in mock.journal() if e["path"].endswith(tail)][-1]
    sent = [m for m in body["messages"] if m["role"] == "tool"]
    assert [m["tool_call_id"] for m in sent] == ["call_a", "call_b", "call_c"]


@pytest.mark.parametrize("make", ADAPTERS)
async def test_being_rate_limited_says_for_how_long(
    mock: Aimock, http: Http, make: Adapter
) -> None:
    with pytest.raises(ModelError) as caught:
        await ask(make, f"{mock.url}/v1", http, [user(1, "hurry")])
    assert (caught.value.kind, caught.value.retry_after) == ("rate_limited", 7.0)


@pytest.mark.parametrize("make", ADAPTERS)
async def test_a_broken_server_is_one(mock: Aimock, http: Http, make: Adapter) -> None:
    with pytest.raises(ModelError) as caught:
        await ask(make, f"{mock.url}/v1", http, [user(1, "break")])
    assert (caught.value.kind, caught.value.status) == ("server", 500)


@pytest.mark.parametrize("make", ADAPTERS)
async def test_a_stream_cut_in_the_middle_keeps_what_came(
    mock: Aimock, http: Http, make: Adapter
) -> None:
    with pytest.raises(ModelError) as caught:
        await ask(make, f"{mock.url}/v1", http, [user(1, "cut")])
    assert caught.value.kind == "cut"
    assert caught.value.partial.startswith("A long") or make is OpenAIResponses
