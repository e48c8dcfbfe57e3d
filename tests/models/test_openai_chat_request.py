"""What is sent to a Chat Completions server."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

from perdure.kernel.errors import ConfigError
from perdure.kernel.events import ArtifactId, CallId, Image, Native, Text, Thinking, ToolCall
from perdure.kernel.prompt import AssistantItem, Item, Prefix, ResultsItem
from perdure.models.openai_chat import OpenAIChat
from perdure.models.spec import ModelSpec
from perdure.models.wire import Http

from .openai_help import PICTURE, accepted, body_of, call, history, prompt, result, user


def adapter(provider: str = "openai-chat", name: str = "gpt-5", **more: Any) -> OpenAIChat:
    return OpenAIChat(ModelSpec(provider=provider, name=name, **more), Http())


def native(message: dict[str, Any]) -> Native:
    return Native(format="openai-chat", body=msgspec.Raw(json.dumps(message).encode()))


def test_a_history_becomes_messages_in_order() -> None:
    body = body_of(adapter(), prompt(history(), tail="It is Monday."))
    assert [m["role"] for m in body["messages"]] == [
        *("system", "user", "assistant", "tool", "tool", "user", "assistant", "user", "user")
    ]
    system, asked, reply, failed, seen, pictures, *_, tail = body["messages"]
    assert system["content"] == "Be brief."
    assert asked["content"][0] == {"type": "text", "text": "What is in here? Grüße 👋"}
    assert asked["content"][1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert reply["content"] == "Looking."
    assert json.loads(reply["tool_calls"][1]["function"]["arguments"]) == {"path": "b.png"}
    assert "Let me look." not in json.dumps(reply)
    assert failed == {
        "role": "tool",
        "tool_call_id": "call_1",
        "content": "[error] no such file",
    }
    assert seen["content"].startswith("a picture")
    assert pictures["content"][1]["type"] == "image_url"
    assert tail == {"role": "user", "content": "It is Monday."}
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_openais_own_types_accept_the_request() -> None:
    body = body_of(
        adapter(max_output_tokens=100, temperature=0.5, effort="low"),
        prompt(history(), tail="It is Monday.", tools=False),
    )
    assert accepted(CompletionCreateParamsStreaming, body) == body


def test_what_was_sent_once_is_sent_again_to_the_byte() -> None:
    model = adapter()
    items = history()
    first = b"".join(model.request(prompt(items[:3], tail="one"))[1])
    second = b"".join(model.request(prompt(items, tail="two"))[1])
    assert second.startswith(first[: first.index(b',{"role":"user","content":"one"}')])


def test_items_are_encoded_once() -> None:
    read: list[Image] = []

    class Counting(type(prompt([]).images)):  # type: ignore[misc]
        def read_image(self, image: Image) -> bytes:
            read.append(image)
            return b"x"

    model = adapter()
    items = history()
    for n in range(1, len(items) + 1):
        model.request(prompt(items[:n], images=Counting()))
    assert len(read) == 2


def test_a_native_message_goes_back_to_the_byte() -> None:
    message = {"role": "assistant", "content": None, "reasoning": "é", "x": 1.50}
    raw = json.dumps(message, ensure_ascii=True).encode()
    item = AssistantItem(
        seq=1,
        parts=(Thinking(text="é"), Text(text="neutral")),
        native=Native(format="openai-chat", body=msgspec.Raw(raw)),
    )
    assert raw in b"".join(adapter().request(prompt([user(0, "a"), item]))[1])


def test_another_providers_reply_is_encoded_from_its_parts_without_its_thinking() -> None:
    item = AssistantItem(
        seq=1,
        parts=(Thinking(text="secret"), Text(text="Hi")),
        native=Native(format="anthropic", body=msgspec.Raw(b'{"signature":"s"}')),
    )
    (reply,) = body_of(adapter(), prompt([item]))["messages"][1:]
    assert reply == {"role": "assistant", "content": "Hi"}


def test_a_reply_of_nothing_but_foreign_thinking_leaves_no_message() -> None:
    only = AssistantItem(seq=1, parts=(Thinking(text="x"),))
    body = body_of(adapter(), prompt([user(0, "a"), only, user(2, "b")]))
    assert [m["role"] for m in body["messages"]] == ["system", "user", "user"]


def test_images_that_are_gone_are_said_to_be() -> None:
    gone = Image(media_type="image/png", artifact=ArtifactId("gone.png"))
    (_, message) = body_of(adapter(), prompt([user(1, gone)]))["messages"]
    assert "can no longer be read" in message["content"][0]["text"]


def test_empty_results_say_something() -> None:
    item = ResultsItem(
        seq=1, results=(result("a", 1), result("b", 1, status="denied"), result("c", 1, PICTURE))
    )
    messages = body_of(adapter(), prompt([item]))["messages"][1:]
    assert [m["content"] for m in messages[:2]] == ["(no output)", "[denied]"]
    assert messages[2]["content"] == "[1 image(s) of this result follow below]"


def test_withdrawn_tools_stay_in_the_cached_prefix_where_the_server_allows() -> None:
    body = body_of(adapter(), prompt(history(), tools=False))
    assert body["tool_choice"] == "none"
    assert body["tools"]
    assert "tools" not in body_of(adapter("ollama", "qwen3"), prompt(history(), tools=False))


def test_no_prefix_means_no_system_message_and_no_tools() -> None:
    body = body_of(adapter(), prompt([user(1, "a")], prefix=Prefix(system="")))
    assert body["messages"] == [{"role": "user", "content": "a"}]
    assert "tools" not in body


def test_a_new_prefix_replaces_the_old_one() -> None:
    model = adapter()
    model.request(prompt([]))
    body = body_of(model, prompt([], prefix=Prefix(system="New.", digest="d2")))
    assert body["messages"][0]["content"] == "New."


def test_extra_fields_stand_over_ours() -> None:
    body = body_of(
        adapter(temperature=1.0, extra={"temperature": 0.1, "top_p": 0.5}), prompt([user(1, "a")])
    )
    assert (body["temperature"], body["top_p"]) == (0.1, 0.5)


@pytest.mark.parametrize(
    ("provider", "name", "base_url", "expected"),
    [
        ("openai-chat", "gpt-5", "", {"max_completion_tokens": 9, "reasoning_effort": "low"}),
        ("ollama", "qwen3", "", {"max_tokens": 9, "reasoning_effort": "low"}),
        ("acme", "x", "http://127.0.0.1:8000/v1", {"max_tokens": 9, "reasoning_effort": "low"}),
        (
            "acme",
            "x",
            "https://acme.openai.azure.com/openai/v1",
            {"max_completion_tokens": 9},
        ),
        ("openrouter", "z/y", "", {"max_tokens": 9, "reasoning": {"effort": "low"}}),
        ("mistral", "mistral-large-latest", "", {"max_tokens": 9, "stream_options": None}),
    ],
)
def test_servers_get_the_names_they_know(
    provider: str, name: str, base_url: str, expected: dict[str, Any]
) -> None:
    model = adapter(provider, name, base_url=base_url, max_output_tokens=9, effort="low")
    body = body_of(model, prompt([user(1, "a")]))
    assert {k: body.get(k) for k in expected} == expected


def test_a_provider_nobody_knows_needs_an_address() -> None:
    with pytest.raises(ConfigError, match="base_url"):
        adapter("acme", "x")


def test_mistral_gets_ids_of_nine_letters_the_same_in_call_and_result() -> None:
    spoken = native(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "toolu_01ABC",
                    "type": "function",
                    "function": {"name": "read", "arguments": "{}"},
                }
            ],
        }
    )
    items: list[Item] = [
        AssistantItem(seq=1, parts=(call("toolu_01ABC", "a"),), native=spoken),
        ResultsItem(seq=2, results=(result("toolu_01ABC", 2, "x"),)),
        AssistantItem(seq=3, parts=(call("abcdefgh1", "a"),)),
    ]
    _, first, answer, own = body_of(adapter("mistral", "m"), prompt(items))["messages"]
    id = first["tool_calls"][0]["id"]
    assert len(id) == 9
    assert id.isalnum()
    assert answer["tool_call_id"] == id
    assert own["tool_calls"][0]["id"] == "abcdefgh1"


def test_deepseek_finds_the_field_it_demands_on_calls_of_other_models() -> None:
    items: list[Item] = [AssistantItem(seq=1, parts=(call("a", "x"),))]
    for model in (adapter("deepseek", "deepseek-chat"), adapter("openrouter", "deepseek/v4")):
        (_, message) = body_of(model, prompt(items))["messages"]
        assert message["reasoning_content"] == ""
    (_, message) = body_of(adapter(), prompt(items))["messages"]
    assert "reasoning_content" not in message


def test_claude_behind_openrouter_is_told_where_to_cache_and_history_stays_as_it_was() -> None:
    model = adapter("openrouter", "anthropic/claude-sonnet-4.5")
    items = history()
    mark = {"type": "ephemeral"}
    first = body_of(model, prompt(items[:3], tail="now"))["messages"]
    assert first[0]["content"] == [{"type": "text", "text": "Be brief.", "cache_control": mark}]
    assert first[-2]["content"][-1]["cache_control"] == mark
    second = body_of(model, prompt(items, tail="now"))["messages"]
    assert second[-2]["content"] == [{"type": "text", "text": "Thanks.", "cache_control": mark}]
    assert json.dumps(second).count("cache_control") == 2
    results = body_of(model, prompt([ResultsItem(seq=1, results=(result("a", 1, "x"),))]))
    assert results["messages"][-1]["content"][0]["cache_control"] == mark


def test_lone_surrogates_never_reach_the_wire() -> None:
    item = AssistantItem(
        seq=1,
        parts=(
            Text(text="a\ud800"),
            ToolCall(id=CallId("a"), name="t", arguments={"x": "\udc00"}),
        ),
    )
    raw = b"".join(adapter().request(prompt([user(1, "b\ud83d"), item]))[1])
    assert json.loads(raw.decode())["messages"][2]["content"] == "a�"


def test_the_key_is_a_bearer_token_and_absent_where_there_is_none() -> None:
    assert adapter().headers("k")["authorization"] == "Bearer k"
    assert "authorization" not in adapter().headers("")
