"""Compaction takes the old away and nothing of the owner's, or does nothing at all (C3)."""

from __future__ import annotations

import pytest

from perdure.context import ContextBudget
from perdure.context.compaction import TASK, plan, render
from perdure.kernel.errors import ModelError
from perdure.kernel.events import (
    AnyEvent,
    CompactionFailed,
    CompactionRequested,
    ContextCompacted,
    ModelFailed,
    RequestId,
    Text,
    Usage,
)
from perdure.kernel.prompt import AssistantItem, Reply, ResultsItem, UserItem

from .world import FakeModel, Player, call, check_pairs, kinds, texts

BUDGET = ContextBudget(window=20_000, answer=2_000, keep_tokens=2_000)


def long_talk(budget: ContextBudget = BUDGET, rounds: int = 20) -> Player:
    player = Player(budget)
    player.turn("first wish")
    for n in range(rounds):
        player.round(f"{n} " + "x" * 2_000)
        if n == rounds // 2:
            player.request()
            player.says("half way")
            player.turn("second wish")
    return player


async def compact(player: Player, model: FakeModel) -> AnyEvent:
    return await player.context.compact(player.state, model, RequestId("r"))


async def test_the_owners_messages_and_the_end_stay_and_a_summary_stands_for_the_rest() -> None:
    player = long_talk()
    before = player.items()
    event = await compact(player, FakeModel("## Done\nEverything."))
    assert isinstance(event, ContextCompacted)
    assert event.after < event.before
    player.play(event)
    after = player.items()
    check_pairs(after)
    assert kinds(after[:3]) == "mms"
    assert texts(after[:2]) == ["first wish", "second wish"]
    assert "## Done\nEverything." in texts(after)[2]
    assert all(a is b for a, b in zip(after[3:], before[-len(after[3:]) :], strict=True))
    assert 2 <= len(after[3:]) < len(before) / 2
    assert player.context.tokens < event.before / 2


async def test_the_summary_is_asked_for_with_the_same_prefix_and_items_as_any_call() -> None:
    player = long_talk()
    prompt, model = player.request(), FakeModel("short")
    await compact(player, model)
    [asked] = model.prompts
    assert (asked.prefix, asked.revision) == (prompt.prefix, prompt.revision)
    assert asked.items is prompt.items
    assert TASK in asked.tail
    assert not asked.tools


async def test_what_the_owner_wants_kept_reaches_the_model() -> None:
    player = long_talk()
    player.play(CompactionRequested(focus="the invoice numbers"))
    model = FakeModel("short")
    await compact(player, model)
    assert "the invoice numbers" in model.prompts[0].tail


async def test_what_a_summary_cost_is_recorded() -> None:
    event = await compact(long_talk(), FakeModel("short"))
    assert isinstance(event, ContextCompacted)
    assert (event.model, event.usage, event.cost_usd) == (
        "fake/model",
        Usage(input=100, output=10),
        0.01,
    )


@pytest.mark.parametrize(
    "answer",
    [
        ModelError("overloaded", kind="overloaded"),
        Reply(model="m", parts=(), stop="end"),
        Reply(model="m", parts=(Text(text=" \n"),), stop="end"),
        Reply(model="m", parts=(Text(text="cut o"),), stop="length"),
        Reply(model="m", parts=(Text(text="I cannot"),), stop="refusal"),
        "y" * 200_000,
    ],
)
async def test_an_attempt_without_a_usable_summary_changes_nothing(
    answer: str | Exception | Reply,
) -> None:
    player = long_talk()
    before, revision = player.items(), player.context.prompt(player.state).revision
    event = await compact(player, FakeModel(answer, answer))
    assert isinstance(event, CompactionFailed)
    player.play(event)
    assert player.items() == before
    assert player.context.prompt(player.state).revision == revision


async def test_a_model_that_fails_in_passing_is_asked_a_second_time() -> None:
    player = long_talk()
    waits = player.context._clock.slept  # type: ignore[attr-defined]
    model = FakeModel(ModelError("busy", kind="overloaded"), "short")
    assert isinstance(await compact(player, model), ContextCompacted)
    assert model.prompts[0] == model.prompts[1] and waits == [2.0]
    slow = FakeModel(ModelError("busy", kind="rate_limited", retry_after=7.0), "short")
    assert isinstance(await compact(player, slow), ContextCompacted)
    assert waits == [2.0, 7.0]


@pytest.mark.parametrize(
    "error",
    [
        ModelError("no", kind="invalid"),
        ModelError("later", kind="rate_limited", retry_after=600.0),
        ModelError("broke off", kind="cut", partial="## Done"),
    ],
)
async def test_what_would_fail_again_take_long_or_was_paid_for_is_not_tried_again(
    error: ModelError,
) -> None:
    player, model = long_talk(), FakeModel(error, "short")
    assert isinstance(await compact(player, model), CompactionFailed)
    assert len(model.prompts) == 1 and not player.context._clock.slept  # type: ignore[attr-defined]


async def test_a_short_conversation_has_nothing_to_compact() -> None:
    player = Player()
    player.turn("hello")
    player.play(CompactionRequested())
    assert isinstance(await compact(player, FakeModel()), CompactionFailed)


async def test_an_owner_who_asks_gets_a_compaction_even_far_from_the_limit() -> None:
    player = long_talk(ContextBudget(window=1_000_000))
    assert isinstance(await compact(player, FakeModel("short")), CompactionFailed)
    player.play(CompactionRequested())
    assert isinstance(await compact(player, FakeModel("short")), ContextCompacted)


async def test_a_conversation_that_no_longer_fits_is_summarized_in_pieces() -> None:
    player = long_talk(rounds=60)
    player.play(
        ModelFailed(
            request=RequestId("r"), model="m", kind="context_overflow", message="", fallback=0
        )
    )
    model = FakeModel(*[f"summary {n}" for n in range(20)])
    event = await compact(player, model)
    assert isinstance(event, ContextCompacted)
    assert len(model.prompts) > 1
    assert event.summary == f"summary {len(model.prompts) - 1}"
    assert event.usage.input == 100 * len(model.prompts)
    assert all(p.tokens < BUDGET.window for p in model.prompts)
    assert len({p.revision for p in model.prompts}) == len(model.prompts)
    second = model.prompts[1].items[0]
    assert isinstance(second, UserItem)
    assert "summary 0" in texts([second])[0]
    player.play(event)
    check_pairs(player.items())


async def test_a_second_compaction_replaces_the_first_summary() -> None:
    player = long_talk()
    for name in ("one", "two"):
        event = await compact(player, FakeModel(f"summary {name}"))
        player.play(event)
        player.request()
        player.says("and then")
        player.turn(f"wish after {name}")
        for _ in range(10):
            player.round("x" * 2_000)
    said = "\n".join(texts(player.items()))
    assert "summary one" not in said
    assert "summary two" in said
    assert "first wish" in said and "wish after one" in said


async def test_more_words_of_the_owner_than_there_is_room_go_to_an_artifact_by_name() -> None:
    player = Player(BUDGET)
    for n in range(12):
        player.turn(f"wish {n}: " + "w" * 4_000)
        player.request()
        player.says("done")
    event = await compact(player, FakeModel("sum"))
    player.play(event)
    said = texts(player.items())
    [summary] = [t for t in said if "sum" in t]
    name = summary.partition("artifact:")[2].partition(".txt")[0] + ".txt"
    kept = player.artifacts.kept[name].decode()
    for n in range(12):
        assert f"wish {n}: " in kept or any(t.startswith(f"wish {n}: ") for t in said)
    assert "wish 0: " in kept
    assert player.context.tokens < BUDGET.window


async def test_with_a_full_disk_the_owners_words_stay_in_the_context() -> None:
    player = Player(BUDGET)
    for n in range(12):
        player.turn(f"wish {n}: " + "w" * 4_000)
        player.request()
        player.says("done")
    event = await compact(player, FakeModel("sum"))
    player.artifacts.full = True
    player.play(event)
    assert sum(t.startswith("wish") for t in texts(player.items())) == 12


def test_messages_taken_together_are_not_parted() -> None:
    player = Player(ContextBudget(window=20_000, keep_tokens=400))
    player.turn("a" * 1_000, "b" * 1_000, "c" * 1_000)
    player.request()
    player.says("x")
    player.turn("d" * 1_000, "e" * 1_000, "f" * 1_000)
    chosen = plan(player.context._folded, player.budget)
    assert chosen.count == 4


def test_an_item_reads_as_plain_text_for_the_summary() -> None:
    player = Player()
    player.turn("please")
    player.request()
    player.says("I will", one := call("1", "read", path="a.txt"))
    player.finishes(one, "r" * 500)
    user, assistant, results = player.items()
    assert render(user, 200) == "User: please"
    assert isinstance(assistant, AssistantItem)
    assert render(assistant, 200) == 'Agent: I will\nAgent calls read {"path":"a.txt"}'
    assert isinstance(results, ResultsItem)
    assert "300 characters" in render(results, 200)


def test_the_models_that_need_no_network_know_the_request_for_a_summary() -> None:
    from perdure.models.local import COMPACTION

    assert TASK.startswith(COMPACTION)


async def test_all_answers_together_are_as_long_as_was_reserved() -> None:
    player, model = long_talk(), FakeModel("short")
    await player.context.compact(player.state, model, RequestId("r"), max_output=500)
    assert [p.max_output for p in model.prompts] == [500]
    # Too long for the window, so that it is read in pieces.
    player, model = long_talk(rounds=60), FakeModel(*["short"] * 20)
    player.play(
        ModelFailed(
            request=RequestId("r"), model="m", kind="context_overflow", message="", fallback=0
        )
    )
    await player.context.compact(player.state, model, RequestId("r"), max_output=15)
    assert [p.max_output for p in model.prompts] == [15, 5]
    model = FakeModel("short", "short")
    event = await player.context.compact(player.state, model, RequestId("r"), max_output=10)
    assert [p.max_output for p in model.prompts] == [10]
    assert isinstance(event, CompactionFailed) and "budget" in event.reason
