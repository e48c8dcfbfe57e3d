"""What is sent to the Responses API."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

from perdure.kernel.events import Native, Text, Thinking
from perdure.kernel.prompt import AssistantItem, Prefix
from perdure.models.openai_responses import OpenAIResponses
from perdure.models.spec import ModelSpec
from perdure.models.wire import Http

from .openai_help import accepted, body_of, call, history, prompt, user


def adapter(name: str = "gpt-5", **more: Any) -> OpenAIResponses:
    return OpenAIResponses(ModelSpec(provider="openai", name=name, **more), Http())


REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "é"}],
    "encrypted_content": "gAAAAAB",
    "status": "completed",
}
SAID = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "phase": "commentary",
    "content": [{"type": "output_text", "text": "Looking.", "annotations": []}],
}
CALLED = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_9",
    "name": "read",
    "arguments": '{"path": "a.txt"}',
    "status": "completed",
}


def own() -> AssistantItem:
    body = msgspec.Raw(json.dumps([REASONING, SAID, CALLED]).encode())
    return AssistantItem(
        seq=9,
        parts=(Text(text="Looking."), call("call_9", "a.txt")),
        native=Native(format="openai-responses", body=body),
    )


def test_a_history_becomes_input_items_in_order() -> None:
    body = body_of(adapter(), prompt(history(), tail="It is Monday."))
    kinds = [i.get("type") or i["role"] for i in body["input"]]
    assert kinds == [
        *("user", "assistant", "function_call", "function_call"),
        *("function_call_output", "function_call_output", "assistant", "user", "user"),
    ]
    assert body["instructions"] == "Be brief."
    assert body["input"][0]["content"][1]["image_url"].startswith("data:image/png;base64,")
    assert body["input"][4]["output"] == "[error] no such file"
    assert [p["type"] for p in body["input"][5]["output"]] == ["input_text", "input_image"]
    assert "Let me look." not in json.dumps(body)
    assert body["input"][-1] == {"role": "user", "content": "It is Monday."}
    assert (body["store"], body["stream"]) == (False, True)
    assert body["include"] == ["reasoning.encrypted_content"]


def test_openais_own_types_accept_the_request() -> None:
    model = adapter(max_output_tokens=100, temperature=0.5, effort="low")
    body = body_of(model, prompt([*history(), own()], tail="It is Monday.", tools=False))
    assert accepted(ResponseCreateParamsStreaming, body) == body
    assert body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert body["tool_choice"] == "none"


def test_native_items_go_back_to_the_byte() -> None:
    raw = b"".join(adapter().request(prompt([user(0, "a"), own()]))[1])
    for item in (REASONING, SAID, CALLED):
        assert json.dumps(item).encode() in raw


def test_what_was_sent_once_is_sent_again_to_the_byte() -> None:
    model = adapter()
    items = [*history(), own()]
    first = b"".join(model.request(prompt(items[:3], tail="one"))[1])
    second = b"".join(model.request(prompt(items, tail="two"))[1])
    assert second.startswith(first[: first.index(b',{"role":"user","content":"one"}')])


def test_another_providers_reply_is_encoded_from_its_parts_without_its_thinking() -> None:
    item = AssistantItem(
        seq=1,
        parts=(Thinking(text="secret"), Text(text="Hi")),
        native=Native(format="openai-chat", body=msgspec.Raw(b"{}")),
    )
    only_thought = AssistantItem(seq=2, parts=(Thinking(text="secret"),))
    body = body_of(adapter(), prompt([only_thought, item]))
    assert body["input"] == [{"role": "assistant", "content": "Hi"}]


def test_no_prefix_means_no_instructions_and_no_tools() -> None:
    body = body_of(adapter(), prompt([user(1, "a")], prefix=Prefix(system="")))
    assert "instructions" not in body
    assert "tools" not in body


@pytest.mark.parametrize(
    ("name", "asked"),
    [("gpt-4.1", False), ("gpt-4o-mini", False), ("gpt-5.4", True), ("o4-mini", True)],
)
def test_models_that_do_not_reason_are_not_asked_for_reasoning(name: str, asked: bool) -> None:
    assert ("include" in body_of(adapter(name), prompt([user(1, "a")]))) is asked


def test_extra_fields_stand_over_ours() -> None:
    model = adapter(effort="high", extra={"reasoning": {"effort": "max"}, "prompt_cache_key": "k"})
    body = body_of(model, prompt([user(1, "a")]))
    assert body["reasoning"] == {"effort": "max"}
    assert body["prompt_cache_key"] == "k"
