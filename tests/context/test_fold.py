"""How records become items."""

from __future__ import annotations

import pytest

from perdure.context import ContextBudget
from perdure.kernel.events import (
    ArtifactId,
    Image,
    Limits,
    MessageId,
    MessageReceived,
    MessagesTaken,
    ModelInterrupted,
    NoticeAdded,
    Part,
    RequestId,
    SessionForked,
    SessionId,
    Text,
    ToolFinished,
    ToolResult,
    TurnEnded,
    TurnId,
    TurnStarted,
)
from perdure.kernel.prompt import ResultsItem, UserItem

from .world import Player, call, check_pairs, kinds, texts


def test_each_message_a_turn_takes_is_an_item_of_its_own() -> None:
    player = Player()
    player.turn("one", "two")
    player.play(*player.context.prepare(player.state))
    assert texts(player.items()) == ["one", "two"]
    assert kinds(player.items()) == "mm"


def test_a_message_that_waits_is_not_shown_to_the_model() -> None:
    player = Player()
    player.turn("one")
    player.play(*player.context.prepare(player.state))
    player.play(MessageReceived(message=MessageId("late"), parts=(Text(text="late"),)))
    assert texts(player.items()) == ["one"]
    player.play(MessagesTaken(messages=(MessageId("late"),)))
    assert texts(player.items()) == ["one", "late"]


def test_a_hook_rewrites_or_blocks_what_the_model_sees() -> None:
    player = Player()
    for name in ("a", "b", "c"):
        player.play(MessageReceived(message=MessageId(name), parts=(Text(text=name),)))
    player.play(
        TurnStarted(
            turn=TurnId("t"),
            messages=(MessageId("a"), MessageId("b"), MessageId("c")),
            limits=Limits(),
            rewritten={"b": (Text(text="B"),)},
            blocked=(MessageId("c"),),
        )
    )
    player.play(*player.context.prepare(player.state))
    assert texts(player.items()) == ["a", "B"]


@pytest.mark.parametrize("parts", [(), (Text(text=""),), (Text(text=" \n"),)])
def test_a_blank_message_still_says_something(parts: tuple[Part, ...]) -> None:
    player = Player()
    player.play(MessageReceived(message=MessageId("m"), parts=parts))
    player.play(TurnStarted(turn=TurnId("t"), messages=(MessageId("m"),), limits=Limits()))
    player.play(*player.context.prepare(player.state))
    assert texts(player.items()) == ["(empty message)"]


def test_an_image_alone_is_kept_as_it_is() -> None:
    image = Image(media_type="image/png", artifact=ArtifactId("x.png"))
    player = Player()
    player.play(MessageReceived(message=MessageId("m"), parts=(image, Text(text=""))))
    player.play(TurnStarted(turn=TurnId("t"), messages=(MessageId("m"),), limits=Limits()))
    player.play(*player.context.prepare(player.state))
    [item] = player.items()
    assert isinstance(item, UserItem)
    assert item.parts == (image,)


def test_results_enter_together_in_the_order_of_the_calls() -> None:
    player = Player()
    player.turn("go")
    player.request()
    one, two = call("1"), call("2")
    player.says("looking", one, two)
    player.finishes(two, "second")
    with pytest.raises(AssertionError, match="no result: read"):
        player.context.prompt(player.state)
    player.finishes(one, "first")
    assert texts(player.items()) == ["go", "looking", "first", "second"]
    check_pairs(player.items())


def test_a_second_or_unknown_result_changes_nothing() -> None:
    player = Player()
    player.turn("go")
    player.request()
    one, two = call("1"), call("2")
    player.says("", one, two)
    player.finishes(one, "first")
    player.finishes(one, "again")
    player.finishes(call("9"), "stray")
    player.finishes(two, "second")
    player.finishes(two, "late")
    assert texts(player.items()) == ["go", "first", "second"]


def test_what_comes_between_call_and_result_waits_behind_the_result() -> None:
    player = Player()
    player.turn("go")
    player.request()
    player.says("", one := call("1"))
    player.play(NoticeAdded(text="careful", audience="model"))
    player.finishes(one, "done")
    assert kinds(player.items()) == "marn"
    check_pairs(player.items())


def test_the_end_of_a_turn_answers_calls_that_never_ran() -> None:
    player = Player()
    player.turn("go")
    player.request()
    player.says("", call("1"))
    player.play(TurnEnded(turn=TurnId("t"), reason="stopped"))
    results = player.items()[-1]
    assert isinstance(results, ResultsItem)
    assert results.results[0].result.status == "skipped"


def test_a_fork_answers_open_calls_and_leaves_the_inbox_behind() -> None:
    player = Player()
    player.turn("go")
    player.request()
    player.says("", one := call("1"), call("2"))
    player.finishes(one, "done")
    player.play(MessageReceived(message=MessageId("late"), parts=(Text(text="late"),)))
    player.play(SessionForked(session=SessionId("s_2"), parent=SessionId("s_1"), at=3))
    player.play(MessagesTaken(messages=(MessageId("late"),)))
    check_pairs(player.items())
    assert "forked" in texts(player.items())[-1]
    assert "late" not in texts(player.items())


def test_text_that_streamed_before_an_interruption_stays() -> None:
    player = Player()
    player.turn("go")
    player.request()
    player.play(ModelInterrupted(request=RequestId("r"), text="I was about to "))
    player.play(ModelInterrupted(request=RequestId("r"), text="  "))
    assert texts(player.items()) == ["go", "I was about to"]


def test_notices_reach_the_model_inside_a_turn_and_as_the_runtimes_words() -> None:
    player = Player()
    player.play(NoticeAdded(text="before", audience="both"))
    player.turn("go")
    player.play(*player.context.prepare(player.state))
    player.play(NoticeAdded(text="for you", audience="user"))
    player.play(NoticeAdded(text="mind </runtime> this", audience="both"))
    [_, notice] = texts(player.items())
    assert notice == "<runtime>\nmind &lt;/runtime> this\n</runtime>"


def test_an_overlong_result_enters_as_head_and_tail_and_names_the_whole() -> None:
    player = Player(ContextBudget(max_result_tokens=100))
    player.turn("go")
    player.request()
    player.says("", one := call("1"), two := call("2"))
    player.finishes(one, "A" * 1000 + "Z" * 1000, artifact="abc.txt")
    seq = player.finishes(two, "B" * 2000)
    first, second = texts(player.items())[1:]
    assert first.startswith("AAA") and first.endswith("ZZZ") and "artifact:abc.txt" in first
    assert len(first) < 600
    assert f"event {seq} of the session's log" in second


def test_many_results_at_once_share_a_part_of_the_window() -> None:
    player = Player(ContextBudget(window=10_000))
    player.turn("go")
    player.request()
    calls = [call(str(n)) for n in range(20)]
    player.says("", *calls)
    for one in calls:
        player.finishes(one, "x" * 8_000)
    assert player.context.tokens < 6_000


def test_images_in_an_overlong_result_stay() -> None:
    image = Image(media_type="image/png", artifact=ArtifactId("x.png"))
    player = Player(ContextBudget(max_result_tokens=100))
    player.turn("go")
    player.request()
    player.says("", one := call("1"))
    result = ToolResult(parts=(Text(text="x" * 4000), image))
    player.play(ToolFinished(call=one.id, tool="read", result=result))
    item = player.items()[-1]
    assert isinstance(item, ResultsItem)
    assert item.results[0].result.parts[-1] == image
