"""`perdure context`: what a call contained (C5)."""

from __future__ import annotations

import msgspec
import pytest

from perdure.context import ContextBudget, context_report
from perdure.kernel.errors import NotFound
from perdure.kernel.events import ContextCompacted, ModelRequested, ResultsCleared

from .world import Player, call


def played() -> Player:
    player = Player(ContextBudget(max_result_tokens=500))
    player.turn("please look")
    player.round("y" * 3_000)
    player.play(ResultsCleared(through=len(player.records), freed=700))
    player.request()
    player.says("I looked", one := call("9", "bash", command="ls"))
    player.finishes(one, "a.txt")
    player.request()
    player.says("done")
    return player


def requests(player: Player) -> list[ModelRequested]:
    return [r.event for r in player.records if isinstance(r.event, ModelRequested)]


def test_the_last_call_is_shown_with_all_it_held_and_what_came_of_it() -> None:
    player = played()
    asked = requests(player)[-1]
    report = context_report(player.records, None, player.artifacts.read, player.budget)
    assert report["request"] == asked.request
    assert report["tail"] == asked.tail
    assert report["prefix"]["system"].startswith("Be good.")  # type: ignore[index, call-overload, union-attr]
    items = report["items"]
    assert isinstance(items, list)
    assert len(items) == asked.items
    assert [i["role"] for i in items] == ["user", "assistant", "results", "assistant", "results"]  # type: ignore[index, call-overload]
    text = msgspec.json.encode(report).decode()
    assert "cleared to save room" in text and "results cleared" in text
    assert report["outcome"]["what"] == "answered"  # type: ignore[index, call-overload]


def test_an_earlier_call_is_shown_as_it_was_then() -> None:
    player = played()
    player.play(ContextCompacted(through=len(player.records), summary="sum"))
    first, second, _ = requests(player)
    report = context_report(player.records, first.request, player.artifacts.read)
    assert isinstance(report["items"], list)
    assert len(report["items"]) == first.items == 1
    report = context_report(player.records, second.request, player.artifacts.read)
    assert isinstance(report["items"], list)
    assert len(report["items"]) == second.items
    assert "sum" not in msgspec.json.encode(report["items"]).decode()


def test_what_is_not_there_is_said() -> None:
    player = played()
    with pytest.raises(NotFound, match="no model call r_none"):
        context_report(player.records, "r_none", player.artifacts.read)
    with pytest.raises(NotFound, match="not called a model"):
        context_report(Player().records, None, player.artifacts.read)
    player.artifacts.kept.clear()
    report = context_report(player.records, None, player.artifacts.read)
    assert "no artifact" in report["prefix"]["error"]  # type: ignore[index, call-overload, operator]
