"""One line each: what would be lost if it were not there. The list is mutants.yaml."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from perdure.kernel.errors import PerdureError, StorageError
from perdure.kernel.events import (
    DeliveryStarted,
    NoticeAdded,
    Record,
    SessionId,
    Text,
    ToolFinished,
    TurnEnded,
)
from perdure.kernel.ports import Sent
from perdure.runtime.broadcast import Broadcast
from perdure.runtime.views import Accepted, SessionView
from perdure.storage import Committer, FaultyDisk, RealDisk, SessionStore

from ..conformance.session_log import record, run
from ..kernel.world import Bench, FakeLog, FakeModel, say
from ..storage.help import FOLDER, ROOT, Clock, Fault, content, log_in, store_in
from .house import House, Least, furnish

S1 = SessionId("s_1")


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("furnished") / "w"
    furnish(root)
    return root


@pytest.fixture
def house(furnished: Path) -> Iterator[House]:
    house = House(furnished)
    yield house
    house.close()


def begin(house: House) -> SessionId:
    made = house.attempt(house.runtime.create_session())
    assert isinstance(made, SessionView)
    return made.id


def tell(house: House, session: SessionId, text: str, **options: Any) -> Any:
    return house.attempt(house.runtime.submit(session, (Text(text=text),), **options))


class SlowLog(FakeLog):
    """Its commits wait."""

    def __init__(self) -> None:
        super().__init__()
        self.ways: list[asyncio.Event] = []

    async def commit(self) -> None:
        through, way = len(self.records), asyncio.Event()
        self.ways.append(way)
        await way.wait()
        self.committed = max(self.committed, through)


def slow_bench() -> tuple[Bench, SlowLog]:
    bench, log = Bench(FakeModel([say("ok")])), SlowLog()
    log.records = list(bench.log.records)
    bench.log = log
    bench.journal._log = log
    bench.journal._unpublished.clear()
    return bench, log


async def quiet() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


# D1 --------------------------------------------------------------------------------------------------


def test_an_accepted_message_survives_a_power_loss_at_that_moment(house: House) -> None:
    session = begin(house)
    accepted = tell(house, session, "m1|", key="k")
    assert isinstance(accepted, Accepted)
    assert house.is_stored(accepted.message.encode())
    house.lose_power(Least())
    house.spin()
    again = tell(house, session, "m1|", key="k")
    assert again.duplicate and again.message == accepted.message


async def test_no_message_is_accepted_before_its_commit() -> None:
    bench, log = slow_bench()
    sent = asyncio.ensure_future(bench.say("hi"))
    await quiet()
    assert not sent.done()
    log.ways[0].set()
    await sent


async def test_a_repetition_is_not_accepted_before_the_first_is_stored() -> None:
    bench, log = slow_bench()
    first = asyncio.ensure_future(bench.say("hi", key="k"))
    await quiet()
    second = asyncio.ensure_future(bench.say("hi", key="k"))
    await quiet()
    assert not second.done()
    for way in log.ways:
        way.set()
    assert (await second).message == (await first).message


async def test_what_a_kill_left_in_the_page_cache_is_stored_before_it_is_shown() -> None:
    disk = FaultyDisk()
    committer = Committer(disk)
    opened = await SessionStore(ROOT, committer, Clock()).create(S1)
    opened.log.append([record(1)])
    await opened.log.commit()
    disk.fault = Fault("sync", "truncate", name="events.jsonl")  # written, and that was the end
    opened.log.append([record(2)])
    with pytest.raises(StorageError):
        await opened.log.commit()
    after = disk.taken_over()
    committer.close()
    committer = Committer(after)
    opened = await SessionStore(ROOT, committer, Clock()).open(S1)
    assert list(opened.log.read()) == run(1, 2)
    lost = after.restart(Least())
    committer.close()
    assert content(lost, opened.log.files.log).count(b"\n") == 2


def test_a_new_session_beside_others_survives_a_power_loss(house: House) -> None:
    begin(house)
    second = begin(house)
    house.lose_power(Least())
    assert house.records(second)


# D2 --------------------------------------------------------------------------------------------------


async def test_what_came_during_a_commit_is_not_shown_with_it() -> None:
    bench, log = slow_bench()
    bench.journal.append(NoticeAdded(text="one"))
    first = asyncio.ensure_future(bench.journal.commit())
    await quiet()
    bench.journal.append(NoticeAdded(text="two"))
    second = asyncio.ensure_future(bench.journal.commit())
    await quiet()
    log.ways[0].set()
    await first
    assert [r.event.text for r in bench.published] == ["one"]
    log.ways[1].set()
    await second
    assert [r.event.text for r in bench.published] == ["one", "two"]


async def test_a_watcher_ahead_of_what_is_published_is_shown_nothing_twice() -> None:
    broadcast, seen = Broadcast(3), []

    async def look() -> None:
        async for item in broadcast.watch(5, lambda after, through: iter(())):
            assert isinstance(item, Record)
            seen.append(item.seq)

    task = asyncio.create_task(look())
    await quiet()
    for seq in range(4, 8):
        broadcast.record(record(seq))
    await quiet()
    broadcast.close()
    await task
    assert seen == [6, 7]


async def test_a_log_shows_only_what_is_committed() -> None:
    disk = FaultyDisk()
    committer = Committer(disk, in_place=False)
    log = log_in(disk, committer)
    log.append([record(1)])
    await log.commit()
    shown = []

    def look(operation: str, path: Path) -> None:
        if operation == "sync":  # written, and not yet safe
            shown.append(list(log.read()))

    disk.fault = look
    log.append([record(2)])
    assert list(log.read()) == run(1, 1)
    await log.commit()
    disk.fault = None
    assert shown == [run(1, 1)] and list(log.read()) == run(1, 2)
    await log.close()
    committer.close()


# D3 --------------------------------------------------------------------------------------------------


def test_a_fork_from_the_middle_of_tool_calls_can_go_on(house: House) -> None:
    session = begin(house)
    tell(house, session, "m1|slow,pay")
    house.spin()
    view = house.attempt(house.runtime.session(session))
    assert isinstance(view, SessionView)
    fork = house.attempt(house.runtime.fork(session, view.seq))
    assert isinstance(fork, SessionView)
    assert not house.live(fork.id).state.open_calls()
    assert isinstance(tell(house, fork.id, "m2|look"), Accepted)
    house.spin()
    ended = [r.event.reason for r in house.records(fork.id) if isinstance(r.event, TurnEnded)]
    assert ended == ["done"]


# D4, D9, D11 -------------------------------------------------------------------------------------------


def test_a_command_outlives_a_kill_and_is_joined_under_its_key(house: House) -> None:
    session = begin(house)
    tell(house, session, "m1|wait,post")
    house.spin()
    house.kill()
    house.spin()
    house.outside.go_on()
    house.spin()
    finished = [r.event for r in house.records(session) if isinstance(r.event, ToolFinished)]
    assert [f.result.status for f in finished] == ["ok", "ok"]
    assert list(house.outside.effects.values()) == [1, 1]


def test_a_command_outlives_the_disk_that_fails_its_session(house: House) -> None:
    session = begin(house)
    tell(house, session, "m1|wait")
    house.spin()
    house.fail(frozenset({"sync", "sync_everything"}), 1, errno.EIO)
    assert isinstance(tell(house, session, "m2|"), StorageError)
    house.spin()
    house.heal()
    house.pass_time(5.0)
    house.outside.go_on()
    house.spin()
    finished = [r.event for r in house.records(session) if isinstance(r.event, ToolFinished)]
    assert [f.result.status for f in finished] == ["ok"]
    assert list(house.outside.effects.values()) == [1]


def test_a_turn_that_the_disk_broke_goes_on_by_itself(house: House) -> None:
    session = begin(house)
    tell(house, session, "m1|look,pay")
    house.fail(frozenset({"sync", "sync_everything"}), 3, errno.ENOSPC)
    house.spin()
    assert not [r for r in house.records(session) if isinstance(r.event, TurnEnded)]
    house.heal()
    house.pass_time(200.0)
    ended = [r.event.reason for r in house.records(session) if isinstance(r.event, TurnEnded)]
    assert ended == ["done"]


def test_a_stop_that_was_confirmed_holds_after_a_power_loss(house: House) -> None:
    session = begin(house)
    tell(house, session, "m1|wait;pay")
    house.spin()
    assert house.attempt(house.runtime.stop(session)) is True
    assert house.is_stored(b'"stop_requested"')
    house.lose_power(Least())
    house.pass_time(10.0)
    ended = [r.event.reason for r in house.records(session) if isinstance(r.event, TurnEnded)]
    assert ended == ["stopped"]
    assert sum(house.outside.effects.values()) == 1


async def test_a_snapshot_covers_what_the_log_held_when_it_was_asked_for(tmp_path: Path) -> None:
    with store_in(tmp_path / "P") as store:
        opened = await store.create(S1)
        opened.log.append(run(1, 3))
        writing = opened.write_snapshot(b"the fold of three records")
        opened.log.append([record(4)])
        await opened.log.commit()
        await writing
        await opened.log.close()
        again = await store.open(S1)
        assert again.snapshot is not None and again.snapshot.seq == 3
        await again.log.close()


# D5, D6, D10 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
async def test_a_torn_tail_is_never_lost_on_its_way_aside(seed: int) -> None:
    disk = FaultyDisk()
    committer = Committer(disk)
    log = log_in(disk, committer)
    log.append(run(1, 2))
    await log.close()
    handle = disk.open(FOLDER / "events.jsonl")
    disk.write(handle, b"torn")
    disk.sync(handle)
    disk.close(handle)
    await log_in(disk, committer).close()
    committer.close()
    for after in (disk.restart(Least()), disk.restart(Random(seed))):
        side = FOLDER / "events.torn-1"
        kept = content(after, side) if after.exists(side) else b""
        assert b"torn" in kept + content(after, FOLDER / "events.jsonl")


def test_a_lock_on_a_file_that_was_replaced_meanwhile_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, raced = tmp_path / "lock", fcntl.flock, []

    def replaced_first(handle: int, operation: int) -> None:
        if not raced:
            raced.append(True)
            path.unlink()
            path.touch()
        real(handle, operation)

    monkeypatch.setattr(fcntl, "flock", replaced_first)
    handle = RealDisk().lock(path)
    assert handle is not None and os.path.samestat(os.fstat(handle), path.stat())
    os.close(handle)


class HalfRemoves(RealDisk):
    """Dies in the middle of removing a folder."""

    def remove(self, path: Path) -> None:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    file.unlink()
                    break
            raise OSError(errno.EIO, "I/O error")
        super().remove(path)


async def test_a_deletion_that_is_cut_off_leaves_a_session_whole_or_gone(tmp_path: Path) -> None:
    committer = Committer(HalfRemoves())
    store = SessionStore(tmp_path / "P", committer, Clock())
    opened = await store.create(S1)
    artifact = opened.artifacts.put(b"big")
    opened.log.append([record(1), record(2, artifact)])
    await opened.log.close()
    with contextlib.suppress(StorageError):
        await store.delete(S1)
    if store.exists(S1):
        assert store.verify(S1).ok and store.artifacts(S1).read(artifact) == b"big"
    else:
        assert list(store.ids()) == []
    committer.close()


# D7 --------------------------------------------------------------------------------------------------


async def test_an_attempt_to_deliver_is_on_record_before_it_is_made() -> None:
    bench = Bench(FakeModel([say("the answer")]))
    seen = []

    class Outbox:
        async def send(self, session: object, delivery: object, *, resumed: bool) -> Sent:
            kept = bench.log.records[: bench.log.committed]
            seen.append(sum(isinstance(r.event, DeliveryStarted) for r in kept))
            return Sent(outcome="delivered", receipt="r1")

        async def ended(self, *args: object, **more: object) -> None: ...

        def __getattr__(self, name: str) -> Any:
            async def nothing(*args: object, **more: object) -> None: ...

            return nothing

    bench.runner._desk.outbox = Outbox()  # type: ignore[assignment]
    await bench.say("go", deliver="mail")
    await bench.runner.run()
    assert seen == [1]


# D12 -------------------------------------------------------------------------------------------------


def test_a_session_that_meets_a_defect_stops_no_other_and_goes_on_when_it_is_gone(
    house: House,
) -> None:
    bad, good = begin(house), begin(house)
    live = house.live(bad)
    setup = live._runner._desk.setup

    def defect() -> Any:
        raise ZeroDivisionError("a defect")

    live._runner._desk.setup = defect
    assert isinstance(tell(house, bad, "m1|"), Accepted)
    house.spin()
    assert "a defect" in live.error
    assert live.status == "failed"
    assert isinstance(tell(house, good, "m2|look"), Accepted)
    house.spin()
    assert [r for r in house.records(good) if isinstance(r.event, TurnEnded)]
    live._runner._desk.setup = setup
    house.pass_time(10.0)
    assert [r for r in house.records(bad) if isinstance(r.event, TurnEnded)]


async def test_a_defect_below_the_log_reaches_who_waits_and_no_other_log() -> None:
    disk = FaultyDisk()
    committer = Committer(disk, in_place=False)
    one, two = (log_in(disk, committer, ROOT / name) for name in ("s_1", "s_2"))

    def fault(operation: str, path: Path) -> Any:
        bad = operation == "write" and path.parent.name == "s_1"
        return ZeroDivisionError("a defect") if bad else None

    disk.fault = fault
    one.append([record(1)])
    async with asyncio.timeout(10):
        with pytest.raises(PerdureError):
            await one.commit()
        two.append([record(1)])
        await two.commit()
    assert list(two.read()) == run(1, 1)
    await one.close()
    await two.close()
    committer.close()
