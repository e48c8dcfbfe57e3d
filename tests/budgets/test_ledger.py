"""The books: what counts, what a crash leaves, what others write."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.budgets import Ledger, Spent
from perdure.budgets.ledger import Entry
from perdure.kernel.errors import StorageError

DAY, MONTH = "2026-11-21", "2026-11"


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 21, 9, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def entry(request: str, cost: float, *, agent: str = "a", **more: object) -> Entry:
    spent = Spent(cost_usd=cost, tokens=10)
    return Entry(
        at=datetime(2026, 11, 21, 9, tzinfo=UTC),
        request=request,
        agent=agent,
        session="s",
        spent=spent,
        **more,  # type: ignore[arg-type]
    )


def test_what_was_settled_takes_the_place_of_what_was_reserved(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, Clock())
    ledger.write(entry("r1", 1.0, open=True))
    assert ledger.total("a", DAY).cost_usd == 1.0 and ledger.open() == 1
    ledger.write(entry("r1", 0.25))
    assert ledger.total("a", DAY).cost_usd == 0.25 and ledger.open() == 0
    assert ledger.total("", MONTH).cost_usd == 0.25


def test_a_reservation_that_a_crash_left_open_counts_in_full(tmp_path: Path) -> None:
    Ledger(tmp_path, Clock()).write(entry("r1", 1.0, open=True))
    ledger = Ledger(tmp_path, Clock())
    assert ledger.total("a", DAY).cost_usd == 1.0 and ledger.open() == 1


def test_two_processes_see_each_other(tmp_path: Path) -> None:
    one, other = Ledger(tmp_path, Clock()), Ledger(tmp_path, Clock())
    one.write(entry("r1", 1.0))
    other.write(entry("r2", 2.0, agent="b"))
    for ledger in (one, other):
        assert ledger.total("", DAY).cost_usd == 3.0
        assert ledger.total("b", DAY).cost_usd == 2.0
        assert ledger.total("a", DAY).cost_usd == 1.0


def test_a_line_that_was_torn_off_is_passed_over_and_the_next_is_clean(tmp_path: Path) -> None:
    Ledger(tmp_path, Clock()).write(entry("r1", 1.0))
    (file,) = tmp_path.iterdir()
    with file.open("ab") as out:
        out.write(b'{"at":"2026-11-2')
    ledger = Ledger(tmp_path, Clock())
    ledger.write(entry("r2", 2.0))
    assert (
        Ledger(tmp_path, Clock()).total("", DAY).cost_usd == 3.0 == ledger.total("", DAY).cost_usd
    )


def test_a_line_that_a_full_disk_cut_short_takes_no_other_with_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, Clock())
    ledger.write(entry("r1", 1.0))
    (file,) = tmp_path.iterdir()
    with file.open("ab") as out:  # what its own write left
        out.write(b'{"at":"2026-11-2')
    ledger.write(entry("r2", 2.0))
    assert ledger.total("", DAY).cost_usd == 3.0


def test_a_new_month_begins_with_nothing_spent(tmp_path: Path) -> None:
    clock = Clock()
    ledger = Ledger(tmp_path, clock)
    ledger.write(entry("r1", 1.0))
    clock.at = datetime(2026, 12, 1, tzinfo=UTC)
    assert ledger.total("", "2026-12").cost_usd == 0.0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2026-11.jsonl"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 100), st.booleans()), max_size=30))
def test_totals_are_the_sum_of_the_last_line_of_each_request(
    tmp_path_factory: object, lines: list[tuple[int, int, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("books")  # type: ignore[attr-defined]
    ledger, last = Ledger(folder, Clock()), {}
    for request, cost, is_open in lines:
        ledger.write(entry(f"r{request}", cost, open=is_open))
        last[request] = cost
    assert round(ledger.total("a", DAY).cost_usd, 6) == sum(last.values())
    assert round(Ledger(folder, Clock()).total("", MONTH).cost_usd, 6) == sum(last.values())
    ledger.close()


def test_a_line_that_another_process_tears_off_at_this_moment_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path, Clock())
    ledger.write(entry("r1", 1.0))
    (file,) = tmp_path.iterdir()
    write, torn = os.write, [b'{"at":"2026-11-2']

    def between(handle: int, data: bytes) -> int:
        if torn:
            with file.open("ab") as out:
                out.write(torn.pop())
        return write(handle, data)

    monkeypatch.setattr(os, "write", between)
    ledger.write(entry("r2", 2.0))
    assert ledger.total("", DAY).cost_usd == 3.0
    assert Ledger(tmp_path, Clock()).total("", DAY).cost_usd == 3.0


def test_after_a_short_write_the_next_line_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path, Clock())
    ledger.write(entry("r1", 1.0))
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda handle, data: write(handle, data[:20]))
        with pytest.raises(StorageError):
            ledger.write(entry("r2", 2.0))
    ledger.write(entry("r3", 4.0))
    assert ledger.total("", DAY).cost_usd == 5.0
    assert Ledger(tmp_path, Clock()).total("", DAY).cost_usd == 5.0


def test_books_that_were_put_back_from_elsewhere_are_the_ones_that_are_written(
    tmp_path: Path,
) -> None:
    ledger = Ledger(tmp_path, Clock())
    ledger.write(entry("r1", 1.0))
    (file,) = tmp_path.iterdir()
    new = tmp_path / "new"
    new.write_bytes(file.read_bytes())
    new.replace(file)
    ledger.write(entry("r2", 2.0))
    assert Ledger(tmp_path, Clock()).total("", DAY).cost_usd == 3.0
