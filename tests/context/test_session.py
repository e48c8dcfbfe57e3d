"""Prefix, tail, clearing and the wish for compaction."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from perdure.context import ContextBudget, PrefixParts, SessionContext
from perdure.kernel.errors import ConfigError, StorageError
from perdure.kernel.events import (
    CompactionFailed,
    CompactionRequested,
    ContextCompacted,
    ModelFailed,
    Native,
    PrefixSet,
    RequestId,
    ResultsCleared,
    SessionConfigured,
    SessionId,
    TurnEnded,
    TurnId,
    Usage,
)
from perdure.kernel.prompt import ResultsItem

from .world import FakeClock, Player, call, check_pairs, texts


def ended(player: Player) -> None:
    player.request()
    player.says("done")
    player.play(TurnEnded(turn=TurnId("t"), reason="done"))


# Prefix


def test_the_first_call_of_a_session_sets_the_prefix_once() -> None:
    player = Player()
    player.turn("go")
    [event] = player.context.prepare(player.state)
    assert isinstance(event, PrefixSet)
    assert event.why == "start"
    player.play(event)
    assert player.context.prepare(player.state) == []
    assert player.context.prompt(player.state).prefix.system.startswith("Be good.")


def test_a_changed_agent_file_takes_effect_at_the_next_turn_and_not_before() -> None:
    player = Player()
    player.turn("go")
    player.round()
    player.source.text = "Be better."
    assert player.request().prefix.system.startswith("Be good.")
    player.says("done")
    player.turn("again")
    [event] = player.context.prepare(player.state)
    assert isinstance(event, PrefixSet)
    assert event.why == "changed: SOUL.md"


def test_a_changed_memory_file_leaves_the_prefix_as_it_is() -> None:
    player = Player()
    player.turn("go")
    before = player.request().prefix
    player.says("done")
    player.source.memory = "The user likes tea."
    player.turn("again")
    assert player.request().prefix is before


def test_a_restart_reads_the_same_prefix_back_although_memory_changed() -> None:
    player = Player()
    player.turn("go")
    before = msgspec.json.encode(player.request().prefix)
    player.says("done")
    dump = player.context.dump()
    player.source.memory = "The user likes tea."
    player.context = player.fresh()
    player.context.load(*dump)
    player.turn("again")
    assert msgspec.json.encode(player.request().prefix) == before


def test_after_a_compaction_the_prefix_is_built_anew_with_the_memory_of_now() -> None:
    player = Player()
    player.turn("go")
    player.round()
    player.source.memory = "The user likes tea."
    player.play(ContextCompacted(through=3, summary="s"))
    prompt = player.request()
    assert "tea" in prompt.prefix.system
    assert player.context.prepare(player.state) == []


def test_a_prefix_that_cannot_be_read_back_is_built_anew() -> None:
    player = Player()
    player.turn("go")
    player.request()
    player.says("done")
    player.artifacts.kept.clear()
    dump = player.context.dump()
    player.context = player.fresh()
    player.context.load(*dump)
    player.turn("again")
    [event] = player.context.prepare(player.state)
    assert isinstance(event, PrefixSet)
    assert event.why == "unreadable"


def test_a_damaged_prefix_is_a_storage_error_and_not_a_guess() -> None:
    player = Player()
    player.turn("go")
    player.request()
    for name in player.artifacts.kept:
        player.artifacts.kept[name] = b"{"
    dump = player.context.dump()
    player.context = player.fresh()
    player.context.load(*dump)
    with pytest.raises(StorageError, match="damaged"):
        player.context.prompt(player.state)


class Broken:
    def stamp(self, workdir: str) -> object:
        return object()

    def build(self, workdir: str, session: SessionId) -> PrefixParts:
        raise ConfigError("no such variable", file="SOUL.md", line=1)


def test_a_broken_file_keeps_the_last_prefix_in_use() -> None:
    player = Player()
    player.turn("go")
    before = player.request().prefix
    player.says("done")
    player.context.source = Broken()
    player.turn("again")
    assert player.request().prefix is before


def test_a_session_without_any_prefix_says_what_is_wrong() -> None:
    player = Player()
    player.turn("go")
    player.context.source = Broken()
    with pytest.raises(ConfigError, match=r"SOUL\.md:1"):
        player.context.prepare(player.state)


# Tail


def test_the_tail_tells_the_time_at_which_the_turn_began() -> None:
    player = Player()
    player.turn("go")
    tail = player.request().tail
    assert "Saturday 2026-11-21 12:00 UTC" in tail
    player.says("", one := call("1"))
    player.finishes(one, "x")
    assert player.request().tail == tail


def test_the_time_is_told_in_the_owners_zone() -> None:
    player = Player()
    player.turn("go")
    player.play(*player.context.prepare(player.state))
    zone = timezone(timedelta(hours=9), "JST")
    context = SessionContext(player.source, player.artifacts, player.budget, FakeClock(), zone=zone)
    context.load(*player.context.dump())
    assert "Saturday 2026-11-21 21:00 JST" in context.prompt(player.state).tail


# Estimates


def test_the_estimate_learns_from_the_providers_count() -> None:
    player = Player()
    player.turn("x" * 40_000)
    player.request()
    assert 10_000 <= player.context.tokens <= 10_100
    player.says("done", usage=Usage(input=20_000, output=1))
    assert 19_000 <= player.context.tokens <= 21_000
    player.play(SessionConfigured(model="other/model"))
    assert player.context.tokens < 11_000


@pytest.mark.parametrize("count", [1, 10_000_000])
def test_a_provider_that_miscounts_does_not_upset_the_window(count: int) -> None:
    player = Player()
    player.turn("x" * 40_000)
    player.request()
    player.says("done", usage=Usage(input=count))
    assert 5_000 < player.context.tokens < 30_000


# Clearing


def small(**changes: int) -> ContextBudget:
    return ContextBudget(**{"window": 10_000, "answer": 1_000, "keep_results": 3} | changes)


def test_old_results_are_cleared_in_a_batch_and_the_newest_stay() -> None:
    player = Player(small())
    player.turn("go")
    cleared = []
    for n in range(30):
        cleared += [
            e for e in player.context.prepare(player.state) if isinstance(e, ResultsCleared)
        ]
        player.round(f"{n} " + "x" * 2_000)
        if cleared:
            break
    [event] = cleared
    assert event.freed >= 1_000
    results = [i for i in player.items() if isinstance(i, ResultsItem)]
    gone = [r for r in results if r.results[0].result.text.startswith("[cleared")]
    assert len(gone) >= 4
    assert results[: len(gone)] == gone
    assert len(results) - len(gone) >= 3
    check_pairs(player.items())


def test_a_cleared_result_says_where_the_whole_is_and_it_is_there() -> None:
    player = Player(small(keep_results=1))
    player.turn("go")
    whole = "y" * 3_000
    player.round(whole)
    player.round("short")
    player.play(ResultsCleared(through=len(player.records)))
    first, second = texts(player.items())[1:]
    name = first.partition("artifact:")[2].rstrip("]")
    assert "3,000 characters" in first
    assert player.artifacts.kept[name] == whole.encode()
    assert second == "short"


def test_with_a_full_disk_a_cleared_result_points_to_the_log() -> None:
    player = Player(small())
    player.turn("go")
    player.round("y" * 3_000)
    player.artifacts.full = True
    player.play(ResultsCleared(through=len(player.records)))
    assert f"event {len(player.records) - 1} of the session's log" in texts(player.items())[1]


def test_clearing_raises_the_revision_and_keeps_what_it_did_not_touch() -> None:
    player = Player(small())
    player.turn("go")
    player.round("y" * 3_000)
    player.round("short")
    before = player.context.prompt(player.state)
    items = list(before.items)
    player.play(ResultsCleared(through=len(player.records)))
    after = player.context.prompt(player.state)
    assert after.revision == before.revision + 1
    assert [a is b for a, b in zip(items, after.items, strict=True)] == [
        True,
        True,
        False,
        True,
        True,
    ]


def test_results_the_model_has_not_seen_are_not_cleared() -> None:
    player = Player(small(keep_results=1, window=4_000))
    player.turn("x" * 8_000)
    player.request()
    calls = [call(str(n)) for n in range(10)]
    player.says("", *calls)
    for one in calls:
        player.finishes(one, "x" * 900)
    assert not [e for e in player.context.prepare(player.state) if isinstance(e, ResultsCleared)]


def test_a_window_that_clearing_cannot_help_is_not_cleared_for_little() -> None:
    player = Player(small())
    player.turn("x" * 30_000)
    for _ in range(5):
        player.round("y" * 500)
    assert not [r for r in player.records if isinstance(r.event, ResultsCleared)]


# Wanting compaction


def test_compaction_is_wanted_when_asked_for_or_when_the_provider_refused_the_length() -> None:
    player = Player()
    player.turn("go")
    player.request()
    assert not player.context.wants_compaction(player.state)
    player.play(
        ModelFailed(
            request=RequestId("r"), model="m", kind="context_overflow", message="", fallback=0
        )
    )
    assert player.context.wants_compaction(player.state)
    player.play(CompactionFailed(reason="x"))
    assert not player.context.wants_compaction(player.state)
    player.play(CompactionRequested())
    assert player.context.wants_compaction(player.state)


def test_a_length_the_provider_refused_once_is_not_reached_again() -> None:
    player = Player(ContextBudget(window=1_000_000, keep_tokens=500))
    player.turn("go")
    for _ in range(40):
        player.round("x" * 4_000)
    assert not player.context.wants_compaction(player.state)
    player.play(
        ModelFailed(
            request=RequestId("r"),
            model="m",
            kind="context_overflow",
            message="",
            retry_at=datetime.now(UTC),
        )
    )
    player.play(ContextCompacted(through=len(player.records) - 20, summary="s"))
    for _ in range(39):
        player.round("x" * 4_000)
    assert player.context.tokens * 0.8 < 40_000
    assert player.context._folded.ceiling > 0


def test_a_failed_compaction_is_not_tried_again_at_once() -> None:
    player = Player(small(keep_tokens=1_000))
    player.turn("go")
    for _ in range(4):
        player.request()
        player.says("talk " * 2_000)
        player.turn("more")
    assert player.context.wants_compaction(player.state)
    player.play(CompactionFailed(reason="the model was away"))
    assert not player.context.wants_compaction(player.state)
    player.request()
    player.says("talk " * 1_000)
    assert player.context.wants_compaction(player.state)


def test_a_window_full_of_the_owners_own_words_does_not_ask_for_compaction_for_ever() -> None:
    player = Player(small(keep_tokens=100))
    player.turn("x" * 36_000)
    player.request()
    player.says("I see.")
    player.turn("and now?")
    assert not player.context.wants_compaction(player.state)


# Dump, load, speed


def test_loading_is_fast_and_a_round_costs_the_same_whatever_the_history() -> None:
    player = Player(ContextBudget(window=10**9))
    player.turn("go")

    def hundred() -> float:
        best = 1e9
        for _ in range(3):
            began = time.process_time()
            for _ in range(100):
                player.play(*player.context.prepare(player.state))
                player.context.wants_compaction(player.state)
                player.round("x" * 300)
            best = min(best, time.process_time() - began)
        return best

    early = hundred()
    while len(player.context._folded.items) < 10_000:
        player.round("x" * 300)
    late = hundred()
    assert late < 2 * early + 0.002

    dump = player.context.dump()
    best = 1e9
    for _ in range(10):
        context = player.fresh()
        began = time.process_time()
        context.load(*dump)
        best = min(best, time.process_time() - began)
    assert best < 0.020
    assert context.dump() == dump


def test_native_replies_survive_dump_and_load_to_the_byte() -> None:
    from perdure.kernel.events import ModelResponded, Text
    from perdure.kernel.prompt import AssistantItem

    body = b'{"b": 1,  "a":"\xc3\xa9\\u00e9"}'
    player = Player()
    player.turn("go")
    player.request()
    player.play(
        ModelResponded(
            request=RequestId("r"),
            model="m",
            parts=(Text(text="x"),),
            native=Native(format="f", body=msgspec.Raw(body)),
        )
    )
    context = player.fresh()
    context.load(*player.context.dump())
    item = context.prompt(player.state).items[-1]
    assert isinstance(item, AssistantItem) and item.native is not None
    assert bytes(item.native.body) == body


def test_a_dump_that_is_none_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        Player().context.load(b'{"items": 3}', b"")
