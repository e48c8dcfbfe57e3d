"""Sessions come, go, fork and are looked at; no two writers have the same one."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.kernel.errors import Conflict, Damaged, InvalidInput, Locked, NotFound, StorageError
from perdure.kernel.events import SessionForked, SessionId
from perdure.storage import OpenedSession, SessionStore
from perdure.storage.reader import Allowance

from .help import S1, record, run, store_in

S2 = SessionId("s_2")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    with store_in(tmp_path / "P") as store:
        yield store


async def made(store: SessionStore, session: SessionId = S1, records: int = 3) -> OpenedSession:
    opened = await store.create(session)
    opened.log.append(run(1, records))
    await opened.log.commit()
    return opened


def test_a_store_that_is_not_used_touches_nothing(store: SessionStore, tmp_path: Path) -> None:
    assert list(store.ids()) == [] and store.unfinished.ids() == []
    assert not store.exists(S1)
    assert list(tmp_path.iterdir()) == []


async def test_a_session_is_found_again_with_its_records(store: SessionStore) -> None:
    opened = await made(store)
    await opened.log.close()
    assert store.exists(S1)
    again = await store.open(S1)
    assert list(again.log.read()) == run(1, 3)
    await again.log.close()


async def test_an_id_is_given_once(store: SessionStore) -> None:
    opened = await made(store)
    with pytest.raises(Conflict):
        await store.create(S1)
    await opened.log.close()
    with pytest.raises(Conflict):
        await store.create(S1)


@pytest.mark.parametrize(
    "bad",
    ["", "..", "../s_1", "s/1", ".trash", "-x", "S_1", "s_1\n", "s\0", "x" * 65, "é", "\udc80"],
)
async def test_what_is_no_id_never_reaches_the_disk(store: SessionStore, bad: str) -> None:
    session = SessionId(bad)
    for look in (store.exists, store.open_readonly, store.verify, store.files):
        with pytest.raises(InvalidInput):
            look(session)
    for act in (store.create, store.open, store.delete):
        with pytest.raises(InvalidInput):
            await act(session)
    with pytest.raises(InvalidInput):
        await store.fork(session, None, S2)


async def test_a_session_that_is_not_there_is_not_found(store: SessionStore) -> None:
    for act in (store.open, store.delete):
        with pytest.raises(NotFound):
            await act(S1)
    for look in (store.open_readonly, store.verify):
        with pytest.raises(NotFound):
            look(S1)
    with pytest.raises(NotFound):
        await store.fork(S1, None, S2)
    assert not store.exists(S2)


async def test_a_session_never_committed_is_not_found_but_can_be_deleted(
    store: SessionStore,
) -> None:
    opened = await store.create(S1)
    await opened.log.close()
    with pytest.raises(NotFound):
        await store.open(S1)
    with pytest.raises(NotFound):
        store.open_readonly(S1)
    await store.delete(S1)
    assert list(store.ids()) == []


async def test_sessions_are_listed_newest_first(store: SessionStore) -> None:
    for name in ("s_03", "s_01", "s_02"):
        await (await made(store, SessionId(name))).log.close()
    (store.files(S1).folder.parent / "Notes.txt").touch()
    assert list(store.ids()) == ["s_03", "s_02", "s_01"]


async def test_a_second_writer_in_the_same_process_is_refused_until_the_first_is_done(
    store: SessionStore,
) -> None:
    opened = await made(store)
    with pytest.raises(Locked, match=f"pid {os.getpid()}"):
        await store.open(S1)
    with pytest.raises(Locked):
        await store.delete(S1)
    with pytest.raises(Locked):
        store.verify(S1, repair=True)
    await opened.log.close()
    await (await store.open(S1)).log.close()


OTHER_WRITER = """
import asyncio, sys
from pathlib import Path
from perdure.kernel.errors import Locked
from perdure.storage import Committer, SessionStore, SystemClock
async def main():
    store = SessionStore(Path(sys.argv[1]), Committer(), SystemClock())
    try:
        opened = await store.open("s_1")
    except Locked as error:
        print(error.message)
    else:
        print("opened", opened.log.last, flush=True)
        sys.stdin.read()  # and dies without closing
asyncio.run(main())
"""


def other_writer(root: Path) -> tuple[subprocess.Popen[str], str]:
    """Another process that opens the session, and its first line."""
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER_WRITER, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    return other, other.stdout.readline()


async def test_a_writer_in_another_process_is_refused_until_this_one_is_gone(
    store: SessionStore, tmp_path: Path
) -> None:
    opened = await made(store)
    other, told = other_writer(tmp_path / "P")
    with other:
        assert "being written by another process" in told and f"pid {os.getpid()}" in told
    await opened.log.close()
    other, told = other_writer(tmp_path / "P")
    with other:
        assert told == "opened 3\n"
        with pytest.raises(Locked, match=f"pid {other.pid}"):
            await store.open(S1)
        other.kill()
    await (await store.open(S1)).log.close()


async def test_looking_needs_no_lock_and_changes_nothing(store: SessionStore) -> None:
    opened = await made(store)
    with opened.log.files.log.open("ab") as file:
        file.write(b'{"sum":"half a li')
    seen = store.open_readonly(S1)
    assert seen.last == 3 and seen.torn == 17 and seen.damage is None
    assert list(seen.read(after=1)) == run(2, 3)
    assert b"half" in opened.log.files.log.read_bytes()
    for artifacts in (seen.artifacts, store.artifacts(S1)):
        with pytest.raises(StorageError):
            artifacts.put(b"no")
    assert not opened.log.files.artifacts.exists()
    await opened.log.close()


async def test_a_torn_tail_is_cut_when_opened_for_writing(store: SessionStore) -> None:
    opened = await made(store)
    await opened.log.close()
    with opened.log.files.log.open("ab") as file:
        file.write(b'{"sum":"half a li')
    again = await store.open(S1)
    assert again.log.torn is not None and again.log.torn.read_bytes() == b'{"sum":"half a li'
    again.log.append([record(4)])
    await again.log.commit()
    await again.log.close()
    assert store.verify(S1).ok


async def test_a_log_longer_than_is_checked_on_the_loop_opens_too(store: SessionStore) -> None:
    opened = await store.create(S1)
    opened.log.append([record(seq, "x" * 2_000) for seq in range(1, 1_001)])
    await opened.log.close()
    again = await store.open(S1)
    assert again.log.last == 1_000
    await again.log.close()


async def test_opening_that_is_cancelled_leaves_no_lock_behind(store: SessionStore) -> None:
    opened = await store.create(S1)
    opened.log.append([record(seq, "x" * 2_000) for seq in range(1, 1_001)])
    await opened.log.close()
    for turns in range(4):
        task = asyncio.ensure_future(store.open(S1))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    again = await store.open(S1)
    await again.log.close()


# Forks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [None, 1, 2, 5])
async def test_a_fork_begins_with_its_parents_records_byte_for_byte(
    store: SessionStore, at: int | None
) -> None:
    parent = await made(store, records=5)
    fork = await store.fork(S1, at, S2)
    taken = at or 5
    mine = list(fork.log.read())
    assert mine[:-1] == run(1, taken)
    assert mine[-1].event == SessionForked(session=S2, parent=S1, at=taken)
    assert mine[-1].seq == taken + 1
    lines = parent.log.files.log.read_bytes().splitlines()
    assert fork.log.files.log.read_bytes().splitlines()[:-1] == lines[:taken]
    await fork.log.close()
    assert store.verify(S2).ok
    await parent.log.close()


async def test_a_fork_shares_artifacts_and_outlives_its_parent(store: SessionStore) -> None:
    parent = await made(store)
    picture = parent.artifacts.put(b"picture", "png")
    await parent.log.commit()
    await parent.log.close()
    fork = await store.fork(S1, None, S2)
    await store.delete(S1)
    assert fork.artifacts.read(picture) == b"picture"
    await fork.log.close()
    assert list(store.ids()) == [S2]


@pytest.mark.parametrize("at", [0, -1, 4, 99])
async def test_a_fork_where_nothing_is_is_refused_and_leaves_nothing(
    store: SessionStore, at: int
) -> None:
    parent = await made(store)
    with pytest.raises(InvalidInput):
        await store.fork(S1, at, S2)
    assert list(store.ids()) == [S1]
    assert [p.name for p in store.files(S1).folder.parent.iterdir()] == ["s_1"]
    await parent.log.close()


async def test_a_fork_takes_only_what_its_parent_committed(store: SessionStore) -> None:
    parent = await made(store)
    parent.log.append([record(4)])
    fork = await store.fork(S1, None, S2)
    assert fork.log.last == 4
    assert list(fork.log.read(through=3)) == run(1, 3)
    await parent.log.close()
    await fork.log.close()


async def test_a_fork_of_a_damaged_session_is_possible_before_the_damage(
    store: SessionStore,
) -> None:
    parent = await made(store, records=5)
    await parent.log.close()
    log = parent.log.files.log
    log.write_bytes(log.read_bytes().replace(b"say 3", b"say 8"))
    with pytest.raises(Damaged):
        await store.fork(S1, None, S2)
    fork = await store.fork(S1, 2, S2)
    assert list(fork.log.read(through=2)) == run(1, 2)
    await fork.log.close()


# Deleting ----------------------------------------------------------------------------------------


async def test_a_deleted_session_is_gone_with_all_its_files(
    store: SessionStore, tmp_path: Path
) -> None:
    opened = await made(store)
    opened.artifacts.put(b"data")
    store.unfinished.mark(S1)
    await opened.log.close()
    await store.delete(S1)
    assert not store.exists(S1) and list(store.ids()) == [] and store.unfinished.ids() == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    with pytest.raises(NotFound):
        await store.open(S1)


async def test_what_a_crash_left_of_a_deletion_goes_with_the_next(store: SessionStore) -> None:
    for session in (S1, S2):
        await (await made(store, session)).log.close()
    folder = store.files(S1).folder
    trash = folder.parent / ".trash"
    trash.mkdir()
    folder.rename(trash / "s_1-0")
    assert list(store.ids()) == [S2]
    await store.delete(S2)
    assert not trash.exists()


# Snapshots ---------------------------------------------------------------------------------------


async def test_a_snapshot_comes_back_with_the_session(store: SessionStore) -> None:
    opened = await made(store)
    await opened.write_snapshot(b"state\nof any \x00 kind")
    opened.log.append([record(4)])
    await opened.log.close()
    again = await store.open(S1)
    assert again.snapshot is not None
    assert (again.snapshot.seq, again.snapshot.payload) == (3, b"state\nof any \x00 kind")
    assert list(again.log.read(again.snapshot.seq)) == [record(4)]
    assert list(again.log.read()) == run(1, 4)
    await again.write_snapshot(b"newer")
    await again.log.close()
    third = await store.open(S1)
    assert third.snapshot is not None
    assert (third.snapshot.seq, third.snapshot.payload) == (4, b"newer")
    await third.log.close()


async def test_a_snapshot_that_is_broken_is_ignored(store: SessionStore) -> None:
    opened = await made(store)
    await opened.write_snapshot(b"state")
    await opened.log.close()
    path = opened.log.files.snapshot
    whole = path.read_bytes()
    for broken in (
        b"",
        b"{}",
        whole[:-1],
        whole + b"x",
        whole.replace(b"state", b"stare"),
        b"\xff",
    ):
        path.write_bytes(broken)
        again = await store.open(S1)
        assert again.snapshot is None and list(again.log.read()) == run(1, 3)
        await again.log.close()
    path.write_bytes(whole)
    again = await store.open(S1)
    assert again.snapshot is not None
    await again.log.close()


async def test_a_snapshot_does_not_hide_damage_before_it(store: SessionStore) -> None:
    opened = await made(store)
    await opened.write_snapshot(b"state")
    opened.log.append([record(4)])
    await opened.log.close()
    log = opened.log.files.log
    log.write_bytes(log.read_bytes().replace(b"say 2", b"say 8"))
    again = await store.open(S1)
    assert again.snapshot is None and again.log.damage is not None and again.log.last == 1
    await again.log.close()


async def test_a_snapshot_of_what_was_never_stored_is_ignored(store: SessionStore) -> None:
    opened = await made(store)
    whole = opened.log.files.log.read_bytes()
    opened.log.append([record(4)])
    await opened.write_snapshot(b"too early")
    await opened.log.close()
    opened.log.files.log.write_bytes(whole)
    again = await store.open(S1)
    assert again.snapshot is None and again.log.last == 3
    await again.log.close()


# Export ------------------------------------------------------------------------------------------


async def test_jsonl_is_the_log_itself(store: SessionStore) -> None:
    opened = await made(store)
    out = io.BytesIO()
    store.export(S1, "jsonl", out)
    assert out.getvalue() == opened.log.files.log.read_bytes()
    await opened.log.close()


async def test_json_is_one_array_of_records(store: SessionStore) -> None:
    opened = await made(store)
    out = io.BytesIO()
    store.export(S1, "json", out)
    array = json.loads(out.getvalue())
    assert [r["seq"] for r in array] == [1, 2, 3]
    assert array[0]["event"]["type"] == "message_received"
    await opened.log.close()


async def test_a_damaged_session_is_exported_up_to_the_damage_and_then_it_is_said(
    store: SessionStore,
) -> None:
    opened = await made(store)
    await opened.log.close()
    log = opened.log.files.log
    log.write_bytes(log.read_bytes().replace(b"say 2", b"say 8"))
    out = io.BytesIO()
    with pytest.raises(Damaged):
        store.export(S1, "json", out)
    assert [r["seq"] for r in json.loads(out.getvalue())] == [1]


async def test_an_unknown_format_is_refused(store: SessionStore) -> None:
    opened = await made(store)
    with pytest.raises(InvalidInput):
        store.export(S1, "pdf", io.BytesIO())  # type: ignore[arg-type]
    await opened.log.close()


async def test_logs_that_are_opened_together_share_what_may_be_held(store: SessionStore) -> None:
    for session in (S1, S2):
        await (await made(store, session, 50)).log.close()
    size = store.files(S1).log.stat().st_size
    store.allowance = Allowance(size + size // 2)
    first, second = await store.open(S1), await store.open(S2)
    assert first.log._held and not second.log._held
    assert store.allowance.left == size // 2
    assert list(second.log.replay()) == list(first.log.replay()) == run(1, 50)
    assert store.allowance.left == size + size // 2
    for opened in (first, second):
        await opened.log.close()
    whole = store.allowance.left
    unread = await store.open(S1)
    assert store.allowance.left < whole
    unread.log.append(run(51, 51))
    assert store.allowance.left == whole and not unread.log._held
    await unread.log.close()
    unread = await store.open(S2)
    await unread.log.close()
    assert store.allowance.left == whole
    with pytest.raises(Locked):
        kept = await store.open(S1)
        try:
            await store.open(S1)
        finally:
            await kept.log.close()
    assert store.allowance.left == whole
