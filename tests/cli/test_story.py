"""What a person sees is folded from records and deltas, and what was shown is never changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from perdure.cli.view.blocks import Answer, Asked, Block, Note, Said, ToolDone
from perdure.cli.view.story import Story, money, tokens
from perdure.kernel import events as e

from .fake_server import DIFF, ESSAY, call, result

START = datetime(2026, 11, 21, tzinfo=UTC)
TURN, MESSAGE, REQUEST = e.TurnId("t"), e.MessageId("m"), e.RequestId("r")


class Told:
    """A story that events are told to, one second apart."""

    def __init__(self, *, live: bool = True) -> None:
        self.story = Story()
        if live:
            self.story.connected(START)
        self.blocks: list[Block] = []
        self.seq = 0

    def __call__(self, *events: e.AnyEvent) -> Told:
        for event in events:
            self.seq += 1
            at = START + timedelta(seconds=self.seq)
            self.story.feed(e.Record(seq=self.seq, at=at, event=event))
            self.blocks += self.story.take()
        return self

    def text(self, *pieces: str) -> Told:
        for piece in pieces:
            self.story.delta(e.TextDelta(request=REQUEST, text=piece))
            self.blocks += self.story.take()
        return self

    @property
    def answers(self) -> str:
        return "\n\n".join(b.markdown for b in self.blocks if isinstance(b, Answer))


def message(text: str = "hi", *, id: str = "m", sender: str = "terminal") -> e.MessageReceived:
    return e.MessageReceived(
        message=e.MessageId(id), parts=(e.Text(text=text),), source="api", sender=sender
    )


def started(*messages: str) -> e.TurnStarted:
    ids = tuple(e.MessageId(one) for one in messages or ("m",))
    return e.TurnStarted(turn=TURN, messages=ids, limits=e.Limits())


def requested() -> e.ModelRequested:
    return e.ModelRequested(request=REQUEST, model="p/m", prefix="x", items=1)


def responded(text: str, *calls: e.ToolCall, cost: float | None = 0.5) -> e.ModelResponded:
    return e.ModelResponded(
        request=REQUEST,
        model="p/m",
        parts=(e.Text(text=text), *calls),
        usage=e.Usage(input=10, output=5),
        cost_usd=cost,
    )


def ended(reason: e.TurnEndReason = "done", error: str = "") -> e.TurnEnded:
    return e.TurnEnded(turn=TURN, reason=reason, error=error)


def test_a_message_shows_where_the_agent_took_it_and_waits_visibly_until_then() -> None:
    told = Told()(message("first"), started(), message("steer", id="m2"))
    assert told.blocks == [Said(text="first")]
    assert list(told.story.pending) == ["m2"]
    told(e.MessagesTaken(messages=(e.MessageId("m2"),)))
    assert told.blocks[1:] == [Said(text="steer")]
    assert not told.story.pending


def test_another_persons_message_names_its_sender() -> None:
    assert Told()(message("x", sender="ann"), started()).blocks == [Said(text="x", sender="ann")]


@given(st.integers(1, 40))
def test_an_answer_is_the_same_whether_streamed_in_any_pieces_or_not(step: int) -> None:
    whole = Told()(message(), started(), requested(), responded(ESSAY), ended())
    pieces = [ESSAY[i : i + step] for i in range(0, len(ESSAY), step)]
    streamed = Told()(message(), started(), requested()).text(*pieces)
    streamed(responded(ESSAY), ended())
    assert streamed.answers.split() == whole.answers.split()
    assert len(streamed.blocks) > len(whole.blocks)


def test_finished_paragraphs_come_out_before_the_answer_is_over() -> None:
    told = Told()(message(), started(), requested()).text("One.\n\nTw")
    assert told.answers == "One."
    assert told.story.stream is not None
    assert told.story.stream.rest == "Tw"


def test_an_answer_joined_in_the_middle_is_shown_whole_once_it_is_known() -> None:
    told = Told(live=False)(message(), started(), requested()).text("cond para.\n\nThird\n\nX")
    assert not told.answers
    told(responded("First.\n\nSecond para.\n\nThird\n\nX"))
    assert told.answers == "First.\n\nSecond para.\n\nThird\n\nX"


def test_after_a_lost_connection_nothing_is_repeated_or_missing() -> None:
    told = Told()(message(), started(), requested()).text("One.\n\nTwo.\n\nThr")
    told.story.lost_connection()
    told.story.connected(START + timedelta(hours=1))
    told.text(" and.\n\nFour.\n\n")
    told(responded("One.\n\nTwo.\n\nThree and.\n\nFour."), ended())
    assert told.answers == "One.\n\nTwo.\n\nThree and.\n\nFour."


def test_a_cut_answer_stays_and_the_next_attempt_starts_anew() -> None:
    told = Told()(message(), started(), requested()).text("One.\n\nTw")
    told(
        e.ModelFailed(
            request=REQUEST,
            model="p/m",
            kind="cut",
            message="cut",
            partial="One.\n\nTw",
            retry_at=START,
        ),
        requested(),
        responded("Whole."),
    )
    assert told.answers == "One.\n\nTw\n\nWhole."
    assert Note(text="p/m: cut; trying again", level="warning") in told.blocks


def test_what_was_streamed_stays_when_the_turn_is_stopped() -> None:
    told = Told()(message(), started(), requested()).text("Half a sent")
    told(e.ModelInterrupted(request=REQUEST, text="Half a sent"), ended("stopped"))
    assert told.answers == "Half a sent"
    assert told.blocks[-1] == Note(text="■ stopped", level="warning")
    assert not told.story.busy


def test_a_running_call_shows_the_end_of_its_output_until_it_is_done() -> None:
    ran = call("bash", command="seq 9")
    told = Told()(message(), started(), requested(), responded("", ran))
    assert told.story.calls[ran.id].since is None
    told(e.ToolStarted(call=ran.id, tool="bash"))
    told.story.delta(e.OutputDelta(call=ran.id, stream="stdout", text="1\n2\n"))
    assert told.story.calls[ran.id].output == "1\n2\n"
    done = result("1\n2\n", exit_code=0)
    told(e.ToolFinished(call=ran.id, tool="bash", result=done, ms=7))
    assert told.blocks[-1] == ToolDone(tool="bash", arguments=ran.arguments, result=done, ms=7)
    assert not told.story.calls


def test_an_approved_diff_is_not_shown_twice() -> None:
    edit = call("edit", path="a")
    asked = e.ApprovalRequested(
        approval=e.ApprovalId("a"),
        call=edit.id,
        tool="edit",
        arguments=edit.arguments,
        reason="asks",
        preview=DIFF,
    )
    told = Told()(message(), started(), requested(), responded("", edit), asked)
    assert told.blocks[-1] == Asked(request=asked)
    assert list(told.story.approvals) == ["a"]
    told(
        e.ApprovalDecided(approval=asked.approval, answer="allow"),
        e.ToolStarted(call=edit.id, tool="edit"),
        e.ToolFinished(call=edit.id, tool="edit", result=result("ok", diff=DIFF)),
    )
    last = told.blocks[-1]
    assert isinstance(last, ToolDone)
    assert last.diff_shown
    assert not told.story.approvals


def test_cost_and_tokens_add_up_and_an_unknown_price_is_said() -> None:
    told = Told()(message(), started(), requested(), responded("a"), requested(), responded("b"))
    assert (told.story.cost_usd, told.story.usage.input) == (1.0, 20)
    assert not told.story.unpriced
    told(requested(), responded("c", cost=None))
    assert told.story.unpriced
    assert money(1.0, unpriced=True) == "≥$1.00"
    assert money(0.0123) == "$0.0123"
    assert (tokens(999), tokens(1500), tokens(2_000_000)) == (
        "999 tokens",
        "1.5k tokens",
        "2.0M tokens",
    )


def test_a_failed_turn_says_why() -> None:
    told = Told()(message(), started(), ended("failed", "no key\n  log in"))
    assert told.blocks[-1] == Note(text="✗ the turn failed: no key\n  log in", level="error")


def test_a_fork_begins_without_its_parents_open_work() -> None:
    told = Told()(message(), started(), requested(), responded("", call("bash", command="x")))
    told(e.SessionForked(session=e.SessionId("n"), parent=e.SessionId("p"), at=4))
    assert not told.story.busy
    assert not told.story.calls


def test_a_question_ends_with_its_turn() -> None:
    edit = call("edit", path="a")
    asked = e.ApprovalRequested(
        approval=e.ApprovalId("a"), call=edit.id, tool="edit", arguments={}, reason="", preview=""
    )
    told = Told()(message(), started(), requested(), responded("", edit), asked, ended("stopped"))
    assert not told.story.approvals


def test_small_facts_are_said_in_good_english() -> None:
    assert tokens(1) == "1 token"
    assert money(0.0, unpriced=True) == "–"
    told = Told()(message(), started(), requested())
    failure = e.ModelFailed(
        request=REQUEST, model="p/m", kind="rate_limit", message="busy.\nmore", retry_at=START
    )
    told(failure)
    assert told.blocks[-1] == Note(text="p/m: busy; trying again", level="warning")


def test_a_limit_between_turns_is_told_and_one_that_ends_a_turn_is_left_to_its_end() -> None:
    limit = e.LimitReached(limit="tokens", used=9, allowed=9, scope="day", final=True)
    between = Told()(limit)
    assert [b.text for b in between.blocks if isinstance(b, Note)] == [
        "This agent today has used 9 of 9 tokens."
    ]
    within = Told()(message(), started("m"))
    before = len(within.blocks)
    assert len(within(limit).blocks) == before
