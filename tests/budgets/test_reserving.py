"""Room is made before a call, from the worst case; nothing is spent beyond a cap (S11)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure.budgets import BudgetCaps, Caps, Ledger, Quote, SessionBudgets
from perdure.budgets.reserving import OUTPUT
from perdure.kernel.errors import ConfigError, StorageError
from perdure.kernel.events import Limits, RequestId, SessionId, TurnId, Usage
from perdure.kernel.state import State, Turn

from .test_ledger import Clock

PRICE = Quote(input=1e-6, output=1e-5)


class World:
    def __init__(self, folder: Path, quote: Quote = PRICE, **caps: Caps) -> None:
        self.clock = Clock()
        self.ledger = Ledger(folder, self.clock)
        self.caps, self.quote = BudgetCaps(**caps), quote
        self.budgets = self.of("s1")
        self.state = State(turn=self.turn("t1"))
        self.asked = 0

    def of(self, session: str, agent: str = "a") -> SessionBudgets:
        async def quote(model: str, tokens: int) -> Quote:
            return self.quote

        return SessionBudgets(
            self.ledger,
            lambda: self.caps,
            quote,
            self.clock,
            agent=agent,
            session=SessionId(session),
        )

    def turn(self, id_: str, **more: Any) -> Turn:
        return Turn(turn=TurnId(id_), seq=1, began=self.clock.at, limits=Limits(), **more)

    async def reserve(self, budgets: SessionBudgets | None = None, tokens: int = 1000, **more: Any):  # type: ignore[no-untyped-def]
        self.asked += 1
        request = RequestId(f"r{self.asked}")
        room = await (budgets or self.budgets).reserve(
            self.state, request, model="x/y", tokens=tokens, **{"last": False, **more}
        )
        return request, room


async def test_without_caps_everything_goes_and_is_still_in_the_books(tmp_path: Path) -> None:
    world = World(tmp_path)
    request, room = await world.reserve()
    assert room.limit is None and room.max_output is None
    await world.budgets.settle(request, Usage(input=1000, output=100), None, calls=2)
    spent = world.ledger.total("a", "2026-11-21")
    assert (spent.tokens, spent.calls, spent.turns) == (1100, 2, 1)
    assert round(spent.cost_usd, 6) == 0.002


async def test_sessions_at_once_cannot_both_take_what_is_left(tmp_path: Path) -> None:
    world = World(tmp_path, day=Caps(tokens=OUTPUT + 8000))
    (_, first), (_, second) = await world.reserve(), await world.reserve(world.of("s2"))
    assert first.limit is None
    assert second.limit is None or second.limit.scope == "day"
    held = world.ledger.total("a", "2026-11-21").tokens
    assert held <= OUTPUT + 8000


async def test_what_a_call_did_not_use_is_free_again(tmp_path: Path) -> None:
    world = World(tmp_path, day=Caps(tokens=OUTPUT + 8000))
    for n in range(5):
        request, room = await world.reserve()
        assert room.limit is None, n
        await world.budgets.settle(request, Usage(input=500, output=100), 0.0, calls=0)


async def test_an_answer_is_cut_to_what_is_left_and_then_no_more_is_asked(tmp_path: Path) -> None:
    world = World(tmp_path, session=Caps(tokens=10_000))
    _, room = await world.reserve()
    assert room.max_output is not None and 1024 <= room.max_output < OUTPUT
    world.state.usage = Usage(input=8_000, output=500)
    _, room = await world.reserve()
    assert room.limit is not None
    assert (room.limit.scope, room.limit.limit, room.limit.allowed) == ("session", "tokens", 10_000)


async def test_room_is_kept_to_sum_up(tmp_path: Path) -> None:
    world = World(tmp_path, session=Caps(tokens=10_000))
    for used in range(0, 10_000, 250):
        world.state.usage = Usage(input=used)
        _, room = await world.reserve(tokens=1000)
        if room.limit is None:
            continue
        _, last = await world.reserve(tokens=2000, last=True)
        assert last.limit is None, used
        break
    else:
        pytest.fail("the cap was never reached")


async def test_money_without_a_price_is_refused_with_advice(tmp_path: Path) -> None:
    world = World(tmp_path, Quote(input=None, output=None), day=Caps(cost_usd=1))
    with pytest.raises(ConfigError, match="no price is known") as caught:
        await world.reserve()
    assert "price" in caught.value.hint
    world.caps = BudgetCaps(day=Caps(tokens=1_000_000))
    assert (await world.reserve())[1].limit is None


@pytest.mark.parametrize("kind", ["day", "month", "workspace_day", "workspace_month"])
async def test_each_cap_counts_its_own(tmp_path: Path, kind: str) -> None:
    world = World(tmp_path, **{kind: Caps(cost_usd=0.5)})
    request, _ = await world.reserve()
    await world.budgets.settle(request, Usage(input=10, output=10), 0.499, calls=0)
    _, same = await world.reserve()
    _, other = await world.reserve(world.of("s9", agent="b"))
    assert same.limit is not None
    assert (other.limit is not None) == kind.startswith("workspace")


async def test_what_no_person_began_has_a_budget_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path, unattended=Caps(turns=2))
    for n in range(4):
        world.state.turn = world.turn(f"u{n}", unattended=True)
        _, room = await world.reserve()
        assert (room.limit is not None) == (n >= 2), n
    world.state.turn = world.turn("mine")
    assert (await world.reserve())[1].limit is None


async def test_a_turn_that_has_begun_may_be_finished(tmp_path: Path) -> None:
    world = World(tmp_path, day=Caps(turns=1))
    assert (await world.reserve())[1].limit is None
    world.state.turn.rounds = 1  # type: ignore[union-attr]
    assert (await world.reserve())[1].limit is None
    world.state.turn = world.turn("t2")
    assert (await world.reserve())[1].limit is not None


async def test_a_turn_that_a_kill_cut_off_is_counted_once_and_may_be_finished(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, day=Caps(turns=1, seconds=100))
    await world.reserve()
    await world.clock.sleep(40)  # in which it is killed
    world.ledger, world.budgets = Ledger(tmp_path, world.clock), world.of("s1")
    request, room = await world.reserve()
    assert room.limit is None
    await world.budgets.settle(request, Usage(), 0.0, calls=0)
    world.ledger, world.budgets = Ledger(tmp_path, world.clock), world.of("s1")
    await world.clock.sleep(10)
    assert (await world.reserve())[1].limit is None
    spent = world.ledger.total("a", "2026-11-21")
    assert (spent.turns, round(spent.seconds)) == (1, 50)
    assert world.ledger.total("", "2026-11-21") == spent


async def test_work_is_counted_and_waiting_for_the_owner_is_not(tmp_path: Path) -> None:
    world = World(tmp_path, day=Caps(seconds=100))
    request, _ = await world.reserve()
    await world.clock.sleep(60)
    await world.budgets.settle(request, Usage(), 0.0, calls=0)
    await world.clock.sleep(1000)
    world.state.turn.waited = 1000  # type: ignore[union-attr]
    request, room = await world.reserve()
    assert room.limit is None
    await world.clock.sleep(50)
    await world.budgets.settle(request, Usage(), 0.0, calls=0)
    assert round(world.ledger.total("a", "2026-11-21").seconds) == 110
    assert (await world.reserve())[1].limit is not None


async def test_the_owner_is_warned_once_before(tmp_path: Path) -> None:
    world = World(tmp_path, session=Caps(calls=10))
    assert (await world.reserve())[1].notices == ()
    world.state.calls_made = 8
    (notice,) = (await world.reserve())[1].notices
    assert "8 of 10 calls" in notice
    assert (await world.reserve())[1].notices == ()


async def test_books_that_cannot_be_written_let_nothing_be_spent(tmp_path: Path) -> None:
    (tmp_path / "books").write_text("not a folder")
    world = World(tmp_path / "books", day=Caps(tokens=100_000))
    with pytest.raises(StorageError):
        await world.reserve()


async def test_tools_at_once_cannot_both_take_what_is_left_of_the_session(tmp_path: Path) -> None:
    world = World(tmp_path, session=Caps(tokens=OUTPUT + 8000))
    request, first = await world.reserve(aside=True)
    _, second = await world.reserve(aside=True)
    assert first.max_output and second.max_output
    assert first.max_output + second.max_output + 2 * 1000 <= OUTPUT + 8000
    await world.budgets.settle(request, Usage(input=10, output=10), 0.0, calls=0)
    third = (await world.reserve(aside=True))[1]
    assert third.max_output and third.max_output > second.max_output


async def test_a_call_that_was_allowed_may_ask_though_it_was_the_last(tmp_path: Path) -> None:
    world = World(tmp_path, session=Caps(calls=3))
    world.state.calls_made = 3
    assert (await world.reserve())[1].limit is not None
    _, room = await world.reserve(aside=True)
    assert room.limit is None and room.notices == ()


async def test_what_the_disk_refused_is_booked_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, day=Caps(cost_usd=1))
    request, _ = await world.reserve()

    def full(*_: Any, **__: Any) -> bool:
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "_append", full)
        await world.budgets.settle(request, Usage(input=10, output=10), 0.7, calls=0)
        world.budgets.paid(world.state, RequestId("tool"), Usage(input=5), 0.29)
        with pytest.raises(StorageError):
            await world.reserve()
    _, room = await world.reserve(world.of("s2"))
    assert room.limit is not None and room.limit.used == 0.99
    again = Ledger(tmp_path, world.clock)
    assert round(again.total("a", "2026-11-21").cost_usd, 6) == 0.99 and not again.open()


@pytest.mark.parametrize("caps", [{}, {"day": Caps(calls=10)}])
async def test_calls_are_booked_with_the_reply_and_then_only_those_that_began(
    tmp_path: Path, caps: dict[str, Caps]
) -> None:
    world = World(tmp_path, **caps)

    def calls() -> int:
        return Ledger(tmp_path, world.clock).total("a", "2026-11-21").calls

    request, _ = await world.reserve()
    await world.budgets.settle(request, Usage(input=10, output=10), 0.1, calls=6)
    assert calls() == 6
    world.budgets.closed(request, calls=2)
    assert calls() == 2
    request, _ = await world.reserve()
    await world.budgets.settle(request, Usage(input=10, output=10), 0.1, calls=3)
    world.ledger = Ledger(tmp_path, world.clock)  # killed meanwhile
    world.of("s1").closed(request, calls=1)
    assert calls() == 3
    spent = Ledger(tmp_path, world.clock).total("a", "2026-11-21")
    assert (spent.tokens, spent.turns, round(spent.cost_usd, 6)) == (40, 1, 0.2)


async def test_calls_of_a_reply_that_a_kill_left_unsettled_count_when_they_are_closed(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, day=Caps(calls=10))
    request, _ = await world.reserve()
    world.ledger = Ledger(tmp_path, world.clock)
    world.of("s1").closed(request, calls=2)
    world.of("s1").closed(RequestId("nothing is known of it"), calls=1)
    again = Ledger(tmp_path, world.clock)
    assert again.total("a", "2026-11-21").calls == 3 and again.open() == 1
