"""Our bodies against the types of the official SDK, and against what pydantic-ai sends."""

from __future__ import annotations

import base64
import json
from typing import Any

from google.genai import Client, types
from pydantic_ai import messages as pai
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.google import GoogleModel, GoogleModelSettings
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.tools import ToolDefinition

from perdure.kernel.events import Text, Thinking
from perdure.kernel.prompt import AssistantItem, Item, ResultsItem
from perdure.models.gemini import Gemini
from perdure.models.reply import native
from perdure.models.spec import ModelSpec
from perdure.models.wire import Http

from .openai_help import (
    PICTURE,
    PNG,
    PREFIX,
    Answer,
    body_of,
    call,
    history,
    playing,
    prompt,
    result,
    user,
)

NAME = "gemini-3-flash-preview"
SIGNATURE = base64.b64encode(b"signed by the provider").decode()
SAID = {
    "role": "model",
    "parts": [
        {"text": "Let me look.", "thought": True},
        {"text": "Looking."},
        {
            "functionCall": {"id": "call_1", "name": "read", "args": {"path": "a.txt"}},
            "thoughtSignature": SIGNATURE,
        },
        {"functionCall": {"id": "call_2", "name": "read", "args": {"path": "b.png"}}},
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
            native=native("gemini", json.dumps(SAID).encode()),
        ),
        ResultsItem(
            seq=4,
            results=(
                result("call_1", 3, "no such file", status="error"),
                result("call_2", 4, "a picture", PICTURE),
            ),
        ),
        AssistantItem(seq=5, parts=(Text(text="One pixel."), call("call_3", "c"))),
        ResultsItem(seq=6, results=(result("call_3", 6, "text"),)),
        user(7, "Thanks."),
    ]


def same_for_pydantic_ai() -> list[pai.ModelMessage]:
    image = pai.BinaryContent(data=PNG, media_type="image/png")
    signed = {"thought_signature": SIGNATURE}
    return [
        pai.ModelRequest(
            parts=[
                pai.SystemPromptPart("Be brief."),
                pai.UserPromptPart(["What is in here? 👋", image]),
            ]
        ),
        pai.ModelResponse(
            parts=[
                pai.ThinkingPart("Let me look.", provider_name="google"),
                pai.TextPart("Looking."),
                pai.ToolCallPart(
                    "read",
                    {"path": "a.txt"},
                    "call_1",
                    provider_name="google",
                    provider_details=signed,
                ),
                pai.ToolCallPart("read", {"path": "b.png"}, "call_2"),
            ],
            provider_name="google",
            model_name=NAME,
        ),
        pai.ModelRequest(
            parts=[
                pai.ToolReturnPart("read", "no such file", "call_1", outcome="failed"),
                pai.ToolReturnPart("read", ["a picture", image], "call_2"),
            ]
        ),
        pai.ModelResponse(
            parts=[
                pai.TextPart("One pixel."),
                pai.ToolCallPart("read", {"path": "c"}, "call_3"),
            ]
        ),
        pai.ModelRequest(
            parts=[pai.ToolReturnPart("read", "text", "call_3"), pai.UserPromptPart("Thanks.")]
        ),
    ]


def known(body: dict[str, Any]) -> None:
    """Raises if the SDK's types do not know a field of the body; they forbid unknown ones."""
    for content in [*body["contents"], body["systemInstruction"]]:
        types.Content.model_validate(content)
    for tool in body["tools"]:
        types.Tool.model_validate(tool)
    if config := body.get("toolConfig"):
        types.ToolConfig.model_validate(config)
    types.GenerationConfig.model_validate(body.get("generationConfig", {}))


def test_the_sdks_types_know_every_field_we_send() -> None:
    for name in ("gemini-2.5-flash", NAME, "gemini-4-argon"):
        for more in ({}, {"effort": "low"}, {"temperature": 0.5, "max_output_tokens": 5_000}):
            adapter = Gemini(ModelSpec(provider="gemini", name=name, **more), Http())  # type: ignore[arg-type]
            for items in (signed_history(), history()):
                known(body_of(adapter, prompt(items)))
                known(body_of(adapter, prompt(items, tools=False, tail="It is ten.")))


async def theirs() -> dict[str, Any]:
    reply = {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "x"}]}, "finishReason": "STOP"}
        ],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1},
    }
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
    settings = GoogleModelSettings(max_tokens=5_000, temperature=0.5)
    async with playing(Answer([json.dumps(reply).encode()], type="application/json")) as server:
        options = types.HttpOptions(base_url=server.url.removesuffix("/v1"))
        client = Client(api_key="k", http_options=options)
        model = GoogleModel(NAME, provider=GoogleProvider(client=client))
        await model.request(same_for_pydantic_ai(), settings, parameters)
        return server.bodies[0]


def plain(contents: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """(role, part) of all parts. Neither how parts of one role are spread over contents matters, nor
    the key under which a result stands, nor the alphabet of base64."""
    made = []
    for content in contents:
        for part in content["parts"]:
            seen = types.Part.model_validate(part).model_dump(exclude_none=True)
            seen.pop("video_metadata", None)
            response = seen.get("function_response")
            if response is not None:
                answer = response["response"]
                response["response"] = {
                    "error" if "error" in answer else "said": " ".join(map(str, answer.values()))
                }
            if "thought_signature" in seen and b"signed" not in seen["thought_signature"]:
                seen["thought_signature"] = b"the placeholder"
            made.append((content["role"], seen))
    return made


async def test_pydantic_ai_sends_the_same_for_the_same_history() -> None:
    spec = ModelSpec(provider="gemini", name=NAME, max_output_tokens=5_000, temperature=0.5)
    ours = body_of(Gemini(spec, Http()), prompt(signed_history()))
    other = await theirs()
    assert plain(ours["contents"]) == plain(other["contents"])
    assert [c["role"] for c in ours["contents"]] == [c["role"] for c in other["contents"]]
    assert ours["systemInstruction"]["parts"] == other["systemInstruction"]["parts"]
    (mine,), (their,) = (body["tools"][0]["functionDeclarations"] for body in (ours, other))
    assert mine["name"] == their["name"] and mine["description"] == their["description"]
    for field in ("temperature", "maxOutputTokens"):
        assert ours["generationConfig"][field] == other["generationConfig"][field]
