"""The quick way to read a chunk says what the long way says, whatever comes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from perdure.kernel.errors import ModelError
from perdure.kernel.events import AnyDelta, RequestId
from perdure.models.openai_chat_chunks import usual
from perdure.models.openai_chat_stream import ChatStream
from perdure.models.reply import Draft

text = st.sampled_from(["", "a", "ü b", "\ud83d", "\n"])
odd = st.sampled_from([0, 1.5, True, [], {}, {"x": 1}, ["a"]])


def field(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(usual, usual, usual, st.none(), odd)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional={k: field(v) for k, v in fields.items()})


usage = some(
    prompt_tokens=st.integers(0, 9), completion_tokens=st.integers(0, 9), cost=st.floats(0, 1)
)
call = some(
    index=st.integers(0, 2),
    id=text,
    type=st.just("function"),
    function=some(name=text, arguments=text),
    extra_content=st.just({"google": "signature"}),
)
delta = some(
    role=st.just("assistant"),
    content=text,
    reasoning=text,
    reasoning_content=text,
    refusal=text,
    reasoning_details=st.just([{"type": "reasoning.text", "text": "r"}]),
    tool_calls=st.lists(call, max_size=2),
)
choice = some(
    index=st.just(0),
    delta=delta,
    message=delta,
    finish_reason=st.sampled_from(["stop", "tool_calls", "error", "odd"]),
    usage=usage,
    logprobs=st.none(),
)
chunk = some(
    id=st.just("c"),
    model=text,
    choices=st.lists(choice, max_size=2),
    usage=usage,
    x_groq=some(usage=usage),
    error=some(message=text, code=text),
)


def read(chunks: list[Any], *, quick: bool) -> tuple[Any, ...]:
    shown: list[AnyDelta] = []
    draft = Draft("m", RequestId("r_1"), shown.append)
    stream = ChatStream(draft, "openai")
    why = ""
    try:
        for one in chunks:
            if quick:
                stream.take("", encoded(one))
            else:
                stream.chunk(one)
    except ModelError as error:
        why = f"{error.kind} {error.message}"
    blocks = [(b.kind, b.call_id, b.name, b.whole, b.too_long) for b in draft.blocks.values()]
    try:
        native = bytes(stream.native([]).body)  # type: ignore[union-attr]
    except ModelError as error:
        native = str(error).encode()
    return shown, why, blocks, draft.stop, draft.model, draft.usage, stream.cost_usd, native


def encoded(chunk: Any) -> bytes:
    return json.dumps(chunk).encode()


@given(st.lists(chunk, max_size=6))
def test_what_is_read_in_one_go_is_what_is_read_field_by_field(chunks: list[Any]) -> None:
    assert read(chunks, quick=True) == read(chunks, quick=False)


def test_the_usual_chunks_of_servers_are_read_in_one_go() -> None:
    for fields in (
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hi"},
        {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "n"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
        {"reasoning_content": "Hm"},
        {},
    ):
        body = {
            "id": "x",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "system_fingerprint": None,
            "choices": [
                {"index": 0, "delta": fields, "logprobs": None, "finish_reason": None},
            ],
            "usage": None,
        }
        assert usual(msgspec.json.encode(body)) is not None, fields
