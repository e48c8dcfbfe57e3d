"""Verify names every fault with its line; repair mends what is proven and sets the rest aside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.kernel.events import CallId, Record, ToolFinished, ToolResult
from perdure.storage import Problem, Report, SessionStore

from ..conformance.session_log import BEGAN
from .help import S1, record, run, store_in


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    with store_in(tmp_path / "P") as store:
        yield store


async def session(store: SessionStore, records: int = 6) -> list[bytes]:
    """The lines of a session that was written and closed."""
    opened = await store.create(S1)
    opened.log.append(run(1, records))
    await opened.log.commit()
    await opened.write_snapshot(b"state")
    await opened.log.close()
    return store.files(S1).log.read_bytes().splitlines(keepends=True)


def put(store: SessionStore, lines: list[bytes]) -> None:
    store.files(S1).log.write_bytes(b"".join(lines))
    store.files(S1).snapshot.unlink()


async def after_repair(store: SessionStore) -> list[Record]:
    assert store.verify(S1) == Report(True, len(list(store.open_readonly(S1).read())))
    opened = await store.open(S1)
    found = list(opened.log.read())
    opened.log.append([record(len(found) + 1)])
    await opened.log.commit()
    await opened.log.close()
    return found


async def test_a_whole_session_is_ok(store: SessionStore) -> None:
    await session(store)
    assert store.verify(S1) == Report(True, 6)
    assert store.verify(S1, repair=True) == Report(True, 6)


async def test_a_changed_record_is_named_and_what_follows_it_set_aside(store: SessionStore) -> None:
    lines = await session(store)
    lines[2] = lines[2].replace(b"say 3", b"say 8")
    put(store, lines)
    problem = Problem(3, "its checksum does not fit what it says")
    assert store.verify(S1) == Report(False, 2, (problem,))
    report = store.verify(S1, repair=True)
    assert report.ok and report.records == 2 and report.problems == (problem,)
    assert report.done == (
        "kept the log as it was in events.damaged-1",
        "took line 3 and what follows it out of the log",
    )
    assert (store.files(S1).folder / "events.damaged-1").read_bytes() == b"".join(lines)
    assert await after_repair(store) == run(1, 2)


async def test_a_wrong_checksum_alone_is_restored_without_loss(store: SessionStore) -> None:
    lines = await session(store)
    whole = b"".join(lines)
    lines[2] = lines[2][:8] + b"0" * 16 + lines[2][24:]
    put(store, lines)
    report = store.verify(S1, repair=True)
    assert report.ok and report.records == 6
    assert report.problems == (
        Problem(3, "only its checksum is wrong: the next line confirms what it says"),
    )
    assert "restored the checksum of line 3" in report.done
    assert store.files(S1).log.read_bytes() == whole
    assert await after_repair(store) == run(1, 6)


async def test_a_line_that_stands_twice_is_dropped_without_loss(store: SessionStore) -> None:
    lines = await session(store)
    put(store, [*lines[:3], *lines[2:]])
    report = store.verify(S1, repair=True)
    assert report.ok and report.records == 6
    assert report.problems == (Problem(4, "the same line as the one before"),)
    assert await after_repair(store) == run(1, 6)


async def test_missing_records_are_counted(store: SessionStore) -> None:
    lines = await session(store)
    put(store, [*lines[:2], *lines[4:]])
    report = store.verify(S1)
    assert report == Report(False, 2, (Problem(3, "records 3 to 4 are missing before it"),))
    assert store.verify(S1, repair=True).ok
    assert await after_repair(store) == run(1, 2)


async def test_several_faults_are_all_named(store: SessionStore) -> None:
    lines = await session(store)
    lines[1] = b"rubbish\n"
    lines[4] = lines[4].replace(b"say 5", b"say 8")
    put(store, [*lines, b'{"sum":"01'])
    assert store.verify(S1).problems == (
        Problem(2, "not a record"),
        Problem(3, "its checksum does not fit what it says"),
        Problem(5, "its checksum does not fit what it says"),
        Problem(7, "cut off in the middle, or still being written (10 bytes)"),
    )


async def test_a_torn_end_is_moved_aside(store: SessionStore) -> None:
    lines = await session(store)
    put(store, [*lines, b'{"sum":"01'])
    report = store.verify(S1, repair=True)
    assert report.ok and report.done == ("moved the torn end into events.torn-1",)
    assert await after_repair(store) == run(1, 6)


async def test_missing_and_changed_artifacts_are_named_with_the_line_that_names_them(
    store: SessionStore,
) -> None:
    opened = await store.create(S1)
    one, two = opened.artifacts.put(b"one", "txt"), opened.artifacts.put(b"two")
    for seq, artifact in enumerate((one, two), 1):
        result = ToolResult(artifact=artifact)
        event = ToolFinished(call=CallId("c"), tool="bash", result=result)
        opened.log.append([Record(seq=seq, at=BEGAN, event=event)])
    await opened.log.close()
    assert store.verify(S1).ok
    opened.artifacts.path(one).unlink()
    opened.artifacts.path(two).write_bytes(b"2")
    report = store.verify(S1, repair=True)
    assert not report.ok and report.records == 2
    assert report.problems == (
        Problem(1, f"the artifact {one} it names is missing"),
        Problem(2, f"the artifact {two} it names was changed"),
    )


async def test_a_snapshot_that_does_not_fit_is_removed(store: SessionStore) -> None:
    await session(store)
    store.files(S1).snapshot.write_bytes(b"{}")
    report = store.verify(S1, repair=True)
    assert report.ok
    assert report.problems == (Problem(0, "the snapshot does not fit the log; it is ignored"),)
    assert not store.files(S1).snapshot.exists()
