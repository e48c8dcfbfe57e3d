"""Artifacts, marks of unfinished sessions, ids, the committer and the package as a whole."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.kernel.errors import InvalidInput, NotFound, StorageError
from perdure.kernel.events import (
    ArtifactId,
    CallId,
    Image,
    Json,
    ModelResponded,
    Native,
    Record,
    RequestId,
    SessionId,
    Text,
    ToolFinished,
    ToolResult,
)
from perdure.storage import (
    Committer,
    FaultyDisk,
    FileSessionLog,
    RealDisk,
    SessionStore,
    SystemClock,
    TimeIds,
)
from perdure.storage.unfinished import LAZY

from ..conformance.session_log import BEGAN
from .help import ROOT, S1, Clock, Fault, log_in, record, store_in


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    with store_in(tmp_path / "P") as store:
        yield store


# Artifacts ---------------------------------------------------------------------------------------


async def test_an_artifact_is_named_by_its_content_and_kept_once(store: SessionStore) -> None:
    session = await store.create(S1)
    one = session.artifacts.put(b"hello", ".txt")
    assert one == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824.txt"
    assert session.artifacts.put(b"hello", "txt") == one
    assert session.artifacts.put(b"hello") == one.removesuffix(".txt")
    assert session.artifacts.read(one) == b"hello"
    assert session.artifacts.read(one, 1, 3) == b"ell"
    assert session.artifacts.read(one, 4) == b"o" and session.artifacts.read(one, 9) == b""
    assert session.artifacts.size(one) == 5
    assert session.artifacts.path(one).read_bytes() == b"hello"
    assert session.artifacts.read_image(Image(media_type="image/png", artifact=one)) == b"hello"
    await session.log.close()


async def test_a_file_becomes_an_artifact_without_being_copied(
    store: SessionStore, tmp_path: Path
) -> None:
    session = await store.create(S1)
    output = tmp_path / "output"
    output.write_bytes(b"0123456789" * 300_000)
    kept = session.artifacts.put_file(output, "log")
    assert session.artifacts.path(kept).samefile(output)
    output.unlink()
    assert session.artifacts.read(kept, 2_999_990) == b"0123456789"
    assert session.artifacts.put(b"0123456789" * 300_000, "log") == kept
    with pytest.raises(StorageError):
        session.artifacts.put_file(tmp_path / "nothing", "log")
    await session.log.close()


async def test_artifacts_may_be_put_from_many_threads(store: SessionStore) -> None:
    session = await store.create(S1)

    def put(n: int) -> ArtifactId:
        return session.artifacts.put(b"%d" % (n % 5), "txt")

    names = await asyncio.gather(*[asyncio.to_thread(put, n) for n in range(30)])
    await session.log.commit()
    assert len(set(names)) == 5
    assert {session.artifacts.read(name) for name in names} == {b"0", b"1", b"2", b"3", b"4"}
    await session.log.close()


@pytest.mark.parametrize("bad", ["", "..", "../events.jsonl", "x" * 64, "0" * 64 + "./x", "0" * 63])
async def test_what_is_no_artifact_id_never_reaches_the_disk(store: SessionStore, bad: str) -> None:
    session = await store.create(S1)
    for look in (session.artifacts.path, session.artifacts.read, session.artifacts.size):
        with pytest.raises(InvalidInput):
            look(ArtifactId(bad))
    with pytest.raises(InvalidInput):
        session.artifacts.put(b"", "a/b")
    with pytest.raises(NotFound):
        session.artifacts.read(ArtifactId("0" * 64))
    await session.log.close()


async def test_an_artifact_that_cannot_be_stored_harms_only_itself() -> None:
    disk = FaultyDisk(capacity=1_000)
    disk.mkdir(ROOT)
    with store_in(ROOT, Committer(disk)) as store:
        session = await store.create(S1)
        with pytest.raises(StorageError, match="No space left"):
            session.artifacts.put(b"x" * 2_000)
        session.log.append([record(1)])
        await session.log.commit()
        disk.capacity = None
        assert session.artifacts.read(session.artifacts.put(b"x" * 2_000)) == b"x" * 2_000
        await session.log.close()


# Unfinished --------------------------------------------------------------------------------------


async def test_marks_are_found_by_the_next_process_until_cleared(
    store: SessionStore, tmp_path: Path
) -> None:
    session = await store.create(S1)
    session.log.append([record(1)])
    store.unfinished.mark(S1)
    store.unfinished.mark(S1)
    await session.log.commit()
    with store_in(tmp_path / "P") as other:
        assert other.unfinished.ids() == [S1]
        other.unfinished.clear(S1)
        assert other.unfinished.ids() == []
        other.unfinished.sweep()
    with store_in(tmp_path / "P") as third:
        assert third.unfinished.ids() == []
    await session.log.close()


async def test_a_session_that_works_again_soon_costs_no_sync(store: SessionStore) -> None:
    session = await store.create(S1)
    session.log.append([record(1)])
    store.unfinished.mark(S1)
    await session.log.commit()
    mark = store.files(S1).folder.parent.parent / "unfinished" / S1
    for _ in range(3):
        store.unfinished.clear(S1)
        assert store.unfinished.ids() == [] and mark.exists()
        store.unfinished.mark(S1)
        assert store.unfinished.ids() == [S1]
    await session.log.close()


async def test_only_so_many_cleared_marks_stay(store: SessionStore) -> None:
    sessions = []
    for n in range(LAZY + 10):
        session = await store.create(SessionId(f"s_{n:03}"))
        store.unfinished.mark(session.id)
        sessions.append(session)
    for session in sessions:
        store.unfinished.clear(session.id)
    folder = store.files(S1).folder.parent.parent / "unfinished"
    assert len(list(folder.iterdir())) == LAZY
    for session in sessions:
        await session.log.close()


async def test_only_open_sessions_are_marked(store: SessionStore) -> None:
    with pytest.raises(StorageError):
        store.unfinished.mark(S1)


# Ids ---------------------------------------------------------------------------------------------


@given(times=st.lists(st.integers(-1_000, 100_000), min_size=2, max_size=50))
def test_ids_ascend_even_when_the_clock_does_not(times: list[int]) -> None:
    clock = Clock()
    ids = TimeIds(clock)
    made = []
    for ms in times:
        clock.time = BEGAN.replace(microsecond=0)
        clock.time = clock.time.fromtimestamp(BEGAN.timestamp() + ms / 1_000, BEGAN.tzinfo)
        made.append(ids.new("s"))
    assert made == sorted(set(made))
    assert all(len(i) == 20 and i.startswith("s_") for i in made)


def test_ids_of_different_processes_differ_and_sort_by_time() -> None:
    assert TimeIds().new("m") != TimeIds().new("m")
    clock = Clock()
    earlier, later = TimeIds(clock).new("m"), TimeIds(clock).new("m")
    assert earlier < later


def test_jitter_is_uniform_in_the_unit_interval() -> None:
    assert TimeIds(entropy=bytes).jitter() == 0.0
    assert 0.99 < TimeIds(entropy=lambda n: b"\xff" * n).jitter() < 1.0


async def test_the_systems_clock_is_aware_and_goes_on() -> None:
    clock = SystemClock()
    began = clock.monotonic()
    await clock.sleep(0)
    assert clock.now().utcoffset() is not None and clock.monotonic() >= began


# The committer -----------------------------------------------------------------------------------


async def test_a_hundred_sessions_share_a_sync() -> None:
    disk = FaultyDisk()
    committer = Committer(disk)
    logs = [log_in(disk, committer, ROOT / f"s_{n}") for n in range(100)]
    for log in logs:
        log.append([record(1)])
    await asyncio.gather(*[log.commit() for log in logs])
    before = committer.syncs
    for log in logs:
        log.append([record(2)])
    await asyncio.gather(*[log.commit() for log in logs])
    assert committer.syncs - before <= 20
    for log in logs:
        assert log.committed == 2
        await log.close()
    committer.close()


class _Watched(FaultyDisk):
    """Notes which thread syncs."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[bool] = []

    def sync(self, handle: int) -> None:
        self.threads.append(threading.current_thread() is threading.main_thread())
        super().sync(handle)


async def commit_one(log: FileSessionLog) -> None:
    log.append([record(log.last + 1)])
    await log.commit()


async def test_a_session_alone_on_a_quick_disk_is_served_in_place_and_others_by_the_thread() -> (
    None
):
    disk = _Watched()
    committer = Committer(disk)
    one, two = (log_in(disk, committer, ROOT / f"s_{n}") for n in (1, 2))
    await commit_one(one)
    await commit_one(two)
    disk.threads.clear()
    await commit_one(two)
    await commit_one(two)
    assert disk.threads == [True, True]
    await commit_one(one)
    assert disk.threads[2:] == [False]
    for log in (one, two):
        await log.close()
    committer.close()


async def test_a_bug_below_fails_the_commit_and_not_the_thread() -> None:
    disk = FaultyDisk()
    committer = Committer(disk, in_place=False)
    one, two = (log_in(disk, committer, ROOT / f"s_{n}") for n in (1, 2))

    def bug(operation: str, path: Path) -> None:
        raise ZeroDivisionError("a bug")

    disk.fault = bug
    one.append([record(1)])
    with pytest.raises(StorageError, match="a bug"):
        await one.commit()
    disk.fault = None
    await commit_one(two)
    for log in (one, two):
        await log.close()
    committer.close()


async def test_a_log_whose_committer_is_closed_refuses_and_still_gives_its_lock_back() -> None:
    disk = FaultyDisk()
    committer = Committer(disk)
    log = log_in(disk, committer)
    await commit_one(log)
    committer.close()
    committer.close()
    log.append([record(2)])
    with pytest.raises(StorageError):
        await log.commit()
    await log.close()
    committer = Committer(disk)
    again = log_in(disk, committer)
    assert again.last == 1
    await again.close()
    committer.close()


async def test_a_log_that_cannot_be_opened_gives_its_lock_back() -> None:
    disk = FaultyDisk()
    committer = Committer(disk)
    log = log_in(disk, committer)
    await commit_one(log)
    await log.close()
    disk.fault = Fault("read", name="events.jsonl")
    with pytest.raises(StorageError, match="Input/output"):
        log_in(disk, committer)
    disk.fault = None
    await log_in(disk, committer).close()
    committer.close()


async def test_json_of_a_provider_with_line_breaks_stays_one_line(store: SessionStore) -> None:
    import msgspec

    session = await store.create(S1)
    native = Native(format="x", body=msgspec.Raw(b'{\r\n  "a": [1,\n 2], "b": "\\n"\r\n}'))
    event = ModelResponded(
        request=RequestId("r"), model="m", parts=(Text(text="hi"),), native=native
    )
    session.log.append([Record(seq=1, at=BEGAN, event=event), record(2)])
    await session.log.commit()
    found = next(iter(session.log.read())).event
    assert isinstance(found, ModelResponded) and found.native is not None
    assert msgspec.json.decode(found.native.body) == {"a": [1, 2], "b": "\n"}
    assert session.log.files.log.read_bytes().count(b"\n") == 2
    await session.log.close()


async def test_a_record_that_json_cannot_hold_is_refused_and_the_log_goes_on(
    store: SessionStore,
) -> None:
    session = await store.create(S1)
    session.log.append([record(1)])
    with pytest.raises(InvalidInput):
        session.log.append([record(2), record(3, "\udc80")])
    session.log.append([record(2)])
    await session.log.commit()
    assert session.log.last == 2 and len(list(session.log.read())) == 2
    await session.log.close()


@pytest.mark.parametrize("levels", [190, 210, 600])
async def test_what_is_nested_too_deep_to_be_read_back_is_refused(
    store: SessionStore, levels: int
) -> None:
    session = await store.create(S1)
    value: Json = 1
    for _ in range(levels // 2):
        value = {"[[[": [value, "]}"]}
    event = ToolFinished(call=CallId("c"), tool="t", result=ToolResult(data={"a": value}))
    mine = Record(seq=1, at=BEGAN, event=event)
    if levels > 200:
        with pytest.raises(InvalidInput, match="nested"):
            session.log.append([mine])
    else:
        session.log.append([mine, record(2, "[" * 1_000)])
        await session.log.commit()
        assert list(session.log.read()) == [mine, record(2, "[" * 1_000)]
    await session.log.close()


def test_syncing_everything_works_here_or_says_that_it_cannot(tmp_path: Path) -> None:
    disk = RealDisk()
    handle = disk.open(tmp_path / "file", create=True)
    disk.write(handle, b"x")
    assert disk.sync_everything(handle) in (True, False)
    if sys.platform == "linux":
        with pytest.raises(OSError, match="Bad file descriptor"):
            disk.sync_everything(-1)
    disk.close(handle)


def test_importing_storage_loads_neither_sqlite_nor_anything_heavy() -> None:
    code = """
import sys
from perdure.storage import ArtifactStore, Committer, FileSessionLog, SessionStore, TimeIds
for name in ("sqlite3", "shutil", "ctypes", "pydantic", "aiohttp", "random"):
    if name in sys.modules:
        print(name)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == ""
