"""Everything that may happen to a workspace, in any order, on a disk that forgets: D1 to D7, D9, D10."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from perdure.kernel.events import (
    ContextCompacted,
    MessageReceived,
    MessagesTaken,
    ModelRequested,
    ModelResponded,
    Record,
    SessionForked,
    SessionId,
    StopRequested,
    Text,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnStarted,
)
from perdure.runtime.views import Accepted, SessionView

from .house import FAULTS, House, furnish
from .outside import ONCE, TOOLS

calls = st.lists(st.sampled_from((*TOOLS, "fail", "hang")), min_size=1, max_size=3).map(",".join)
plans = st.lists(calls, max_size=3).map(";".join)
passes = st.one_of(st.integers(1, 25), st.none())
"""How long the process runs before the next thing happens; None: until it waits."""
OPERATIONS = (
    "open",
    "write",
    "truncate",
    "sync",
    "sync_path",
    "sync_everything",
    "rename",
    "link",
    "mkdir",
)


@cache
def place() -> tempfile.TemporaryDirectory[str]:
    """Removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="perdure-machine-")


@cache
def workspace() -> Path:
    root = Path(place().name) / "w"
    furnish(root)
    return root


class Lives(RuleBasedStateMachine):
    sessions: Bundle[SessionId] = Bundle("sessions")
    keys: Bundle[tuple[SessionId, str, str]] = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.names = itertools.count(1)
        self.accepted: dict[SessionId, dict[str, str]] = {}
        """Messages that were acknowledged, to their texts."""
        self.stopped: set[SessionId] = set()
        """What a stop broke off may be on record where the stop itself is not."""
        self.by_key: dict[tuple[SessionId, str], str] = {}
        self.doom = "kill"
        self.dooms = Random(0)

    @initialize(target=sessions, group_from=st.sampled_from((1, 2, 8)))
    def open(self, group_from: int) -> SessionId:
        self.house = House(workspace(), group_from=group_from)
        made = self.house.attempt(self.house.runtime.create_session())
        assert isinstance(made, SessionView)
        self.accepted[made.id] = {}
        return made.id

    # What clients do ------------------------------------------------------------------------------

    @precondition(lambda self: len(self.accepted) < 4)
    @rule(target=sessions, after=passes)
    def create(self, after: int | None) -> Any:
        made = self.house.attempt(self.house.runtime.create_session())
        if isinstance(made, SessionView):
            assert self.house.is_stored(b'"session":"%b"' % made.id.encode())
            self.accepted[made.id] = {}
        self.go_on(after)
        return made.id if isinstance(made, SessionView) else next(iter(self.accepted))

    @rule(target=keys, session=sessions, plan=plans, after=passes)
    def say(self, session: SessionId, plan: str, after: int | None) -> Any:
        return self.submit(session, plan, "steer", True, after)

    @rule(
        target=keys,
        session=sessions,
        plan=plans,
        mode=st.sampled_from(("steer", "steer", "queue", "interrupt")),
        keyed=st.booleans(),
        after=passes,
    )
    def submit(
        self, session: SessionId, plan: str, mode: str, keyed: bool, after: int | None
    ) -> Any:
        name = f"m{next(self.names)}"
        key, text = (name if keyed else ""), f"{name}|{plan}"
        self._send(session, text, mode, key)
        self.go_on(after)
        return session, key, text

    @rule(sent=consumes(keys), after=passes)
    def submit_again(self, sent: tuple[SessionId, str, str], after: int | None) -> None:
        """A client that heard nothing sends it once more under the same key (D7)."""
        session, key, text = sent
        if key:
            self._send(session, text, "steer", key)
            self.go_on(after)

    def _send(self, session: SessionId, text: str, mode: Any, key: str) -> None:
        house = self.house
        parts = (Text(text=text),)
        got = house.attempt(house.runtime.submit(session, parts, mode=mode, key=key))
        if not isinstance(got, Accepted):
            return
        assert house.is_stored(b'"message":"%b"' % got.message.encode()), "D1"
        known = self.by_key.setdefault((session, key), got.message) if key else got.message
        assert known == got.message, "the same key gave another message"
        self.accepted[session][got.message] = text

    @precondition(lambda self: any(x.state.approvals for x in self.house.open))
    @rule(session=sessions, answer=st.sampled_from(("allow", "allow", "deny")), after=passes)
    def decide(self, session: SessionId, answer: Any, after: int | None) -> None:
        house = self.house
        waiting = house.attempt(house.runtime.approvals(session))
        if isinstance(waiting, list) and waiting:
            id_ = waiting[0].request.approval
            house.attempt(house.runtime.decide(session, id_, answer))
        self.go_on(after)

    @precondition(lambda self: any(x.running for x in self.house.open))
    @rule(session=sessions, after=passes)
    def stop(self, session: SessionId, after: int | None) -> None:
        self.stopped.add(session)
        if self.house.attempt(self.house.runtime.stop(session)) is True:
            assert self.house.is_stored(b'"stop_requested"')
        self.go_on(after)

    @rule(session=sessions, after=passes)
    def compact(self, session: SessionId, after: int | None) -> None:
        self.house.attempt(self.house.runtime.compact(session))
        self.go_on(after)

    @rule(session=sessions)
    def snapshot(self, session: SessionId) -> None:
        self.house.do(self.house.snapshot(session))
        self.go_on(None)

    @precondition(lambda self: len(self.accepted) < 4)
    @rule(target=sessions, session=sessions, share=st.floats(0, 1), after=passes)
    def fork(self, session: SessionId, share: float, after: int | None) -> Any:
        house = self.house
        view = house.attempt(house.runtime.session(session))
        if not isinstance(view, SessionView) or not view.seq:
            return session
        made = house.attempt(house.runtime.fork(session, max(1, round(view.seq * share))))
        self.go_on(after)
        if not isinstance(made, SessionView):
            return session
        self.accepted[made.id] = {}
        return made.id

    @precondition(lambda self: len(self.house.watched) < len(self.accepted))
    @rule(session=sessions)
    def watch(self, session: SessionId) -> None:
        self.house.watch(session)
        self.go_on(None)

    # What the world does --------------------------------------------------------------------------

    @precondition(lambda self: self.house.outside.hangs)
    @rule(after=passes)
    def what_hung_goes_on(self, after: int | None) -> None:
        self.house.outside.go_on()
        self.go_on(after)

    @rule(seconds=st.sampled_from((1.0, 5.0, 70.0, 1_000.0)))
    def time_passes(self, seconds: float) -> None:
        self.house.pass_time(seconds)
        self.go_on(None)

    @rule()
    def killed(self) -> None:
        self.house.kill()
        self.go_on(None)

    @rule(seed=st.integers(0, 2**16))
    def power_lost(self, seed: int) -> None:
        self.house.lose_power(Random(seed))
        self.go_on(None)

    @rule(
        operations=st.integers(1, 25),
        how=st.sampled_from(("kill", "power")),
        seed=st.integers(0, 2**16),
    )
    def doomed(self, operations: int, how: str, seed: int) -> None:
        """It ends at the nth disk operation from now."""
        disk = self.house.disk
        disk.power_lost_at = disk.operations + operations
        self.doom, self.dooms = how, Random(seed)

    @precondition(lambda self: any(x.running for x in self.house.open))
    @rule()
    def restarted(self) -> None:
        self.house.restart()
        self.go_on(None)

    @rule(
        operations=st.sets(st.sampled_from(OPERATIONS), min_size=1, max_size=3),
        count=st.integers(1, 6),
        code=st.sampled_from(sorted(FAULTS)),
    )
    def disk_fails(self, operations: set[str], count: int, code: str) -> None:
        self.house.fail(frozenset(operations), count, FAULTS[code])

    @rule(room=st.integers(0, 3_000))
    def disk_fills(self, room: int) -> None:
        self.house.fill(room)

    @precondition(lambda self: self.house.disk.fault or self.house.disk.capacity is not None)
    @rule()
    def disk_heals(self) -> None:
        self.house.heal()

    def go_on(self, after: int | None) -> None:
        house = self.house
        house.spin(after)
        if house.disk.dead:
            house.lose_power(self.dooms) if self.doom == "power" else house.kill()
            house.spin(after)

    # What must be so ------------------------------------------------------------------------------

    @invariant()
    def what_was_shown_is_in_the_log(self) -> None:
        house: House | None = getattr(self, "house", None)
        if house is None:
            return
        for session, shown in house.watched.items():
            records = house.records(session)
            for seq, record in shown.items():
                assert records[seq - 1] == record

    @invariant()
    def no_effect_happened_twice(self) -> None:
        if hasattr(self, "house"):
            assert all(n == 1 for n in self.house.outside.effects.values())

    def teardown(self) -> None:
        if not hasattr(self, "house"):
            return
        house = self.house
        try:
            self.come_to_rest()
            for session in self.accepted:
                records = house.records(session)
                self.check(session, records)
                live = house.live(session)
                assert live.state == house.fold(session)
            house.lose_power(Random(1))
            house.spin()
            for session in self.accepted:
                report = house.store.verify(session)
                # The snapshot is never synced; it is derived, and ignored where it does not fit.
                assert all("snapshot" in p.what for p in report.problems), report
                view = house.attempt(house.runtime.session(session))
                assert isinstance(view, SessionView)
                live = house.live(session)
                assert live.state == house.fold(session), "the snapshot is not the fold"
        finally:
            house.close()

    def come_to_rest(self) -> None:
        """The disk is well, the owner says yes to everything, and time passes."""
        house = self.house
        house.heal()
        house.disk.power_lost_at = None if not house.disk.dead else house.disk.power_lost_at
        self.go_on(None)
        for _ in range(60):
            house.outside.go_on()
            house.pass_time(130.0)
            busy = False
            for session in self.accepted:
                view = house.attempt(house.runtime.session(session))
                assert isinstance(view, SessionView), view
                if view.status == "held":
                    house.attempt(house.runtime.resume(session))
                for approval in house.do(house.runtime.approvals(session)):
                    house.attempt(house.runtime.decide(session, approval.request.approval, "allow"))
                live = house.live(session)
                busy = busy or live.state.busy or live.running or bool(live.error)
            house.spin()
            if not busy:
                return
        raise AssertionError({live.id: (live.status, live.error) for live in house.open})

    def check(self, session: SessionId, records: list[Record]) -> None:
        accepted = self.accepted[session]
        own = [r for r in records if isinstance(r.event, SessionForked)]
        begun = own[-1].seq if own else 0
        mine = [r.event for r in records if r.seq > begun]

        received = [e.message for e in mine if isinstance(e, MessageReceived)]
        taken = [m for e in mine if isinstance(e, TurnStarted | MessagesTaken) for m in e.messages]
        keys = [e.key for e in mine if isinstance(e, MessageReceived) and e.key]
        assert set(accepted) <= set(received), "an acknowledged message was lost"
        assert len(received) == len(set(received)) and len(keys) == len(set(keys))
        assert Counter(taken) == Counter(received), "a message was not taken once"
        started = [e.turn for e in mine if isinstance(e, TurnStarted)]
        ended = [e.turn for e in mine if isinstance(e, TurnEnded)]
        assert started == ended
        self.check_answers(mine)
        self.check_calls(records, begun)

    def check_answers(self, events: list[Any]) -> None:
        """Each message is named in one answer, where nothing was cut short or summed up."""
        if any(
            isinstance(e, ContextCompacted) or (isinstance(e, TurnEnded) and e.reason != "done")
            for e in events
        ) or any(isinstance(e, MessageReceived) and e.mode == "interrupt" for e in events):
            return
        texts = [e.text for e in events if isinstance(e, ModelResponded) and not e.calls]
        answered = Counter(w for text in texts for w in text.removeprefix("Answer:").split())
        sent = [
            p.text.partition("|")[0]
            for e in events
            if isinstance(e, MessageReceived)
            for p in e.parts
            if isinstance(p, Text)
        ]
        assert all(answered[name] == 1 for name in sent), (answered, sent)

    def check_calls(self, records: list[Record], begun: int) -> None:
        outside = self.house.outside
        open_: dict[str, str] = {}
        intents: dict[str, ToolStarted] = {}
        results: dict[str, str] = {}
        cut_short = False
        for record in records:
            event = record.event
            if isinstance(event, ModelRequested):
                assert not open_, f"a model was asked while {open_} had no result"
            elif isinstance(event, ModelResponded):
                open_ = {c.id: c.name for c in event.calls}
                intents = {}
            elif isinstance(event, SessionForked):
                open_, intents = {}, {}
            elif isinstance(event, StopRequested):
                cut_short = True
            elif isinstance(event, TurnStarted):
                cut_short = False
            elif isinstance(event, MessageReceived) and event.mode == "interrupt":
                cut_short = True
            elif isinstance(event, ToolStarted):
                intents[event.call] = event
            elif isinstance(event, ToolFinished):
                name = open_.pop(event.call)
                intent = intents.get(event.call)
                status = event.result.status
                if record.seq <= begun or intent is None or not intent.effects:
                    continue
                results[intent.key] = status
                happened = outside.effects[intent.key]
                if status == "ok":
                    assert happened == 1, f"{name} {intent.key}: {happened}"
                if status == "in_doubt":
                    assert name in ONCE
                if status == "interrupted":
                    asked = cut_short or self.session_of(records) in self.stopped
                    assert asked, f"{name} was broken off, and nobody had asked for it"
        assert not open_
        for key in outside.effects:
            if key.startswith(f"{self.session_of(records)}."):
                assert key in results, f"{key} happened, and has no result"

    @staticmethod
    def session_of(records: list[Record]) -> str:
        named = [r.event.session for r in records if hasattr(r.event, "session")]
        return str(named[-1])


LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
TestLives = Lives.TestCase
TestLives.pytestmark = [pytest.mark.timeout(1_800 if LONG else 300)]
TestLives.settings = settings(
    max_examples=400 if LONG else 60, stateful_step_count=60 if LONG else 30, deadline=None
)
