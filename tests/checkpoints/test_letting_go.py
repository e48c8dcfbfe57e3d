"""What no checkpoint needs goes; what one needs stays, whatever happens."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from perdure.checkpoints import cache
from perdure.checkpoints.disk import locked
from perdure.kernel.errors import Conflict, StorageError
from perdure.kernel.events import SessionId

from .world import S, World

OTHER = SessionId("s_2")


def test_a_deleted_sessions_contents_go_and_shared_ones_stay(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write("shared", "1")
    kept = world.take()
    world.write("own", "2")
    world.take(OTHER)
    before = world.objects()
    world.store.forget(OTHER)
    assert world.objects() < before
    (world.work / "shared").unlink()
    world.store.restore(S, kept.id, seq=9)
    assert (world.work / "shared").read_text() == "1"
    assert world.store.list(OTHER) == []


def test_the_oldest_checkpoints_of_a_session_go_first(tmp_path: Path) -> None:
    world = World(tmp_path, keep=3)
    for number in range(14):
        world.write("f", f"number {number}")
        last = world.take()
    assert len(world.store.list(S)) <= 12
    assert world.store.list(S)[0] == last
    stored = b"".join(
        (world.root / "objects" / n[:2] / n[2:]).read_bytes() for n in world.objects()
    )
    assert b"number 0" not in stored and b"number 13" in stored


def test_a_content_that_went_is_not_believed_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    monkeypatch.setattr(cache, "TICK", 0)
    world.write("f", "again and again")
    time.sleep(0.02)
    world.take(OTHER)
    world.store.forget(OTHER)
    assert world.objects() == set()
    taken = world.take()
    (world.work / "f").unlink()
    world.store.restore(S, taken.id, seq=2)
    assert (world.work / "f").read_text() == "again and again"


def test_nothing_is_removed_while_a_record_cannot_be_read(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write("f", "1")
    taken = world.take()
    world.write("f", "2")
    world.take(OTHER)
    before = world.objects()
    (world.root / S / f"{taken.id}.json").write_text("{broken")
    with pytest.raises(StorageError, match="damaged"):
        world.store.forget(OTHER)
    assert world.objects() == before
    assert world.store.list(S) == []


def test_nothing_is_removed_while_somebody_reads(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write("f", "1")
    world.take()
    world.store.forget(S)
    world.write("f", "2")
    world.take()
    with world.store.reading():
        assert world.store.collect() is None
    assert world.store.collect() is not None


def test_a_turns_first_change_waits_for_the_end_of_a_restore(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write("f", "1")
    world.take()
    order: list[str] = []

    def take() -> None:
        world.take(OTHER)
        order.append("taken")

    with locked(world.root / "folders.lock", exclusive=True):
        thread = threading.Thread(target=take)
        thread.start()
        thread.join(0.1)
        order.append("restored")
    thread.join(10)
    assert order == ["restored", "taken"]


def test_waiting_for_a_lock_ends_with_a_clear_error(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock", exclusive=True),
        pytest.raises(Conflict, match="in use"),
        locked(tmp_path / "lock", seconds=0.05),
    ):
        pass


def test_many_threads_take_checkpoints_at_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(30):
        world.write(f"f{number}", str(number))
    taken: list[str] = []

    def take(number: int) -> None:
        taken.append(world.take(SessionId(f"s_{number}")).tree)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 8 and len(set(taken)) == 1
