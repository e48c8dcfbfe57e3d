"""Our bodies against the types of the official SDK, and against what pydantic-ai sends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from anthropic.types.beta.message_create_params import (
    MessageCreateParamsStreaming as BetaParams,
)
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from pydantic_ai import messages as pai
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.anthropic import AnthropicModel, AnthropicModelSettings
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.tools import ToolDefinition

from perdure.kernel.events import Text, Thinking
from perdure.kernel.prompt import AssistantItem, Item, ResultsItem
from perdure.models.anthropic import Anthropic
from perdure.models.reply import native
from perdure.models.spec import ModelSpec
from perdure.models.wire import Http

from .openai_help import (
    PICTURE,
    PNG,
    PREFIX,
    Answer,
    accepted,
    body_of,
    call,
    playing,
    prompt,
    result,
    user,
)

NAME = "claude-sonnet-4-6"
SAID = {
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "Let me look.", "signature": "c2lnbmVk"},
        {"type": "redacted_thinking", "data": "aGlkZGVu"},
        {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "call_1", "name": "read", "input": {"path": "a.txt"}},
        {"type": "tool_use", "id": "call_2", "name": "read", "input": {"path": "b.png"}},
    ],
}


def signed_history() -> list[Item]:
    return [
        user(1, "What is in here? 👋", PICTURE),
        AssistantItem(
            seq=2,
            parts=(
                Thinking(text="Let me look."),
                Text(text="Looking."),
                call("call_1", "a.txt"),
                call("call_2", "b.png"),
            ),
            native=native("anthropic", json.dumps(SAID).encode()),
        ),
        ResultsItem(
            seq=4,
            results=(
                result("call_1", 3, "no such file", status="error"),
                result("call_2", 4, "a picture", PICTURE),
            ),
        ),
        AssistantItem(seq=5, parts=(Text(text="One pixel."),)),
        user(6, "Thanks."),
    ]


def same_for_pydantic_ai() -> list[pai.ModelMessage]:
    image = pai.BinaryContent(data=PNG, media_type="image/png")
    ours: dict[str, Any] = {"provider_name": "anthropic"}
    return [
        pai.ModelRequest(
            parts=[
                pai.SystemPromptPart("Be brief."),
                pai.UserPromptPart(["What is in here? 👋", image]),
            ]
        ),
        pai.ModelResponse(
            parts=[
                pai.ThinkingPart("Let me look.", signature="c2lnbmVk", **ours),
                pai.ThinkingPart("", id="redacted_thinking", signature="aGlkZGVu", **ours),
                pai.TextPart("Looking."),
                pai.ToolCallPart("read", {"path": "a.txt"}, "call_1"),
                pai.ToolCallPart("read", {"path": "b.png"}, "call_2"),
            ],
            provider_name="anthropic",
            model_name=NAME,
        ),
        pai.ModelRequest(
            parts=[
                pai.ToolReturnPart("read", "no such file", "call_1", outcome="failed"),
                pai.ToolReturnPart("read", ["a picture", image], "call_2"),
            ]
        ),
        pai.ModelResponse(parts=[pai.TextPart("One pixel.")]),
        pai.ModelRequest(parts=[pai.UserPromptPart("Thanks.")]),
    ]


def bodies() -> list[dict[str, Any]]:
    made = []
    for name in ("claude-3-5-haiku-latest", "claude-sonnet-4-5", NAME, "claude-opus-4-8"):
        for more in ({}, {"effort": "low"}, {"temperature": 0.5, "max_output_tokens": 5_000}):
            adapter = Anthropic(ModelSpec(provider="anthropic", name=name, **more), Http())  # type: ignore[arg-type]
            for given in (
                prompt(signed_history()),
                prompt(signed_history(), tools=False, tail="It is ten."),
            ):
                made.append(body_of(adapter, given))
    return made


def test_the_sdks_types_know_every_field_we_send() -> None:
    for body in bodies():
        # Older models still take a temperature; the types follow the current ones, which do not.
        body.pop("temperature", None)
        assert accepted(MessageCreateParamsStreaming, body) == body


def test_the_sdks_types_know_how_stale_thinking_is_dropped() -> None:
    adapter = Anthropic(ModelSpec(provider="anthropic", name="claude-opus-5-5"), Http())
    body = body_of(adapter, prompt(signed_history(), revision=1))
    assert "block_binding" in body["thinking"]
    assert accepted(BetaParams, body) == body


async def theirs(settings: AnthropicModelSettings, parameters: ModelRequestParameters) -> Any:
    answer = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": NAME,
        "content": [{"type": "text", "text": "x"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    reply = Answer([json.dumps(answer).encode()], type="application/json")
    async with playing(reply) as server:
        base = server.url.removesuffix("/v1")
        client = AsyncAnthropic(api_key="k", base_url=base, max_retries=0)
        model = AnthropicModel(NAME, provider=AnthropicProvider(anthropic_client=client))
        await model.request(same_for_pydantic_ai(), settings, parameters)
        await client.close()
        return server.bodies[0]


def plain(value: Any) -> Any:
    """Without cache marks, and with short forms written out."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    if not isinstance(value, dict):
        return value
    made = {k: plain(v) for k, v in value.items() if k != "cache_control"}
    holds = "role" in made or made.get("type") == "tool_result"
    if holds and isinstance(content := made.get("content"), str):
        made["content"] = [{"type": "text", "text": content}]
    if made.get("type") == "tool_result" and not made.get("is_error"):
        made.pop("is_error", None)
    return made


async def test_pydantic_ai_sends_the_same_for_the_same_history() -> None:
    adapter = Anthropic(
        ModelSpec(provider="anthropic", name=NAME, max_output_tokens=5_000, temperature=0.5),
        Http(),
    )
    ours = body_of(adapter, prompt(signed_history()))
    (tool,) = PREFIX.tools
    parameters = ModelRequestParameters(
        function_tools=[
            ToolDefinition(
                name=tool.name,
                description=tool.description,
                parameters_json_schema=tool.parameters,  # type: ignore[arg-type]
            )
        ]
    )
    settings = AnthropicModelSettings(max_tokens=5_000, temperature=0.5)
    other = await theirs(settings, parameters)
    assert plain(ours["messages"]) == plain(other["messages"])
    assert [t["input_schema"] for t in ours["tools"]] == [t["input_schema"] for t in other["tools"]]
    system = other["system"]
    assert plain(ours["system"])[0]["text"] == (
        system if isinstance(system, str) else system[0]["text"]
    )
    for field in ("model", "max_tokens", "temperature"):
        assert ours[field] == other[field]


@pytest.mark.parametrize("effort", ["low", "medium", "high"])
async def test_pydantic_ai_asks_for_effort_in_the_same_fields(effort: Any) -> None:
    from pydantic_ai.profiles.anthropic import anthropic_model_profile

    for name in ("claude-3-7-sonnet-latest", "claude-sonnet-4-5", NAME, "claude-sonnet-5-5"):
        profile: Any = anthropic_model_profile(name)
        adapter = Anthropic(ModelSpec(provider="anthropic", name=name, effort=effort), Http())
        body = body_of(adapter, prompt(signed_history()))
        adaptive = profile.get("anthropic_supports_adaptive_thinking", False)
        assert body["thinking"]["type"] == ("adaptive" if adaptive else "enabled")


def test_pydantic_ai_knows_the_same_of_every_current_model() -> None:
    from pydantic_ai.profiles.anthropic import anthropic_model_profile

    from perdure.models.claude import Claude

    for name in (
        *("claude-3-5-haiku-latest", "claude-3-7-sonnet-latest", "claude-sonnet-4-20250514"),
        *("claude-opus-4-1", "claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-5-20251101"),
        *("claude-sonnet-4-6", "claude-opus-4-7", "claude-opus-4-8", "claude-opus-5"),
        *("claude-sonnet-5", "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"),
        *("claude-fable-5", "claude-fable-5-1", "claude-fable-5-2"),
        *("claude-mythos-5", "claude-mythos-5-1", "claude-mythos-5-2"),
    ):
        profile: Any = anthropic_model_profile(name)
        claude = Claude(name)
        assert claude.adaptive == profile.get("anthropic_supports_adaptive_thinking", False), name
        assert claude.binds == profile.get("anthropic_binds_thinking_blocks", False), name
        refuses = profile.get("anthropic_disallows_sampling_settings", False)
        assert claude.samples == (not refuses), name
        most = profile.get("anthropic_max_output_tokens") or 8_192
        assert claude.max_tokens <= most, name
