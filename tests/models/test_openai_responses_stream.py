"""What a Responses stream is folded into, and which items go back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perdure.kernel.errors import ModelError
from perdure.kernel.events import AnyDelta, Text, Thinking, ToolCall, Usage
from perdure.kernel.prompt import Reply
from perdure.models.openai_responses import OpenAIResponses
from perdure.models.openai_responses_stream import ResponsesStream
from perdure.models.reply import Draft

from .openai_help import REQUEST, shown


def fold(*events: dict[str, Any] | bytes) -> tuple[Reply, list[AnyDelta]]:
    deltas: list[AnyDelta] = []
    draft = Draft("m", REQUEST, deltas.append)
    stream = ResponsesStream(draft, "acme")
    for event in events:
        stream.take("", event if isinstance(event, bytes) else json.dumps(event).encode())
    return draft.finish(stream.native, lambda usage: None, mends=OpenAIResponses.mends), deltas


def added(place: int, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": place, "item": item}


def done(place: int, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": place, "item": item}


def event(kind: str, place: int, delta: str, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "output_index": place, "delta": delta, **more}


def end(kind: str = "completed", **response: Any) -> dict[str, Any]:
    return {
        "type": f"response.{kind}",
        "response": {"status": kind, "model": "gpt-5-2025", "error": None, **response},
    }


def message(place: int, text: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return done(
        place,
        **{
            "type": "message",
            "id": f"msg_{place}",
            "role": "assistant",
            "status": "completed",
            "content": content,
            **more,
        },
    )


def native(reply: Reply) -> Any:
    assert reply.native is not None
    assert reply.native.format == "openai-responses"
    return json.loads(bytes(reply.native.body))


def test_reasoning_text_and_calls_stream_and_their_items_are_kept() -> None:
    reasoning = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [
            {"type": "summary_text", "text": "One."},
            {"type": "summary_text", "text": "Two."},
        ],
        "encrypted_content": "gAAA",
    }
    function = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "read",
        "arguments": '{"path":"x"}',
        "status": "completed",
    }
    reply, deltas = fold(
        {"type": "response.created", "response": {"status": "in_progress"}},
        added(0, type="reasoning", id="rs_1", summary=[], encrypted_content="gA"),
        event("reasoning_summary_text", 0, "One", summary_index=0),
        event("reasoning_summary_text", 0, ".", summary_index=0),
        event("reasoning_summary_text", 0, "Two.", summary_index=1),
        done(0, **reasoning),
        added(1, type="message", id="msg_1", content=[], phase="commentary"),
        event("output_text", 1, "Look", content_index=0),
        event("output_text", 1, "ing.", content_index=0),
        message(1, "Looking.", phase="commentary"),
        added(2, type="function_call", id="fc_1", call_id="call_1", name="read", arguments=""),
        event("function_call_arguments", 2, '{"path"'),
        event("function_call_arguments", 2, ':"x"}'),
        {"type": "response.function_call_arguments.done", "output_index": 2, "arguments": "{}"},
        done(2, **function),
        end(
            usage={
                "input_tokens": 20,
                "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 4},
                "output_tokens": 9,
                "output_tokens_details": {"reasoning_tokens": 5},
            }
        ),
    )
    assert reply.parts == (
        Thinking(text="One.\n\nTwo."),
        Text(text="Looking."),
        ToolCall(id="call_1", name="read", arguments={"path": "x"}),
    )
    assert (reply.stop, reply.model) == ("tools", "gpt-5-2025")
    assert reply.usage == Usage(input=20, cache_read=8, cache_write=4, output=9, reasoning=5)
    kept = native(reply)
    assert kept[0] == reasoning
    assert kept[1]["phase"] == "commentary"
    assert kept[2] == function
    assert shown(deltas) == {
        "text": "Looking.",
        "thinking": "One.\n\nTwo.",
        "calls": '0read{"path":"x"}',
    }


def test_items_are_kept_to_the_byte() -> None:
    item = '{"type":"message", "content":[{"type":"output_text","text":"h\\u00e9"}],"x":1.50}'
    reply, _ = fold(
        f'{{"type":"response.output_item.done","output_index":0,"item":{item}}}'.encode(), end()
    )
    assert reply.native is not None
    assert bytes(reply.native.body) == f"[{item}]".encode()
    assert reply.parts == (Text(text="hé"),)


def test_an_item_on_several_lines_is_kept_on_one() -> None:
    pretty = json.dumps(message(0, "a"), indent=2).encode()
    reply, _ = fold(pretty, end())
    assert reply.native is not None
    assert b"\n" not in bytes(reply.native.body)


def test_commentary_and_answer_do_not_run_together() -> None:
    reply, deltas = fold(
        event("output_text", 0, "Done.", content_index=0),
        message(0, "Done.", phase="commentary"),
        event("output_text", 1, "Here", content_index=0),
        event("output_text", 1, " it is.", content_index=0),
        message(1, "Here it is.", phase="final_answer"),
        end(),
    )
    assert shown(deltas)["text"] == "Done.\n\nHere it is."
    assert "".join(p.text for p in reply.parts if isinstance(p, Text)) == "Done.\n\nHere it is."
    assert [i["phase"] for i in native(reply)] == ["commentary", "final_answer"]


def test_reasoning_the_server_would_not_find_again_does_not_go_back() -> None:
    reply, _ = fold(
        done(0, type="reasoning", id="rs_1", summary=[]),
        done(1, type="reasoning", id="rs_2", summary=[], encrypted_content="g"),
        done(2, type="reasoning", id="rs_3", content=[{"type": "reasoning_text", "text": "Open."}]),
        message(3, "x"),
        end(),
    )
    assert [i["id"] for i in native(reply)] == ["rs_2", "rs_3", "msg_3"]
    assert reply.parts[0] == Thinking(text="Open.")


def test_open_reasoning_streams() -> None:
    reply, deltas = fold(
        event("reasoning_text", 0, "Hm", content_index=0),
        event("reasoning_text", 0, "m.", content_index=0),
        message(1, "x"),
        end(),
    )
    assert reply.parts[0] == Thinking(text="Hmm.")
    assert shown(deltas)["thinking"] == "Hmm."


def test_items_of_tools_that_ran_at_the_server_go_back_as_they_came() -> None:
    searched = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    reply, _ = fold(done(0, **searched), message(1, "x"), end())
    assert native(reply)[0] == searched


def test_a_server_that_sends_only_the_end_is_understood() -> None:
    output = [
        message(0, "Hi")["item"],
        {"type": "function_call", "call_id": "c", "name": "t", "arguments": '{"a":1}'},
    ]
    reply, deltas = fold(end(output=output))
    assert reply.parts == (Text(text="Hi"), ToolCall(id="c", name="t", arguments={"a": 1}))
    assert shown(deltas)["text"] == "Hi"
    assert native(reply) == output


def test_a_refusal_is_text_with_its_reason() -> None:
    reply, deltas = fold(
        event("refusal", 0, "I won't.", content_index=0),
        message(0, "", content=[{"type": "refusal", "refusal": "I won't."}]),
        end(),
    )
    assert reply.parts == (Text(text="I won't."),)
    assert reply.stop == "refusal"
    assert shown(deltas)["text"] == "I won't."
    assert fold(done(0, type="message", content=[{"refusal": "No."}]), end())[0].stop == "refusal"


@pytest.mark.parametrize(
    ("reason", "stop"),
    [("max_output_tokens", "length"), ("content_filter", "refusal"), ("steered", "other")],
)
def test_an_incomplete_response_says_why(reason: str, stop: str) -> None:
    reply, _ = fold(message(0, "x"), end("incomplete", incomplete_details={"reason": reason}))
    assert reply.stop == stop


def test_a_call_cut_by_the_limit_is_reported_and_goes_back_empty_beside_its_reasoning() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "g"}
    reply, _ = fold(
        done(9, **reasoning),
        added(0, type="function_call", call_id="c", name="write", arguments=""),
        event("function_call_arguments", 0, '{"text":"abc'),
        end("incomplete", incomplete_details={"reason": "max_output_tokens"}),
    )
    assert reply.parts == (ToolCall(id="c", name="write", arguments={}, unparsed='{"text":"abc'),)
    assert native(reply) == [
        reasoning,
        {"type": "function_call", "call_id": "c", "name": "write", "arguments": "{}"},
    ]


def test_calls_with_one_id_for_two_get_their_own_and_keep_their_reasoning() -> None:
    function = {"type": "function_call", "call_id": "c", "name": "t", "arguments": '{"a": 1}'}
    reply, _ = fold(
        done(0, type="reasoning", id="rs_1", summary=[], encrypted_content="g"),
        done(1, **function, id="fc_1"),
        done(2, **function, id="fc_2"),
        end(),
    )
    ids = [p.id for p in reply.parts if isinstance(p, ToolCall)]
    assert len(set(ids)) == 2
    kept = native(reply)
    assert [i.get("call_id") for i in kept] == [None, *ids]
    assert [i["id"] for i in kept] == ["rs_1", "fc_1", "fc_2"]


def test_a_stream_without_its_last_event_is_cut() -> None:
    with pytest.raises(ModelError) as caught:
        fold(event("output_text", 0, "half", content_index=0), b"[DONE]")
    assert (caught.value.kind, caught.value.partial) == ("cut", "half")


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (
            end("failed", error={"code": "rate_limit_exceeded", "message": "wait"}),
            "rate_limited",
        ),
        (end("failed", error={"code": "server_error", "message": "oops"}), "server"),
        (end("failed", error={"code": "bio_policy", "message": "no"}), "refused"),
        (end("failed", error={"code": "invalid_image_url", "message": "no"}), "invalid"),
        (end("failed", error=None), "server"),
        ({"type": "error", "code": "server_error", "message": "oops", "param": None}, "server"),
        (
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "code": "context_length_exceeded",
                    "message": "Your input exceeds the context window of this model.",
                },
            },
            "context_overflow",
        ),
        ({"error": {"message": "boom", "code": 500}}, "server"),
    ],
)
def test_a_failed_response_has_its_kind(last: dict[str, Any], kind: str) -> None:
    with pytest.raises(ModelError) as caught:
        fold(event("output_text", 0, "half", content_index=0), last)
    assert caught.value.kind == kind


def test_events_of_unknown_make_are_passed_over() -> None:
    reply, _ = fold(
        {"type": "response.novel.delta", "delta": {"x": 1}, "output_index": "a"},
        {"type": "keepalive"},
        b'{"type":"response.output_text.delta","output_index":0,"delta":"\\ud83d"}',
        message(0, "x"),
        end(),
    )
    assert reply.parts == (Text(text="�"),)
