"""A reply as it streams in, whatever the server leaves broken."""

from __future__ import annotations

import pytest

from perdure.kernel.errors import ModelError
from perdure.kernel.events import (
    AnyDelta,
    CallDelta,
    Native,
    RequestId,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    Usage,
)
from perdure.kernel.prompt import Reply
from perdure.models import reply as module
from perdure.models.reply import Draft, native, verbatim

R = RequestId("r_1")


class Desk:
    """A draft, with what it showed."""

    def __init__(self) -> None:
        self.shown: list[AnyDelta] = []
        self.draft = Draft("m", R, self.shown.append)
        self.draft.stop = "end"

    def finish(self, *, mends: bool = False) -> Reply:
        def form(calls: list[ToolCall]) -> Native:
            return native("x", b"{}")

        return self.draft.finish(form, lambda usage: 0.5 * usage.output, mends=mends)


def test_parts_keep_the_order_in_which_they_began() -> None:
    desk = Desk()
    desk.draft.thinking(0, "Hm")
    desk.draft.text(1, "Hel")
    desk.draft.call(2, id="a", name="read")
    desk.draft.text(1, "lo")
    desk.draft.call(2, arguments='{"path":')
    desk.draft.call(2, arguments='"x"}')
    desk.draft.usage = Usage(output=3)
    found = desk.finish()
    assert found.parts == (
        Thinking(text="Hm"),
        Text(text="Hello"),
        ToolCall(id="a", name="read", arguments={"path": "x"}),
    )
    assert (found.stop, found.cost_usd) == ("tools", 1.5)
    assert found.native is not None
    assert desk.shown == [
        ThinkingDelta(request=R, text="Hm"),
        TextDelta(request=R, text="Hel"),
        CallDelta(request=R, index=0, name="read"),
        TextDelta(request=R, text="lo"),
        CallDelta(request=R, index=0, arguments='{"path":'),
        CallDelta(request=R, index=0, arguments='"x"}'),
    ]


def test_a_character_cut_in_two_is_whole_in_the_reply() -> None:
    desk = Desk()
    desk.draft.text(0, "a\ud83d")
    desk.draft.text(0, "\ude00b")
    assert desk.finish().parts == (Text(text="a😀b"),)
    for delta in desk.shown:
        assert isinstance(delta, TextDelta)
        delta.text.encode()


@pytest.mark.parametrize("text", ["nonsense", '{"a":1', "[1]", '{"a":NaN}'])
def test_arguments_that_are_no_object_are_kept_beside_the_call(text: str) -> None:
    desk = Desk()
    desk.draft.call(0, id="a", name="read", arguments=text)
    found = desk.finish()
    assert found.parts == (ToolCall(id="a", name="read", arguments={}, unparsed=text),)
    assert found.native is None


def test_endless_arguments_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ARGUMENT_CHARS", 5_000)
    desk = Desk()
    desk.draft.call(0, id="a", name="write", arguments='{"text":"')
    for _ in range(100):
        desk.draft.call(0, arguments="x" * 1_000)
    (call,) = desk.finish().parts
    assert isinstance(call, ToolCall)
    assert call.arguments == {} and call.unparsed.startswith('{"text":"')
    assert sum(len(p) for p in desk.draft.blocks[0].pieces) <= 2_000


def test_missing_and_double_ids_are_made_unique() -> None:
    desk = Desk()
    for key, id in enumerate(("a", "a", "", "")):
        desk.draft.call(key, id=id, name="read")
    found = desk.finish()
    ids = [p.id for p in found.parts if isinstance(p, ToolCall)]
    assert ids == ["a", "a-1", "r_1-2", "r_1-3"]
    assert found.native is None
    assert desk.finish(mends=True).native is not None


def test_a_stream_without_a_finish_is_cut_and_keeps_what_had_come() -> None:
    desk = Desk()
    desk.draft.stop = None
    desk.draft.text(0, "Half")
    with pytest.raises(ModelError) as failed:
        desk.finish()
    assert (failed.value.kind, failed.value.partial) == ("cut", "Half")


def test_an_answer_without_text_or_calls_is_empty() -> None:
    desk = Desk()
    desk.draft.thinking(0, "Hm")
    desk.draft.text(1, " \n")
    with pytest.raises(ModelError) as failed:
        desk.finish()
    assert failed.value.kind == "empty"
    desk.draft.stop = "length"
    with pytest.raises(ModelError, match="output tokens") as failed:
        desk.finish()
    assert failed.value.kind == "empty"


def test_an_empty_refusal_says_why() -> None:
    desk = Desk()
    desk.draft.stop, desk.draft.why = "refusal", "not today"
    with pytest.raises(ModelError, match="not today") as failed:
        desk.finish()
    assert failed.value.kind == "refused"


def test_the_stop_fits_the_parts() -> None:
    desk = Desk()
    desk.draft.stop = "tools"
    desk.draft.text(0, "Done.")
    assert desk.finish().stop == "end"
    desk.draft.call(1, id="a", name="read")
    desk.draft.stop = "other"
    assert desk.finish().stop == "tools"
    desk.draft.stop = "length"
    assert desk.finish().stop == "length"


def test_arguments_go_back_as_the_model_wrote_them() -> None:
    call = ToolCall(id="a", name="x", arguments={"n": 1.0})
    assert bytes(verbatim('{"n": 1.00}', call)) == b'{"n": 1.00}'  # type: ignore[call-overload]
    assert verbatim("", call) == {"n": 1.0}
    assert verbatim("{", ToolCall(id="a", name="x", arguments={}, unparsed="{")) == {}


def test_what_comes_in_one_go_is_shown_as_one_and_in_order() -> None:
    shown: list[AnyDelta] = []
    draft = Draft("m", R, shown.append)
    with draft.together():
        draft.thinking("thinking", "a")
        draft.text("text", "b")
        draft.text("text", "\ud83d")
        draft.text("text", "\ude00")
        draft.call(0, name="read")
        draft.call(0, arguments='{"path"')
        draft.call(0, arguments=":1}")
        draft.call(1, name="bash", arguments="{")
        assert shown == [
            ThinkingDelta(request=R, text="a"),
            TextDelta(request=R, text="b😀"),
            CallDelta(request=R, index=0, name="read", arguments='{"path":1}'),
        ]
    assert shown[3:] == [CallDelta(request=R, index=1, name="bash", arguments="{")]
    draft.text("text", "c")
    assert shown[4:] == [TextDelta(request=R, text="c")]


def test_what_came_before_an_error_is_shown() -> None:
    shown: list[AnyDelta] = []
    draft = Draft("m", R, shown.append)
    with pytest.raises(ValueError, match="broken"), draft.together():
        draft.text("text", "so far")
        raise ValueError("broken")
    assert shown == [TextDelta(request=R, text="so far")]
