"""A model that goes round in circles is told, and then stopped."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from perdure.guard import Loops
from perdure.guard.loops import BLOCK_ERROR, BLOCK_SAME, WARN_ERROR, WARN_SAME
from perdure.kernel.events import (
    Limits,
    Record,
    Text,
    ToolCall,
    ToolResult,
    TurnId,
    TurnStarted,
)


def call(name: str = "read", **arguments: str) -> ToolCall:
    return ToolCall(id="c", name=name, arguments=arguments)  # type: ignore[arg-type]


def result(text: str = "same", status: str = "ok") -> ToolResult:
    return ToolResult(status=status, parts=(Text(text=text),))  # type: ignore[arg-type]


def a_turn() -> Record:
    event = TurnStarted(turn=TurnId("t"), messages=(), limits=Limits())
    return Record(seq=1, at=datetime(2026, 11, 21, tzinfo=UTC), event=event)


def test_the_same_call_with_the_same_result_is_warned_of_and_then_refused() -> None:
    loops = Loops()
    told = []
    for n in range(BLOCK_SAME):
        assert loops.weigh(call(path="a")) == "", n
        told.append(bool(loops.ran(call(path="a"), result())))
    assert told == [n + 1 >= WARN_SAME for n in range(BLOCK_SAME)]
    assert "Not run" in loops.weigh(call(path="a"))
    assert loops.weigh(call(path="b")) == ""


def test_who_polls_and_sees_something_new_goes_on() -> None:
    loops = Loops()
    for n in range(30):
        assert loops.weigh(call("process", action="output")) == ""
        assert loops.ran(call("process", action="output"), result(f"line {n}")) == ""


def test_how_long_it_took_is_no_news() -> None:
    loops = Loops()
    for n in range(BLOCK_SAME):
        loops.ran(call("bash", command="make"), result(f"failed\n[exit code 2, 0.{n}1 s]"))
    assert loops.weigh(call("bash", command="make"))


def test_the_same_error_with_other_arguments_stops_that_tool_alone() -> None:
    loops = Loops()
    for n in range(BLOCK_ERROR):
        assert loops.weigh(call("edit", path=str(n))) == ""
        told = loops.ran(call("edit", path=str(n)), result("no match", "error"))
        assert bool(told) == (n + 1 >= WARN_ERROR)
    assert loops.weigh(call("edit", path="new")) and not loops.weigh(call("read", path="new"))


def test_a_success_in_between_forgives_the_errors() -> None:
    loops = Loops()
    for n in range(20):
        loops.ran(call("edit", path=str(n)), result("no match", "error"))
        loops.ran(call("edit", path=f"ok{n}"), result(f"done {n}"))
        assert not loops.weigh(call("edit", path="next"))


def test_two_calls_that_take_turns_are_a_circle() -> None:
    loops = Loops()
    blocked = 0
    for n in range(20):
        one = call("read", path="ab"[n % 2])
        if loops.weigh(one):
            blocked += 1
            break
        loops.ran(one, result(f"content {n % 2}"))
    assert blocked
    assert loops.weigh(call("read", path="c")) == ""


def test_a_new_turn_begins_anew() -> None:
    loops = Loops()
    for _ in range(BLOCK_SAME):
        loops.ran(call(), result())
    assert loops.weigh(call())
    loops.feed(a_turn())
    assert loops.weigh(call()) == ""


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=60))
def test_a_call_never_made_before_is_refused_only_for_its_tools_errors(
    history: list[tuple[int, int]],
) -> None:
    loops = Loops()
    for path, seen in history:
        loops.ran(call(path=str(path)), result(str(seen)))
    assert loops.weigh(call(path="never")) == ""


def test_how_long_it_took_is_no_news_at_the_end_of_a_long_result_either() -> None:
    """The same number of calls as for a short one."""
    loops = Loops()
    for n in range(BLOCK_SAME):
        assert loops.weigh(call("bash", command="make")) == ""
        told = loops.ran(call("bash", command="make"), result(f"{'line ' * 2_000}[0.{n}1 s]"))
        assert bool(told) == (n + 1 >= WARN_SAME)
    assert loops.weigh(call("bash", command="make"))
