"""What holds for any history of a session."""

from __future__ import annotations

from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from perdure.context import ContextBudget
from perdure.context.compaction import plan
from perdure.context.fold import split
from perdure.kernel.events import (
    ApprovalId,
    ApprovalRequested,
    CompactionFailed,
    ContextCompacted,
    Limits,
    MessageId,
    MessageReceived,
    MessagesTaken,
    ModelFailed,
    ModelInterrupted,
    ModelRequested,
    ModelResponded,
    Native,
    NoticeAdded,
    Part,
    PrefixSet,
    RequestId,
    ResultsCleared,
    SessionConfigured,
    SessionForked,
    SessionId,
    Text,
    ToolCall,
    ToolFinished,
    ToolResult,
    ToolStarted,
    TurnEnded,
    TurnId,
    TurnStarted,
    Usage,
)
from perdure.kernel.prompt import ResultsItem

from .world import Player, call, check_pairs, texts

BUDGET = ContextBudget(
    window=4_000,
    answer=500,
    max_result_tokens=300,
    keep_results=2,
    keep_tokens=600,
    owner_share=0.1,
)


def _moves(seed: int, length: int) -> list[tuple[int, int]]:
    random = Random(seed)
    return [(random.randrange(100), random.randrange(2**16)) for _ in range(length)]


draws = st.builds(_moves, st.integers(0, 2**32), st.integers(1, 200))
"""Long histories: lists that hypothesis draws itself are six long on average."""


class History:
    """Plays valid events, chosen by pairs of numbers, and remembers what the owner was heard to say."""

    def __init__(self) -> None:
        self.player = Player(BUDGET)
        self.waiting: list[str] = []
        self.open: list[ToolCall] = []
        self.in_turn = False
        self.heard: list[str] = []
        self.count = 0

    def step(self, kind: int, number: int) -> None:
        if kind < 15 or (not self.in_turn and not self.waiting):
            self._message(number)
        elif kind >= 97:
            self._anywhere(kind, number)
        elif not self.in_turn:
            self._take(number, start=True)
        elif self.open:
            self._tools(kind, number)
        else:
            self._turn(kind, number)

    def _name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def _message(self, number: int) -> None:
        name = self._name("m")
        self.waiting.append(name)
        text = f"[{name}] " + "w" * (number % 700)
        self.player.play(MessageReceived(message=MessageId(name), parts=(Text(text=text),)))

    def _take(self, number: int, *, start: bool) -> None:
        count = number % len(self.waiting) + 1
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        ids = tuple(MessageId(m) for m in taken)
        blocked = ids[:1] if number % 7 == 0 else ()
        rewritten: dict[str, tuple[Part, ...]] = (
            {ids[-1]: (Text(text=f"[{ids[-1]}] rewritten"),)} if number % 5 == 0 else {}
        )
        self.heard += [m for m in ids if m not in blocked]
        if start:
            self.in_turn = True
            event = TurnStarted(
                turn=TurnId(self._name("t")),
                messages=ids,
                limits=Limits(),
                blocked=blocked,
                rewritten=rewritten,
            )
            self.player.play(event)
        else:
            self.player.play(MessagesTaken(messages=ids, blocked=blocked, rewritten=rewritten))

    def _anywhere(self, kind: int, number: int) -> None:
        if kind == 97:
            self.player.play(
                SessionForked(session=SessionId("s_2"), parent=SessionId("s_1"), at=number)
            )
            self.waiting, self.open, self.in_turn = [], [], False
        elif kind == 98:
            self.player.play(SessionConfigured(model="x/y"))
        elif self.in_turn:
            self.player.play(TurnEnded(turn=TurnId("t"), reason="stopped"))
            self.open, self.in_turn = [], False

    def _tools(self, kind: int, number: int) -> None:
        one = self.open[number % len(self.open)]
        if kind < 25:
            self.player.play(ToolStarted(call=one.id, tool=one.name))
        elif kind < 30:
            self.player.play(
                ApprovalRequested(
                    approval=ApprovalId("a"), call=one.id, tool="x", arguments={}, reason=""
                )
            )
        elif kind < 35:
            self.player.play(NoticeAdded(text=self._name("n"), audience="model"))
        else:
            self.open.remove(one)
            text = f"result of {one.id} " + "r" * (number % 3_000)
            self.player.play(
                ToolFinished(
                    call=one.id, tool=one.name, result=ToolResult(parts=(Text(text=text),))
                )
            )

    def _turn(self, kind: int, number: int) -> None:
        player = self.player
        if kind < 25 and self.waiting:
            self._take(number, start=False)
        elif kind < 70:
            self._response(number)
        elif kind < 73:
            player.play(ModelInterrupted(request=RequestId("r"), text="half " * (number % 3)))
        elif kind < 76:
            player.play(
                ModelFailed(request=RequestId("r"), model="m", kind="context_overflow", message="")
            )
        elif kind < 79:
            player.play(NoticeAdded(text=self._name("n"), audience="both"))
        elif kind < 83:
            player.play(*player.context.prepare(player.state))
        elif kind < 86:
            player.play(ResultsCleared(through=number % (len(player.records) + 1)))
        elif kind < 89:
            through = number % (len(player.records) + 1)
            player.play(ContextCompacted(through=through, summary=self._name("summary ")))
        elif kind < 91:
            chosen = plan(player.context._folded, BUDGET, forced=True)
            if chosen.count:
                player.play(
                    ContextCompacted(through=chosen.through, summary=self._name("summary "))
                )
        elif kind < 92:
            player.play(CompactionFailed(reason="x"))
        else:
            player.play(TurnEnded(turn=TurnId("t"), reason="done"))
            self.in_turn = False

    def _response(self, number: int) -> None:
        self.open = [call(f"c{n}", "read", n=number) for n in range(number % 4)]
        native = Native(format="f", body=msgspec.Raw(b'{"x": %d}' % number))
        self.player.play(ModelRequested(request=RequestId("r"), model="m", prefix="p", items=1))
        self.player.play(
            ModelResponded(
                request=RequestId("r"),
                model="m",
                parts=(Text(text=self._name("answer ")), *self.open),
                native=native if number % 2 else None,
                usage=Usage(input=number),
            )
        )


def played(draws: list[tuple[int, int]]) -> History:
    history = History()
    for kind, number in draws:
        history.step(kind, number)
    return history


@given(draws, st.floats(0, 1), st.floats(0, 1))
def test_any_prefix_fed_again_gives_the_same_context_also_through_dumps(
    draws: list[tuple[int, int]], first: float, second: float
) -> None:
    player = played(draws).player
    whole, records = player.context.dump(), player.records
    cuts = sorted((int(first * len(records)), int(second * len(records))))
    context = player.fresh()
    for n, record in enumerate(records):
        if n in cuts:
            dump = context.dump()
            context = player.fresh()
            context.load(*dump)
            assert context.dump() == dump
        context.feed(record)
    assert context.dump() == whole
    for record in records:
        context.feed(record)
    assert context.dump() == whole


@given(draws)
def test_every_call_has_exactly_one_result_whenever_a_prompt_can_be_made(
    draws: list[tuple[int, int]],
) -> None:
    history = History()
    for kind, number in draws:
        history.step(kind, number)
        if history.open:
            try:
                history.player.context.prompt(history.player.state)
            except AssertionError as error:
                assert "no result" in str(error)
            else:
                raise AssertionError("a prompt with an open call")
        else:
            check_pairs(history.player.context._folded.items)


@given(draws)
def test_no_message_of_the_owner_is_ever_dropped(draws: list[tuple[int, int]]) -> None:
    history = played(draws)
    folded = history.player.context._folded
    said = texts([*folded.items, *folded.held])
    spilled = [history.player.artifacts.kept[a].decode() for a in folded.spilled]
    assert folded.spilled_messages == sum(
        sum(f"[{m}] " in s for s in spilled) for m in history.heard
    )
    for message in history.heard:
        tag = f"[{message}] "
        in_context = sum(text.startswith(tag) for text in said)
        in_artifacts = sum(tag in text for text in spilled)
        assert in_context + in_artifacts == 1
    if spilled and not folded.open:
        assert all(any(a in text for text in said) for a in folded.spilled)


@given(draws)
def test_items_keep_their_identity_while_the_revision_is_unchanged(
    draws: list[tuple[int, int]],
) -> None:
    history = History()
    folded = history.player.context._folded
    items, revision = list(folded.items), folded.revision
    for kind, number in draws:
        history.step(kind, number)
        if folded.revision == revision:
            assert len(folded.items) >= len(items)
            assert all(a is b for a, b in zip(items, folded.items, strict=False))
        else:
            assert folded.revision > revision
            known = {id(i) for i in items}
            kept = [i for i in folded.items if id(i) in known]
            order = [id(i) for i in items]
            assert [order.index(id(i)) for i in kept] == sorted(order.index(id(i)) for i in kept)
        items, revision = list(folded.items), folded.revision


@given(draws)
def test_sequence_numbers_of_items_never_fall_behind_the_summary(
    draws: list[tuple[int, int]],
) -> None:
    folded = played(draws).player.context._folded
    seqs = [i.seq for i in folded.items]
    assert seqs == sorted(seqs)


@given(draws, st.booleans())
def test_a_planned_cut_is_where_the_fold_cuts_and_parts_no_call_from_its_result(
    draws: list[tuple[int, int]], forced: bool
) -> None:
    folded = played(draws).player.context._folded
    chosen = plan(folded, BUDGET, forced=forced)
    if chosen.count and not folded.open:
        assert split(folded, chosen.through) == chosen.count
        assert not isinstance(folded.items[chosen.count], ResultsItem)


@given(draws)
def test_weights_are_the_sum_of_what_is_there(draws: list[tuple[int, int]]) -> None:
    from perdure.context.budget import weigh

    folded = played(draws).player.context._folded
    assert folded.weight == sum(map(weigh, folded.items))


@given(draws, st.lists(st.text(max_size=20), max_size=3))
def test_the_prefix_is_the_same_bytes_through_restarts_and_changes_of_memory(
    draws: list[tuple[int, int]], memories: list[str]
) -> None:
    history = History()
    player = history.player
    player.turn("go")
    history.in_turn = True
    before = msgspec.json.encode(player.request().prefix)
    for kind, number in draws:
        if not 86 <= kind < 91:  # a compaction does rebuild it
            history.step(kind, number)
    for memory in memories:
        player.source.memory = memory
        dump = player.context.dump()
        player.context = player.fresh()
        player.context.load(*dump)
        player.play(*(e for e in player.context.prepare(player.state) if isinstance(e, PrefixSet)))
        assert msgspec.json.encode(player.context._prefix()) == before
