"""What a background process tells its session counts as what it was started by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import pytest

from perdure.guard.origins import PROCESS, Origins
from perdure.guard.query import ORIGINS
from perdure.kernel.events import (
    AnyEvent,
    CallId,
    Json,
    Limits,
    MessageId,
    MessageReceived,
    Record,
    Text,
    ToolFinished,
    ToolResult,
    ToolStarted,
    TurnId,
    TurnStarted,
)
from perdure.kernel.labels import Label
from perdure.kernel.state import UNATTENDED, State, evolve


def log(*events: AnyEvent) -> list[Record]:
    return [Record(seq=n, at=datetime.now(UTC), event=e) for n, e in enumerate(events, 1)]


def turn(message: str, source: str, key: str = "") -> tuple[AnyEvent, ...]:
    id_ = MessageId(message)
    return (
        MessageReceived(message=id_, parts=(Text(text="go"),), source=source, key=key),
        TurnStarted(turn=TurnId(message), messages=(id_,), limits=Limits()),
    )


def call(
    process: str, *, effects: tuple[str, ...] = ("writes",), id_: str = "c1"
) -> tuple[AnyEvent, ...]:
    data: dict[str, Json] = {"id": process} if process else {}
    return (
        ToolStarted(call=CallId(id_), tool="process", effects=effects, key="k"),
        ToolFinished(call=CallId(id_), tool="process", result=ToolResult(data=data)),
    )


def origin(*events: AnyEvent, opened: int) -> str:
    """`opened`: how many of the records were there when the session was opened."""
    records = log(*events)
    origins = Origins(lambda: records[:opened])
    for record in records[opened:]:
        origins.feed(record)
    return origins.now()


TOLD = turn("m9", "process", "process:p1")


@pytest.mark.parametrize("opened", range(7))
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("terminal", "interactive"),
        ("webhook:ci", "webhook"),
        ("telegram:x", "gateway"),
        ("schedule:x", "schedule"),
    ],
)
def test_a_process_speaks_for_the_run_that_started_it(
    source: str, expected: str, opened: int
) -> None:
    assert origin(*turn("m1", source), *call("p1"), *TOLD, opened=opened) == expected


@pytest.mark.parametrize("opened", range(0, 13, 2))
def test_processes_are_told_apart_and_what_a_process_starts_stays_what_it_is(opened: int) -> None:
    started = (*turn("m1", "webhook:ci"), *call("p2"), *turn("m2", "terminal"), *call("p1"))
    assert origin(*started, *TOLD, opened=min(opened, 8)) == "interactive"
    other = (*turn("m3", "process", "process:p2"), *call("p3"))
    last = turn("m4", "process", "process:p3")
    assert origin(*started, *other, *last, opened=opened) == "webhook"


@pytest.mark.parametrize("opened", range(0, 11, 2))
def test_who_sends_to_a_process_counts_as_well_but_not_who_looks(opened: int) -> None:
    started = (*turn("m1", "terminal"), *call("p1"), *turn("m2", "webhook:ci"))
    assert origin(*started, *call("p1", effects=()), *TOLD, opened=opened) == "interactive"
    assert origin(*started, *call("p1"), *TOLD, opened=opened) == "webhook"


def test_a_process_of_which_it_is_not_known_who_started_it_is_never_the_owners() -> None:
    assert origin(*TOLD, opened=0) == "gateway"
    half = call("")[:1]
    assert origin(*turn("m1", "webhook:ci"), *half, *TOLD, opened=3) == "webhook"
    assert origin(*turn("m1", "webhook:ci"), *call(""), *TOLD, opened=2) == "webhook"


@pytest.mark.parametrize("detail", ["", ":daily"])
@pytest.mark.parametrize(
    "kind", ["terminal", "api", "settled", "subagent", "telegram", "schedule", "webhook"]
)
def test_budgets_and_policy_read_a_source_alike(kind: str, detail: str) -> None:
    """What runs unattended is what a schedule or a webhook began, and what a process tells."""
    begun = turn("m1", kind + detail)
    state = State()
    for record in log(*begun):
        evolve(state, record)
    assert state.turn is not None
    assert state.turn.unattended == (origin(*begun, opened=0) in ("schedule", "webhook"))


def test_every_kind_that_runs_unattended_is_one_that_the_policy_knows() -> None:
    assert UNATTENDED - {PROCESS} <= set(ORIGINS)


@pytest.mark.parametrize("opened", range(3))
@pytest.mark.parametrize("trust", ["known", "third_party"])
def test_what_another_person_says_through_the_api_is_not_the_owner_at_a_keyboard(
    trust: Literal["known", "third_party"], opened: int
) -> None:
    said = MessageReceived(
        message=MessageId("m1"), parts=(), source="api", sender="bob", label=Label(trust=trust)
    )
    began = TurnStarted(turn=TurnId("t"), messages=(MessageId("m1"),), limits=Limits())
    assert origin(said, began, opened=opened) == "gateway"
