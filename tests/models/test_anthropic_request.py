"""What is sent to the Messages API."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from perdure.kernel.errors import ConfigError
from perdure.kernel.events import ArtifactId, CallId, Image, RequestId, Text, ToolCall, ToolResult
from perdure.kernel.prompt import AssistantItem, CallResult, Item, Prefix, ResultsItem
from perdure.models.anthropic import Anthropic
from perdure.models.reply import native
from perdure.models.spec import ModelSpec
from perdure.models.wire import Http

from .openai_help import PICTURE, body_of, call, history, prompt, result, user

MARK = {"type": "ephemeral"}


def model(name: str = "claude-sonnet-4-5", **more: Any) -> Anthropic:
    return Anthropic(ModelSpec(provider="anthropic", name=name, **more), Http())


def marks(body: dict[str, Any]) -> list[tuple[int, int]]:
    return [
        (m, b)
        for m, message in enumerate(body["messages"])
        for b, block in enumerate(message["content"])
        if "cache_control" in block
    ]


def unmarked(body: dict[str, Any]) -> list[Any]:
    messages: list[Any] = json.loads(json.dumps(body["messages"]))
    for message in messages:
        for block in message["content"]:
            block.pop("cache_control", None)
    return messages


def test_a_history_becomes_messages() -> None:
    body = body_of(model(), prompt(history()))
    assert [m["role"] for m in body["messages"]] == [
        *("user", "assistant", "user", "assistant", "user")
    ]
    asked, said, results, *_ = body["messages"]
    assert asked["content"][1]["source"]["media_type"] == "image/png"
    # Thinking of another provider is not sent.
    assert [b["type"] for b in said["content"]] == ["text", "tool_use", "tool_use"]
    assert results["content"][0] == {
        "type": "tool_result",
        "tool_use_id": "call_1",
        "content": [{"type": "text", "text": "no such file"}],
        "is_error": True,
    }
    assert [b["type"] for b in results["content"][1]["content"]] == ["text", "image"]
    assert body["stream"] is True and body["max_tokens"] == 32_000
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": MARK}]
    assert body["tools"][0]["input_schema"]["required"] == ["path"]


def test_an_answer_of_ones_own_goes_back_to_the_byte() -> None:
    body = (
        b'{"role":"assistant","content":[{"type":"thinking","thinking":"\\u00e9",'
        b'"signature":"abc=="},{"type":"redacted_thinking","data":"xyz"},'
        b'{"type":"text","text":"Hi"}]}'
    )
    said = AssistantItem(seq=2, parts=(Text(text="Hi"),), native=native("anthropic", body))
    sent = b"".join(model().request(prompt([user(1, "Hello"), said, user(3, "So?")]))[1])
    assert body in sent


def test_an_answer_of_another_provider_is_written_anew() -> None:
    said = AssistantItem(
        seq=2,
        parts=(
            Text(text="Hi"),
            ToolCall(id=CallId("functions.read:0"), name="a tool", arguments={"n": 1}),
        ),
        native=native("openai-chat", b'{"role":"assistant"}'),
    )
    results = ResultsItem(
        seq=3,
        results=(CallResult(call="functions.read:0", tool="a tool", seq=3, result=ToolResult()),),
    )
    _, spoken, answered = body_of(model(), prompt([user(1, "Hi"), said, results]))["messages"]
    use = spoken["content"][1]
    assert (use["name"], use["input"]) == ("a_tool", {"n": 1})
    assert use["id"].replace("_", "").isalnum()
    assert answered["content"][0]["tool_use_id"] == use["id"]


def test_blank_text_is_never_sent() -> None:
    said = AssistantItem(seq=2, parts=(Text(text=" "),))
    silent = ResultsItem(seq=5, results=(result("c", 5, "", status="interrupted"),))
    items: list[Item] = [user(1, ""), said, user(3, "x", " "), silent]
    messages = body_of(model(), prompt(items))["messages"]
    assert [m["content"][0].get("text") for m in messages[:2]] == ["(nothing)", "x"]
    assert len(messages[1]["content"]) == 1
    assert messages[2]["content"][0]["content"][0]["text"] == "interrupted"


def test_the_end_of_this_request_and_of_the_last_one_are_marked() -> None:
    adapter = model()
    items: list[Item] = [user(1, "Go")]
    assert marks(body_of(adapter, prompt(items))) == [(0, 0)]
    items += [
        AssistantItem(seq=2, parts=(call("a", "x"), call("b", "y"))),
        ResultsItem(seq=3, results=(result("a", 3, "1"), result("b", 3, "2"))),
    ]
    assert marks(body_of(adapter, prompt(items))) == [(0, 0), (2, 1)]
    items += [
        AssistantItem(seq=4, parts=(call("c", "x"),)),
        ResultsItem(seq=5, results=(result("c", 5, "1"),)),
    ]
    body = body_of(adapter, prompt(items))
    assert marks(body) == [(2, 1), (4, 0)]
    assert marks(body_of(model(), prompt(items))) == [(4, 0)]
    # With the system prompt's that makes three of the four marks a request may carry.
    shorter: list[Item] = [user(9, "Summary"), items[-2], items[-1]]
    assert marks(body_of(adapter, prompt(shorter, revision=1))) == [(2, 0)]


def test_each_request_begins_with_the_one_before_it() -> None:
    adapter = model()
    items: list[Item] = [user(1, "Go")]
    before: list[Any] = []
    for seq in range(2, 200, 2):
        messages = unmarked(body_of(adapter, prompt(items)))
        assert messages[: len(before)] == before
        before = messages
        said = AssistantItem(seq=seq, parts=(call(f"c{seq}", "x" * 700),))
        items += [said, ResultsItem(seq=seq, results=(result(f"c{seq}", seq, "y" * 700),))]
    assert len(json.dumps(before)) > 130_000


async def test_a_tail_stays_where_the_model_saw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = model()
    replies = iter(range(100))
    sent: list[list[Any]] = []

    async def reply(self: Any, prompt: Any, request: Any, emit: Any) -> Any:
        from perdure.kernel.prompt import Reply

        sent.append(unmarked(json.loads(b"".join(adapter.request(prompt)[1]))))
        text = f"answer {next(replies)}"
        block = {"role": "assistant", "content": [{"type": "text", "text": text}]}
        return Reply(
            model="m",
            parts=(Text(text=text),),
            stop="end",
            native=native("anthropic", json.dumps(block).encode()),
        )

    monkeypatch.setattr("perdure.models.adapter.Adapter.call", reply)

    async def turn(tail: str) -> None:
        said = await adapter.call(prompt(items, tail=tail), RequestId("r"), lambda delta: None)
        items.append(AssistantItem(seq=len(items), parts=said.parts, native=said.native))
        items.append(user(len(items), "and then?"))
        if len(sent) > 1:
            assert sent[-1][: len(sent[-2])] == sent[-2]

    def texts() -> list[str]:
        messages = body_of(adapter, prompt(items))["messages"]
        return [m["content"][0]["text"] for m in messages]

    items: list[Item] = [user(1, "Go")]
    await turn("It is ten.")
    await turn("It is ten.")
    await turn("It is eleven.")
    assert texts() == [
        *("Go", "It is ten.", "answer 0", "and then?", "answer 1", "and then?"),
        *("It is eleven.", "answer 2", "and then?"),
    ]
    # An answer that is not taken into the history takes its tail with it.
    await adapter.call(prompt(items, tail="Sum up."), RequestId("r"), lambda delta: None)
    assert "Sum up." not in texts()
    # A history that was changed has lost what was said in it.
    del items[1:]
    body = body_of(adapter, prompt(items, tail="It is eleven.", revision=1))
    assert body["messages"][-1]["content"][0]["text"] == "It is eleven."


def test_the_last_word_is_never_an_answer() -> None:
    items: list[Item] = [user(1, "Go"), AssistantItem(seq=2, parts=(Text(text="Half of"),))]
    assert body_of(model(), prompt(items))["messages"][-1]["role"] == "user"
    assert body_of(model(), prompt([]))["messages"][-1]["role"] == "user"


def test_tools_are_withdrawn_by_choice_so_that_the_prefix_stays() -> None:
    adapter = model()
    with_tools = body_of(adapter, prompt(history()))
    without = body_of(adapter, prompt(history(), tools=False))
    assert without.pop("tool_choice") == {"type": "none"}
    assert without["tools"] == with_tools["tools"]
    bare = Prefix(system="x", digest="bare")
    assert "tool_choice" not in body_of(model(), prompt(history(), tools=False, prefix=bare))


@pytest.mark.parametrize(
    ("name", "thinking", "effort", "beta"),
    [
        ("claude-3-5-haiku-latest", None, None, ""),
        ("claude-3-7-sonnet-20250219", 8_192 - 1_024, None, ""),
        ("claude-sonnet-4-20250514", 8_192 - 1_024, None, "interleaved-thinking-2025-05-14"),
        ("claude-sonnet-4-5", 16_384, None, "interleaved-thinking-2025-05-14"),
        ("claude-opus-4-6", "adaptive", "high", ""),
        ("claude-opus-4-8", "adaptive", "high", ""),
        ("claude-fable-5", "adaptive", "high", ""),
        ("claude-opus-5-5", "adaptive", "high", "thinking-binding-controls-2026-08-01"),
        ("anthropic.claude-haiku-5-5-v1:0", "adaptive", "high", "thinking-binding-controls-2026-08-01"),
        ("my-gateway/smart", "adaptive", "high", ""),
    ],
)  # fmt: skip
def test_effort_is_asked_for_as_the_model_takes_it(
    name: str, thinking: Any, effort: str | None, beta: str
) -> None:
    adapter = model(name, effort="high", temperature=0.3)
    body = body_of(adapter, prompt(history()))
    asked = body.get("thinking", {})
    if isinstance(thinking, int):
        assert asked == {"type": "enabled", "budget_tokens": thinking}
        assert thinking < body["max_tokens"]
    else:
        assert asked.get("type") == thinking
    assert body.get("output_config", {}).get("effort") == effort
    assert adapter.headers("").get("anthropic-beta", "") == beta
    # A temperature does not go with thinking, and current models take none at all.
    assert ("temperature" in body) == (thinking is None)


def test_without_effort_the_provider_decides() -> None:
    body = body_of(model("claude-opus-4-6", temperature=0.3), prompt(history()))
    assert "thinking" not in body and "output_config" not in body
    assert body["temperature"] == 0.3
    assert "temperature" not in body_of(model("claude-opus-5", temperature=0.3), prompt(history()))


def test_after_a_changed_history_stale_thinking_may_be_dropped() -> None:
    bound = {"prefix_mismatch_behavior": "drop_block"}
    adapter = model("claude-sonnet-5-5")
    assert "thinking" not in body_of(adapter, prompt(history()))
    body = body_of(adapter, prompt(history(), revision=1))
    assert body["thinking"] == {"type": "adaptive", "block_binding": bound}
    body = body_of(model("claude-sonnet-5-5", effort="low"), prompt(history(), revision=1))
    assert body["thinking"]["block_binding"] == bound
    assert body["thinking"]["display"] == "summarized"
    assert "thinking" not in body_of(model("claude-sonnet-5"), prompt(history(), revision=1))


def test_extra_fields_go_into_the_body_but_cannot_replace_the_conversation() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    adapter = model(extra={"metadata": {"user_id": "u"}, "max_tokens": 7, "tools": [search]})
    body = body_of(adapter, prompt(history()))
    assert body["metadata"] == {"user_id": "u"} and body["max_tokens"] == 7
    assert [t["name"] for t in body["tools"]] == ["read", "web_search"]
    with pytest.raises(ConfigError, match="messages"):
        model(extra={"messages": []})


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("", "https://api.anthropic.com/v1/messages"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/messages"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1/messages"),
        ("https://gw.example/anthropic", "https://gw.example/anthropic/v1/messages"),
    ],
)
def test_an_address_may_end_in_v1_or_not(base_url: str, url: str) -> None:
    assert model(base_url=base_url).request(prompt(history()))[0] == url


def test_an_image_that_cannot_be_sent_is_named() -> None:
    gone = Image(media_type="image/png", artifact=ArtifactId("gone.png"))
    odd = Image(media_type="image/tiff", artifact=ArtifactId("x.tiff"))
    (message,) = body_of(model(), prompt([user(1, gone, odd)]))["messages"]
    assert [b["type"] for b in message["content"]] == ["text", "text"]
    given = replace(prompt([user(1, PICTURE)]), images=None)
    (message,) = body_of(model(), given)["messages"]
    assert "image/png" in message["content"][0]["text"]
