"""Power loss and failing disks at any operation: what was committed survives, and what survives is a
prefix of what was appended."""

from __future__ import annotations

import asyncio
import errno
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.kernel.errors import PerdureError, StorageError
from perdure.kernel.events import Record, SessionId
from perdure.storage import Committer, FaultyDisk, SessionStore, TimeIds

from .help import FOLDER, ROOT, S1, Clock, Fault, content, log_in, record, run

LOG = FOLDER / "events.jsonl"

steps = st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=8)
"""How many records are appended, and whether they are committed."""


@given(
    work=steps,
    power=st.integers(1, 60),
    seed=st.integers(0, 2**32),
    in_place=st.booleans(),
    group=st.booleans(),
)
async def test_what_was_committed_survives_a_power_loss_at_any_operation(
    work: list[tuple[int, bool]], power: int, seed: int, in_place: bool, group: bool
) -> None:
    disk = FaultyDisk()
    disk.mkdir(ROOT)
    disk.sync_path(ROOT.parent)
    disk.operations, disk.power_lost_at = 0, power
    committer = Committer(disk, in_place=in_place, group_from=1 if group else 8)
    promised, appended = 0, 0
    try:
        log = log_in(disk, committer)
        for count, commit in work:
            log.append(run(appended + 1, appended + count))
            appended += count
            if commit:
                await log.commit()
                promised = appended
        await log.close()
    except (OSError, StorageError):
        pass
    finally:
        committer.close()
    after = disk.restart(Random(seed))
    if not after.exists(LOG):
        assert promised == 0
        return
    committer = Committer(after)
    again = log_in(after, committer)
    found = list(again.read())
    assert again.damage is None
    assert promised <= len(found) <= appended
    assert found == run(1, len(found))
    again.append([record(len(found) + 1)])
    await again.commit()
    await again.close()
    committer.close()


@given(
    first=st.integers(1, 5),
    second=st.integers(1, 5),
    where=st.integers(0, 12),
    thread=st.booleans(),
)
async def test_after_a_failed_operation_the_log_reopens_clean(
    first: int, second: int, where: int, thread: bool
) -> None:
    disk = FaultyDisk()
    committer = Committer(disk, in_place=not thread)
    log = log_in(disk, committer)
    log.append(run(1, first))
    await log.commit()
    begun = disk.operations
    disk.fault = lambda operation, path: (
        OSError(errno.EIO, "I/O error") if disk.operations == begun + where else None
    )
    log.append(run(first + 1, first + second))
    try:
        await log.commit()
        promised = first + second
    except StorageError:
        promised = first
        with pytest.raises(StorageError):
            log.append([record(log.last + 1)])
    await log.close()
    disk.fault = None
    again = log_in(disk, committer)
    found = list(again.read())
    assert found == run(1, promised)
    again.append([record(promised + 1)])
    await again.commit()
    await again.close()
    committer.close()


async def test_what_a_failed_sync_left_in_the_page_cache_is_not_found_again() -> None:
    disk = FaultyDisk()
    committer = Committer(disk)
    log = log_in(disk, committer)
    log.append([record(1)])
    await log.commit()
    fault = disk.fault = Fault("sync", name="events.jsonl")
    log.append([record(2)])
    with pytest.raises(StorageError):
        await log.commit()
    await log.close()
    assert fault.hits
    assert content(disk, LOG).count(b"\n") == 1
    committer.close()


async def test_a_full_disk_is_named_and_work_goes_on_when_there_is_room() -> None:
    disk = FaultyDisk(capacity=600)
    committer = Committer(disk)
    log = log_in(disk, committer)
    log.append([record(1)])
    await log.commit()
    log.append([record(2, "x" * 1000)])
    with pytest.raises(StorageError, match=r"(?s)No space left.*Free some space"):
        await log.commit()
    await log.close()
    disk.capacity = None
    again = log_in(disk, committer)
    assert list(again.read()) == [record(1)] and again.torn is None
    again.append([record(2, "x" * 1000)])
    await again.commit()
    await again.close()
    committer.close()


@pytest.mark.parametrize("group_from", [1, 8])
async def test_an_error_reaches_exactly_the_logs_it_belongs_to(group_from: int) -> None:
    disk = FaultyDisk()
    committer = Committer(disk, group_from=group_from, in_place=False)
    logs = [log_in(disk, committer, ROOT / f"s_{n}") for n in range(10)]
    for log in logs:
        log.append([record(1)])
    await asyncio.gather(*[log.commit() for log in logs])

    def fault(operation: str, path: object) -> OSError | None:
        bad = operation == "sync_everything" or (operation == "sync" and "s_3" in str(path))
        return OSError(errno.EIO, "I/O error") if bad else None

    disk.fault = fault
    for log in logs:
        log.append([record(2)])
    ends = await asyncio.gather(*[log.commit() for log in logs], return_exceptions=True)
    assert [isinstance(end, StorageError) for end in ends] == [n == 3 for n in range(10)]
    disk.fault = None
    for n, log in enumerate(logs):
        assert len(list(log.read())) == (1 if n == 3 else 2)
        await log.close()
    committer.close()


@given(power=st.integers(1, 120), seed=st.integers(0, 2**32))
async def test_a_session_with_all_that_belongs_to_it_survives_a_power_loss(
    power: int, seed: int
) -> None:
    """Artifacts and marks are there when the commit after them returned; a fork is whole or not there;
    a deleted session is whole or gone."""
    disk = FaultyDisk()
    disk.mkdir(ROOT)
    disk.sync_path(ROOT.parent)
    disk.operations, disk.power_lost_at = 0, power
    ids = TimeIds(Clock())
    names = [SessionId(ids.new("s")) for _ in range(2)]
    committer = Committer(disk)
    store = SessionStore(ROOT, committer, Clock())
    promised: list[Record] = []
    artifact, marked, forked, deleted = None, False, False, False
    try:
        session = await store.create(S1)
        session.log.append(run(1, 2))
        await session.log.commit()
        promised = run(1, 2)
        put = session.artifacts.put(b"picture" * 100, "png")
        store.unfinished.mark(S1)
        session.log.append([record(3)])
        await session.log.commit()
        promised, artifact, marked = run(1, 3), put, True
        await session.write_snapshot(b"state")
        for name in names:
            fork = await store.fork(S1, 2, name)
            await fork.log.close()
        forked = True
        deleted = True  # from here on it may be gone
        await store.delete(names[1])
    except (PerdureError, OSError):
        pass
    finally:
        committer.close()
    after = disk.restart(Random(seed))
    committer = Committer(after)
    store = SessionStore(ROOT, committer, Clock())
    found = list(store.ids())
    if promised:
        session = await store.open(S1)
        assert list(session.log.read())[: len(promised)] == promised
        assert session.snapshot is None or session.snapshot.payload == b"state"
        if artifact is not None:
            assert session.artifacts.read(artifact) == b"picture" * 100
        # A crash may have left the file with less in it; putting it again makes it whole.
        again = session.artifacts.put(b"picture" * 100, "png")
        assert session.artifacts.read(again) == b"picture" * 100
        if marked:
            assert store.unfinished.ids() == [S1]
        await session.log.close()
        assert store.verify(S1, repair=True).ok
    for name in names:
        if name in found:
            fork = await store.open(name)
            assert list(fork.log.read())[:2] == run(1, 2) and fork.log.last == 3
            await fork.log.close()
        elif forked and name == names[0]:
            raise AssertionError("a fork that was promised is gone")
    assert deleted or not (forked and names[1] not in found)
    committer.close()
