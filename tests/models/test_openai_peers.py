"""The same history through pydantic-ai and the openai SDK under it: both must say the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from openai import AsyncOpenAI
from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.models.openrouter import OpenRouterModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openrouter import OpenRouterProvider
from pydantic_ai.tools import ToolDefinition

from perdure.kernel.prompt import AssistantItem, Item
from perdure.models.openai_chat import OpenAIChat
from perdure.models.openai_responses import OpenAIResponses
from perdure.models.spec import ModelSpec
from perdure.models.wire import Http

from .openai_help import (
    PNG,
    PREFIX,
    REQUEST,
    Answer,
    body_of,
    history,
    playing,
    prompt,
    sse,
    user,
)

DONE = sse({"choices": [{"delta": {"content": "ok"}, "finish_reason": "stop"}]})
OVER = sse({"type": "response.completed", "response": {"status": "completed", "output": []}})


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    http = Http()
    yield http
    await http.close()


def theirs() -> list[ModelMessage]:
    """What `history` holds, but for the image in a result, which each words in its own way."""
    return [
        ModelRequest(
            parts=[
                UserPromptPart(
                    content=[
                        "What is in here? Grüße 👋",
                        BinaryContent(data=PNG, media_type="image/png"),
                    ]
                )
            ]
        ),
        ModelResponse(
            parts=[
                TextPart(content="Looking."),
                ToolCallPart(tool_name="read", args={"path": "a.txt"}, tool_call_id="call_1"),
                ToolCallPart(tool_name="read", args={"path": "b.png"}, tool_call_id="call_2"),
            ]
        ),
        ModelRequest(
            parts=[
                ToolReturnPart(
                    tool_name="read", content="[error] no such file", tool_call_id="call_1"
                ),
                ToolReturnPart(tool_name="read", content="a picture", tool_call_id="call_2"),
            ]
        ),
        ModelResponse(parts=[TextPart(content="One pixel.")]),
        ModelRequest(parts=[UserPromptPart(content="Thanks.")], instructions=PREFIX.system),
    ]


async def sent_by_them(model: Model, messages: Sequence[ModelMessage]) -> ModelResponse:
    parameters = ModelRequestParameters(
        function_tools=[
            ToolDefinition(
                name=t.name, description=t.description, parameters_json_schema=t.parameters
            )
            for t in PREFIX.tools
        ]
    )
    async with model_request_stream(model, messages, model_request_parameters=parameters) as stream:
        async for _ in stream:
            pass
        return stream.get()


def client(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=url, api_key="k", max_retries=0)


def same_json(arguments: str) -> Any:
    return json.loads(arguments)


async def test_chat_messages_and_tools_are_those_of_pydantic_ai(http: Http) -> None:
    async with playing(Answer(DONE)) as server:
        peer = OpenAIChatModel("gpt-5", provider=OpenAIProvider(openai_client=client(server.url)))
        await sent_by_them(peer, theirs())
        body = server.bodies[0]
    ours = body_of(
        OpenAIChat(ModelSpec(provider="openai-chat", name="gpt-5"), http), prompt(history())
    )
    theirs_said, ours_said = body["messages"], ours["messages"]
    pictures = ours_said.pop(5)
    assert pictures["content"][1]["type"] == "image_url"
    ours_said[4]["content"] = "a picture"
    for message in (*theirs_said, *ours_said):
        for made in message.get("tool_calls", ()):
            made["function"]["arguments"] = same_json(made["function"]["arguments"])
    assert ours_said == theirs_said
    assert [t["function"]["name"] for t in ours["tools"]] == [
        t["function"]["name"] for t in body["tools"]
    ]
    assert ours["stream_options"] == body["stream_options"]


async def test_responses_input_is_that_of_pydantic_ai(http: Http) -> None:
    async with playing(Answer(OVER)) as server:
        peer = OpenAIResponsesModel(
            "gpt-5", provider=OpenAIProvider(openai_client=client(server.url))
        )
        await sent_by_them(peer, theirs())
        body = server.bodies[0]
    ours = body_of(
        OpenAIResponses(ModelSpec(provider="openai", name="gpt-5"), http), prompt(history())
    )
    assert ours["instructions"] == body["instructions"]
    assert ours["include"] == body["include"]
    assert ours["tools"][0]["parameters"]["properties"].keys() == (
        body["tools"][0]["parameters"]["properties"].keys()
    )
    ours["input"][5]["output"] = "a picture"
    for item in (*body["input"], *ours["input"]):
        if item.get("type") == "function_call":
            item["arguments"] = same_json(item["arguments"])
    assert [comparable(i) for i in ours["input"]] == [comparable(i) for i in body["input"]]


def comparable(item: dict[str, Any]) -> dict[str, Any]:
    """An item without what is optional and means the same when absent."""
    return {k: v for k, v in item.items() if k not in ("type", "status", "id") and v is not None}


CHAT_STREAM = sse(
    {"id": "g", "model": "m", "choices": [{"delta": {"role": "assistant", "content": ""}}]},
    {"id": "g", "choices": [{"delta": {"reasoning_content": "Let me "}}]},
    {"id": "g", "choices": [{"delta": {"reasoning_content": "look."}}]},
    {"id": "g", "choices": [{"delta": {"content": "Looking."}}]},
    {
        "id": "g",
        "choices": [
            {
                "delta": {
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "read", "arguments": '{"path":'},
                        }
                    ]
                }
            }
        ],
    },
    {
        "id": "g",
        "choices": [
            {
                "delta": {
                    "tool_calls": [
                        {"index": 0, "function": {"arguments": '"a.txt"}'}},
                        {
                            "index": 1,
                            "id": "call_2",
                            "type": "function",
                            "function": {"name": "read", "arguments": '{"path":"b.txt"}'},
                        },
                    ]
                }
            }
        ],
    },
    {"id": "g", "choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
)


async def both(http: Http, url: str, peer: Model, ours: Any) -> None:
    """Let both have the same reply, and send it back."""
    answer = await sent_by_them(peer, [ModelRequest(parts=[UserPromptPart(content="Hi")])])
    await sent_by_them(
        peer,
        [
            ModelRequest(parts=[UserPromptPart(content="Hi")]),
            answer,
            ModelRequest(parts=[UserPromptPart(content="Well?")]),
        ],
    )
    reply = await ours.call(prompt([user(1, "Hi")]), REQUEST, lambda delta: None)
    items: list[Item] = [
        user(1, "Hi"),
        AssistantItem(seq=2, parts=reply.parts, native=reply.native),
        user(3, "Well?"),
    ]
    await ours.call(prompt(items), REQUEST, lambda delta: None)


async def test_reasoning_and_calls_go_back_as_pydantic_ai_sends_them(http: Http) -> None:
    answers = [Answer(CHAT_STREAM), Answer(DONE)]
    async with playing(*answers, *answers) as server:
        peer = OpenAIChatModel(
            "deepseek-reasoner", provider=OpenAIProvider(openai_client=client(server.url))
        )
        spec = ModelSpec(provider="deepseek", name="deepseek-reasoner", base_url=server.url)
        await both(http, server.url, peer, OpenAIChat(spec, http))
    (theirs_back,) = [m for m in server.bodies[1]["messages"] if m["role"] == "assistant"]
    (ours_back,) = [m for m in server.bodies[3]["messages"] if m["role"] == "assistant"]
    assert ours_back == theirs_back
    assert ours_back["reasoning_content"] == "Let me look."


async def test_reasoning_details_go_back_as_pydantic_ai_sends_them(http: Http) -> None:
    text = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    chunks: list[dict[str, Any]] = [
        {"reasoning": "Let ", "reasoning_details": [{**text, "text": "Let "}]},
        {"reasoning": "me.", "reasoning_details": [{**text, "text": "me."}]},
        {"reasoning_details": [{**text, "signature": "sig"}]},
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "toolu_1",
                    "type": "function",
                    "function": {"name": "read", "arguments": '{"path":"x"}'},
                }
            ]
        },
    ]
    common = {"id": "g", "provider": "Anthropic", "model": "m", "object": "chat.completion.chunk"}
    stream = sse(
        *(
            {**common, "created": 1, "choices": [{"index": 0, "delta": c, "finish_reason": None}]}
            for c in chunks
        ),
        {
            **common,
            "created": 1,
            "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "tool_calls"}],
        },
    )
    over = sse(
        {
            **common,
            "created": 1,
            "choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}],
        }
    )
    answers = [Answer(stream), Answer(over)]
    name = "anthropic/claude-sonnet-4.5"
    async with playing(*answers, *answers) as server:
        peer = OpenRouterModel(name, provider=OpenRouterProvider(openai_client=client(server.url)))
        spec = ModelSpec(provider="openrouter", name=name, base_url=server.url)
        await both(http, server.url, peer, OpenAIChat(spec, http))
    (theirs_back,) = [m for m in server.bodies[1]["messages"] if m["role"] == "assistant"]
    (ours_back,) = [m for m in server.bodies[3]["messages"] if m["role"] == "assistant"]
    (detail,) = [
        {k: v for k, v in d.items() if v is not None} for d in theirs_back["reasoning_details"]
    ]
    assert ours_back["reasoning_details"] == [detail]
    assert ours_back["tool_calls"] == theirs_back["tool_calls"]


async def test_encrypted_reasoning_and_phases_go_back_as_pydantic_ai_sends_them(
    http: Http,
) -> None:
    output: list[dict[str, Any]] = [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "encrypted_content": "gAAA",
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "phase": "commentary",
            "content": [
                {"type": "output_text", "text": "Looking.", "annotations": [], "logprobs": []}
            ],
        },
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "read",
            "arguments": '{"path":"a.txt"}',
            "status": "completed",
        },
    ]
    usage = {
        "input_tokens": 1,
        "output_tokens": 1,
        "total_tokens": 2,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    response = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-5.4",
        "status": "completed",
        "output": output,
        "usage": usage,
        "error": None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    added = [{**output[0], "summary": []}, {**output[1], "content": []}, output[2]]
    added[2] = {**output[2], "arguments": ""}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, "output": []}}
    ]
    for place, item in enumerate(output):
        at = {"output_index": place, "item_id": item["id"]}
        events.append({"type": "response.output_item.added", "item": added[place], **at})
        if place == 0:
            events += [
                {
                    "type": "response.reasoning_summary_part.added",
                    "summary_index": 0,
                    "part": {"type": "summary_text", "text": ""},
                    **at,
                },
                {
                    "type": "response.reasoning_summary_text.delta",
                    "summary_index": 0,
                    "delta": "Hm.",
                    **at,
                },
            ]
        elif place == 1:
            events += [
                {
                    "type": "response.content_part.added",
                    "content_index": 0,
                    "part": {"type": "output_text", "text": "", "annotations": []},
                    **at,
                },
                {
                    "type": "response.output_text.delta",
                    "content_index": 0,
                    "delta": "Looking.",
                    "logprobs": [],
                    **at,
                },
            ]
        else:
            events.append(
                {
                    "type": "response.function_call_arguments.delta",
                    "delta": item["arguments"],
                    **at,
                }
            )
        events.append({"type": "response.output_item.done", "item": item, **at})
    events.append({"type": "response.completed", "response": response})
    numbered = [{**e, "sequence_number": n} for n, e in enumerate(events)]
    over = [{"type": "response.completed", "sequence_number": 0, "response": response}]
    answers = [Answer(sse(*numbered, done=False)), Answer(sse(*over, done=False))]
    async with playing(*answers, *answers) as server:
        peer = OpenAIResponsesModel(
            "gpt-5.4", provider=OpenAIProvider(openai_client=client(server.url))
        )
        spec = ModelSpec(provider="openai", name="gpt-5.4", base_url=server.url)
        await both(http, server.url, peer, OpenAIResponses(spec, http))
    theirs_back = server.bodies[1]["input"]
    ours_back = server.bodies[3]["input"]
    assert ours_back[1:4] == output
    assert [comparable(i) for i in theirs_back[1:4]] == [
        comparable({**i, **shorn(i)}) for i in output
    ]
    assert [i.get("role") for i in ours_back] == [i.get("role") for i in theirs_back]


def shorn(item: dict[str, Any]) -> dict[str, Any]:
    """What pydantic-ai leaves out of a text it sends back."""
    if item["type"] != "message":
        return {}
    return {"content": [{k: v for k, v in p.items() if k != "logprobs"} for p in item["content"]]}
