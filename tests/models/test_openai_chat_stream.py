"""What a Chat Completions stream is folded into, of OpenAI's own and of sloppier servers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perdure.kernel.errors import ModelError
from perdure.kernel.events import AnyDelta, Text, Thinking, ToolCall, Usage
from perdure.kernel.prompt import Reply
from perdure.models.openai_chat import OpenAIChat
from perdure.models.openai_chat_stream import ChatStream, cost_of, usage_of
from perdure.models.reply import Draft

from .openai_help import REQUEST, shown


def fold(*chunks: dict[str, Any] | bytes, done: bool = True) -> tuple[Reply, list[AnyDelta]]:
    deltas: list[AnyDelta] = []
    draft = Draft("m", REQUEST, deltas.append)
    stream = ChatStream(draft, "acme")
    for chunk in chunks:
        stream.take("", chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode())
    if done:
        stream.take("", b"[DONE]")
        assert stream.done
    return draft.finish(stream.native, lambda usage: None, mends=OpenAIChat.mends), deltas


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"model": "m-1", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def piece(arguments: Any = None, **more: Any) -> dict[str, Any]:
    """One tool-call delta."""
    function = {k: more.pop(k) for k in ("name",) if k in more}
    if arguments is not None:
        function["arguments"] = arguments
    return {**more, "function": function}


def native(reply: Reply) -> Any:
    assert reply.native is not None
    assert reply.native.format == "openai-chat"
    return json.loads(bytes(reply.native.body))


def test_text_streams_and_ends() -> None:
    reply, deltas = fold(
        delta(role="assistant", content=""),
        delta(content="Hel"),
        delta(content="lo"),
        delta("stop"),
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
        },
    )
    assert reply.parts == (Text(text="Hello"),)
    assert (reply.stop, reply.model) == ("end", "m-1")
    assert reply.usage == Usage(input=10, cache_read=4, cache_write=2, output=5, reasoning=3)
    assert shown(deltas)["text"] == "Hello"
    assert native(reply) == {"role": "assistant", "content": "Hello"}


def test_parallel_calls_come_in_pieces_by_index() -> None:
    reply, deltas = fold(
        delta(tool_calls=[piece("", index=0, id="a", type="function", name="read")]),
        delta(tool_calls=[piece('{"path"', index=0)]),
        delta(tool_calls=[piece("", index=1, id="b", type="function", name="bash")]),
        delta(tool_calls=[piece(':"x"}', index=0), piece('{"command":"ls"}', index=1)]),
        delta("tool_calls"),
    )
    assert reply.parts == (
        ToolCall(id="a", name="read", arguments={"path": "x"}),
        ToolCall(id="b", name="bash", arguments={"command": "ls"}),
    )
    assert reply.stop == "tools"
    assert native(reply) == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "a",
                "type": "function",
                "function": {"name": "read", "arguments": '{"path":"x"}'},
            },
            {
                "id": "b",
                "type": "function",
                "function": {"name": "bash", "arguments": '{"command":"ls"}'},
            },
        ],
    }
    assert shown(deltas)["calls"].startswith('0read{"path"1bash')


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(
            [[piece('{"n":1}', id="a", name="t")], [piece('{"n":2}', id="b", name="t")]],
            id="no index",
        ),
        pytest.param(
            [[piece('{"n":1}', id="a", name="t"), piece('{"n":2}', id="b", name="t")]],
            id="no index, one chunk",
        ),
        pytest.param(
            [
                [piece('{"n"', id="a", name="t")],
                [piece(":1}")],
                [piece('{"n"', id="b", name="t")],
                [piece(":2}")],
            ],
            id="no index, in pieces",
        ),
        pytest.param(
            [
                [piece('{"n":1}', index=0, id="a", name="t")],
                [piece('{"n":2}', index=0, id="b", name="t")],
            ],
            id="the same index for all",
        ),
        pytest.param(
            [
                [piece('{"n"', index=0, id="a", name="t")],
                [piece(":1}", index=0, id="a", name="t")],
                [piece('{"n":2}', index=1, id="b", name="t")],
            ],
            id="id and name repeated",
        ),
        pytest.param(
            [[piece({"n": 1}, index=0, id="a", name="t")], [piece({"n": 2}, id="b", name="t")]],
            id="arguments as an object",
        ),
        pytest.param(
            [
                [piece('{"n"', index=3, id="a", name="t")],
                [piece('{"n":2}', index=7, id="b", name="t")],
                [piece(":1}", index=3)],
            ],
            id="indexes with gaps",
        ),
    ],
)
def test_calls_are_told_apart_however_a_server_numbers_them(pieces: list[Any]) -> None:
    reply, _ = fold(*(delta(tool_calls=p) for p in pieces), delta("stop"))
    assert [(p.id, p.arguments) for p in reply.parts if isinstance(p, ToolCall)] == [
        ("a", {"n": 1}),
        ("b", {"n": 2}),
    ]
    assert reply.stop == "tools"
    assert [c["id"] for c in native(reply)["tool_calls"]] == ["a", "b"]


def test_calls_without_ids_or_with_one_id_for_two_get_their_own_and_go_back_with_it() -> None:
    reply, _ = fold(
        delta(tool_calls=[piece('{"n":1}', index=0, name="t")]),
        delta(tool_calls=[piece('{"n":2}', index=1, name="t")]),
        delta("tool_calls"),
    )
    ids = [p.id for p in reply.parts if isinstance(p, ToolCall)]
    assert len(set(ids)) == 2
    assert all(ids)
    assert [c["id"] for c in native(reply)["tool_calls"]] == ids
    reply, _ = fold(
        delta(tool_calls=[piece("{}", index=0, id="x", name="t")]),
        delta(tool_calls=[piece("{}", index=1, id="x", name="t")]),
        delta("tool_calls"),
    )
    ids = [p.id for p in reply.parts if isinstance(p, ToolCall)]
    assert len(set(ids)) == 2
    assert [c["id"] for c in native(reply)["tool_calls"]] == ids


@pytest.mark.parametrize("arguments", ['{"a":', "[1]", '{"a":NaN}', "oops", '"{}"'])
def test_arguments_that_are_no_object_are_reported_and_not_sent_back(arguments: str) -> None:
    reply, _ = fold(
        delta(tool_calls=[piece(arguments, index=0, id="a", name="t")]), delta("tool_calls")
    )
    assert reply.parts == (ToolCall(id="a", name="t", arguments={}, unparsed=arguments),)
    assert native(reply)["tool_calls"][0]["function"]["arguments"] == "{}"


def test_a_call_without_arguments_goes_back_with_an_empty_object() -> None:
    reply, _ = fold(delta("tool_calls", tool_calls=[piece("", index=0, id="a", name="t")]))
    assert reply.parts == (ToolCall(id="a", name="t", arguments={}),)
    assert native(reply)["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_goes_back_in_the_field_it_came_in(field: str) -> None:
    reply, deltas = fold(
        delta(**{field: "Hm"}), delta(**{field: "m."}), delta(content="Yes."), delta("stop")
    )
    assert reply.parts == (Thinking(text="Hmm."), Text(text="Yes."))
    assert native(reply) == {"role": "assistant", "content": "Yes.", field: "Hmm."}
    assert shown(deltas)["thinking"] == "Hmm."


def test_a_server_that_sends_both_reasoning_fields_is_heard_once() -> None:
    reply, _ = fold(delta(reasoning="A", reasoning_content="A", content="b"), delta("stop"))
    assert reply.parts[0] == Thinking(text="A")


def test_reasoning_details_are_joined_and_go_back_whole() -> None:
    text = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    reply, _ = fold(
        delta(reasoning="Let ", reasoning_details=[{**text, "text": "Let "}]),
        delta(reasoning="me.", reasoning_details=[{**text, "text": "me."}]),
        delta(reasoning_details=[{**text, "signature": "sig"}]),
        delta(reasoning_details=[{"type": "reasoning.encrypted", "data": "AAA", "index": 1}]),
        delta(reasoning_details=[{"type": "reasoning.encrypted", "data": "BBB", "index": 1}]),
        delta(tool_calls=[piece("{}", index=0, id="a", name="t")]),
        delta("tool_calls"),
    )
    assert native(reply)["reasoning_details"] == [
        {**text, "text": "Let me.", "signature": "sig"},
        {"type": "reasoning.encrypted", "data": "AAA", "index": 1},
        {"type": "reasoning.encrypted", "data": "BBB", "index": 1},
    ]
    assert "reasoning" not in native(reply)
    assert reply.parts[0] == Thinking(text="Let me.")


def test_summaries_of_another_index_stay_apart() -> None:
    reply, _ = fold(
        delta(
            content="x",
            reasoning_details=[
                {"type": "reasoning.summary", "summary": "A", "index": 0},
                {"type": "reasoning.summary", "summary": "B", "index": 0},
                {"type": "reasoning.summary", "summary": "C", "index": 1},
            ],
        ),
        delta("stop"),
    )
    assert [d["summary"] for d in native(reply)["reasoning_details"]] == ["AB", "C"]
    assert reply.parts[0] == Thinking(text="ABC")


def test_signatures_on_calls_go_back_even_when_they_come_alone() -> None:
    signature = {"google": {"thought_signature": "s"}}
    reply, _ = fold(
        delta(tool_calls=[piece('{"n"', id="a", name="t", type="function")]),
        delta(tool_calls=[piece(":1}")]),
        delta(tool_calls=[{"extra_content": signature}]),
        delta("stop"),
    )
    (made,) = native(reply)["tool_calls"]
    assert made["extra_content"] == signature
    assert made["function"]["arguments"] == '{"n":1}'


def test_content_in_parts_goes_back_in_parts() -> None:
    think = {"type": "thinking", "thinking": [{"type": "text", "text": "a"}], "closed": True}
    reply, _ = fold(
        delta(content=[think]),
        delta(content=[think, {"type": "text", "text": "x"}]),
        delta(content="y"),
        delta("stop"),
    )
    assert reply.parts == (Thinking(text="aa"), Text(text="xy"))
    words = native(reply)["content"]
    assert [w["type"] for w in words] == ["thinking", "text"]
    assert "".join(t["text"] for t in words[0]["thinking"]) == "aa"
    assert words[1]["text"] == "xy"


def test_a_refusal_is_text_with_its_reason() -> None:
    reply, deltas = fold(delta(refusal="I "), delta(refusal="won't."), delta("stop"))
    assert reply.parts == (Text(text="I won't."),)
    assert reply.stop == "refusal"
    assert native(reply) == {"role": "assistant", "content": None, "refusal": "I won't."}
    assert shown(deltas)["text"] == "I won't."


def test_empty_null_and_keep_alive_chunks_are_passed_over() -> None:
    reply, _ = fold(
        b"",
        {"choices": None},
        {"choices": []},
        {"choices": [{"index": 0, "delta": None}]},
        {"choices": [{"index": 0, "delta": {"content": None, "tool_calls": None}}], "error": None},
        delta(content="x"),
        delta("stop"),
    )
    assert reply.parts == (Text(text="x"),)


def test_done_without_a_finish_reason_is_an_end() -> None:
    reply, _ = fold(delta(content="x"))
    assert reply.stop == "end"


def test_an_end_without_either_is_a_cut() -> None:
    with pytest.raises(ModelError) as caught:
        fold(delta(content="half"), done=False)
    assert caught.value.kind == "cut"
    assert caught.value.partial == "half"


def test_a_finish_reason_is_an_end_though_nobody_says_done() -> None:
    reply, _ = fold(delta(content="x"), delta("stop"), done=False)
    assert reply.stop == "end"


def test_an_empty_answer_is_none() -> None:
    with pytest.raises(ModelError) as caught:
        fold(delta(reasoning="Hm."), delta(content=""), delta("stop"))
    assert caught.value.kind == "empty"


@pytest.mark.parametrize(
    ("reason", "stop"),
    [("length", "length"), ("content_filter", "refusal"), ("eos", "end"), ("novel", "other")],
)
def test_finish_reasons_are_told_apart(reason: str, stop: str) -> None:
    assert fold(delta(content="x"), delta(reason))[0].stop == stop


@pytest.mark.parametrize(
    ("chunk", "kind"),
    [
        ({"error": {"code": 429, "message": "slow down"}}, "rate_limited"),
        ({"error": {"code": "insufficient_quota", "message": "no money"}}, "billing"),
        ({"error": {"code": 502, "message": "bad gateway"}, "choices": [{"delta": {}}]}, "server"),
        ({"error": "out of memory"}, "server"),
        (
            {
                "error": {
                    "code": 400,
                    "message": "the request exceeds the available context size",
                    "type": "exceed_context_size_error",
                }
            },
            "context_overflow",
        ),
        ({"object": "error", "message": "boom", "code": 500}, "server"),
        (delta("error", content=""), "server"),
        (delta("insufficient_system_resource"), "overloaded"),
    ],
)
def test_an_error_in_mid_stream_has_its_kind(chunk: dict[str, Any], kind: str) -> None:
    with pytest.raises(ModelError) as caught:
        fold(delta(content="half"), chunk)
    assert caught.value.kind == kind
    assert "acme" in caught.value.message


def test_a_character_cut_between_two_chunks_is_whole_in_the_reply() -> None:
    reply, _ = fold(
        b'{"choices":[{"delta":{"content":"a\\ud83d"}}]}',
        b'{"choices":[{"delta":{"content":"\\udc4bb"}}]}',
        b'{"choices":[{"delta":{"content":"\\ud83d!"},"finish_reason":"stop"}]}',
    )
    assert reply.parts == (Text(text="a👋b�!"),)
    assert native(reply)["content"] == "a👋b�!"


def test_ten_megabytes_of_arguments_do_not_pile_up() -> None:
    part = "x" * 1_000_000
    reply, _ = fold(
        delta(tool_calls=[piece('{"text":"', index=0, id="a", name="write")]),
        *(delta(tool_calls=[piece(part, index=0)]) for _ in range(10)),
        delta(tool_calls=[piece('"}', index=0)]),
        delta("tool_calls"),
    )
    (made,) = reply.parts
    assert isinstance(made, ToolCall)
    assert made.arguments == {}
    assert 0 < len(made.unparsed) <= 2_000
    assert native(reply)["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(
            {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 8},
            Usage(input=9, cache_read=8, output=1),
            id="deepseek",
        ),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 2,
                "total_tokens": 52,
                "completion_tokens_details": {"reasoning_tokens": 40},
            },
            Usage(input=10, output=42, reasoning=40),
            id="xai leaves reasoning out",
        ),
        pytest.param(
            {"prompt_tokens": None, "completion_tokens": "7", "prompt_tokens_details": None},
            Usage(),
            id="nonsense",
        ),
    ],
)
def test_usage_is_read_in_every_shape(usage: dict[str, Any], expected: Usage) -> None:
    assert usage_of(usage) == expected


def test_usage_is_found_where_moonshot_and_groq_put_it() -> None:
    counted = {"prompt_tokens": 3, "completion_tokens": 1}
    last = delta("stop")
    last["choices"][0]["usage"] = counted
    assert fold(delta(content="x"), last)[0].usage == Usage(input=3, output=1)
    groq = {**delta("stop"), "x_groq": {"usage": counted}}
    assert fold(delta(content="x"), groq)[0].usage == Usage(input=3, output=1)


def test_what_openrouter_charged_is_believed_if_it_is_an_amount() -> None:
    assert cost_of({"cost": 0.25}) == 0.25
    assert cost_of({"cost": 0}) == 0.0
    assert (
        cost_of({"cost": 0.5, "is_byok": True, "cost_details": {"upstream_inference_cost": 2}})
        == 2.5
    )
    for nonsense in (None, "1", -1, True, float("inf")):
        assert cost_of({"cost": nonsense}) is None
