"""The index: derived, so it may be missing, broken or old at any time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from perdure.kernel.errors import StorageError
from perdure.kernel.events import SessionId
from perdure.storage import Index, SessionRow

from ..conformance.session_log import BEGAN


def row(n: int, agent: str = "ada", title: str = "") -> SessionRow:
    return SessionRow(
        id=SessionId(f"s_{n:03}"),
        agent=agent,
        title=title or f"Session {n}",
        created=BEGAN,
        updated=BEGAN + timedelta(minutes=n),
        status="idle",
        messages=n,
        turns=1,
        cost_usd=0.5,
        unpriced=n % 2 == 0,
        parent=SessionId("s_000") if n == 3 else None,
    )


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(tmp_path / "index.sqlite")
    yield index
    index.close()


def test_nothing_is_touched_before_it_is_used(index: Index, tmp_path: Path) -> None:
    assert list(tmp_path.iterdir()) == []


def test_rows_are_listed_newest_first_in_pages_and_by_agent(index: Index) -> None:
    for n in (2, 1, 5, 4, 3):
        index.upsert(row(n, "bob" if n > 3 else "ada"))
    assert index.list() == [row(5, "bob"), row(4, "bob"), row(3), row(2), row(1)]
    assert index.list(limit=2, before=SessionId("s_004")) == [row(3), row(2)]
    assert index.list(agent="bob", before=SessionId("s_005")) == [row(4, "bob")]


def test_a_row_is_replaced_and_deleted(index: Index) -> None:
    index.upsert(row(1))
    index.upsert(row(1, title="Better"))
    assert index.list() == [row(1, title="Better")]
    index.delete(SessionId("s_001"))
    index.delete(SessionId("s_001"))
    assert index.list() == []


def test_a_new_index_says_that_it_must_be_rebuilt(index: Index, tmp_path: Path) -> None:
    assert index.incomplete
    index.upsert(row(9))
    index.rebuild(row(n) for n in (1, 2))
    assert not index.incomplete and index.list() == [row(2), row(1)]
    index.close()
    again = Index(tmp_path / "index.sqlite")
    assert not again.incomplete and again.list() == [row(2), row(1)]
    again.close()


def test_a_new_index_that_was_written_but_never_rebuilt_still_says_so_later(
    index: Index, tmp_path: Path
) -> None:
    index.upsert(row(9))
    index.close()
    again = Index(tmp_path / "index.sqlite")
    assert again.incomplete and again.list() == [row(9)]
    again.rebuild([row(8), row(9)])
    again.close()
    assert not again.incomplete and not index.incomplete
    again.close()


def test_a_rebuild_that_fails_changes_nothing(index: Index) -> None:
    index.rebuild([row(1)])

    def rows() -> Iterator[SessionRow]:
        yield row(2)
        raise StorageError("a session cannot be read")

    with pytest.raises(StorageError):
        index.rebuild(rows())
    assert index.list() == [row(1)]
    index.close()
    assert not index.incomplete


@pytest.mark.parametrize(
    "rubbish", [b"not a database at all" * 100, b"SQLite format 3\x00" + b"x" * 5000]
)
def test_a_broken_file_is_made_again(index: Index, tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / "index.sqlite").write_bytes(rubbish)
    assert index.list() == [] and index.incomplete
    index.upsert(row(1))
    assert index.list() == [row(1)]


def test_a_file_of_another_version_is_made_again(index: Index, tmp_path: Path) -> None:
    index.upsert(row(1))
    index.close()
    db = sqlite3.connect(tmp_path / "index.sqlite")
    db.execute("PRAGMA user_version = 99")
    db.close()
    assert index.list() == [] and index.incomplete


def test_a_file_that_breaks_while_open_is_made_again(index: Index, tmp_path: Path) -> None:
    index.rebuild(row(n) for n in range(500))
    index.close()
    path = tmp_path / "index.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    assert index.list() == [] and index.incomplete


def test_it_may_be_used_from_many_threads_and_processes(index: Index, tmp_path: Path) -> None:
    other = Index(tmp_path / "index.sqlite")

    def work(mine: Index, first: int) -> None:
        for n in range(first, first + 20):
            mine.upsert(row(n))

    threads = [
        threading.Thread(target=work, args=(mine, n * 20))
        for n, mine in enumerate((index, other, index, other))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(index.list(limit=1_000)) == 80
    other.close()


def test_what_cannot_be_opened_is_a_storage_error_with_a_way_out(tmp_path: Path) -> None:
    index = Index(tmp_path / "missing" / "index.sqlite")
    with pytest.raises(StorageError, match="can be deleted"):
        index.list()


def test_where_the_disk_refuses_the_listing_is_made_in_memory(tmp_path: Path) -> None:
    index = Index(tmp_path / "no such folder" / "index.sqlite")
    assert index.incomplete
    index.rebuild(row(n) for n in range(3))
    assert not index.incomplete
    index.upsert(row(3))
    assert [r.id for r in index.list()] == ["s_003", "s_002", "s_001", "s_000"]
    index.close()


def test_a_disk_that_refuses_in_the_middle_does_so_as_well(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert index.incomplete
    with index._guard:
        index._do(lambda db: db.execute("PRAGMA max_page_count = 1"))
    index.rebuild(row(n, title="x" * 4_000) for n in range(50))
    assert len(index.list(100)) == 50
    # Once the disk takes it again, what was missed in the meantime is filled in.
    monkeypatch.setattr("perdure.storage.index.AGAIN_SECONDS", 0.0)
    index._until = 0.0
    assert index.incomplete
    index.rebuild([row(1)])
    assert [r.id for r in index.list()] == ["s_001"]
    assert not index.incomplete


def test_two_that_make_the_file_at_once_wait_for_each_other(tmp_path: Path) -> None:
    for attempt in range(15):
        path = tmp_path / f"{attempt}.sqlite"
        failed: list[BaseException] = []
        together = threading.Barrier(6)

        def work(
            n: int, path: Path = path, failed: list[BaseException] = failed,
            together: threading.Barrier = together,
        ) -> None:  # fmt: skip
            try:
                together.wait()
                Index(path).upsert(row(n))
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert len(Index(path).list(limit=10)) == 6
