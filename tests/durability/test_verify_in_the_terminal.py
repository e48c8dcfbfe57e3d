"""The log under attack (D5), seen by its owner: `perdure session verify [--repair]` says exactly what it
found and what it did, changes nothing unless asked to, and loses nothing that can be proven."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from perdure.agents import scaffold
from perdure.cli.app import invoke
from perdure.kernel.events import CallId, Record, SessionId, ToolFinished, ToolResult
from perdure.kernel.state import State, evolve
from perdure.storage import Committer, SessionStore

from ..conformance.session_log import BEGAN, run
from ..storage.help import Clock

S1 = SessionId("s_1")
LINES = 6


@dataclass
class Told:
    code: int
    out: str

    @property
    def problems(self) -> list[str]:
        lines = [line.strip() for line in self.out.splitlines() if line.startswith("  ")]
        return [line for line in lines if not line.startswith("done: ")]

    @property
    def done(self) -> list[str]:
        return [
            line.strip().removeprefix("done: ")
            for line in self.out.splitlines()
            if line.startswith("  done: ")
        ]


class Desk:
    """A workspace with one session, and a terminal in it."""

    def __init__(self, root: Path) -> None:
        scaffold(root)
        self.folder = root / ".perdure" / "sessions" / S1
        self.log, self.snapshot = self.folder / "events.jsonl", self.folder / "snapshot.json"
        self.private = root / ".perdure"
        asyncio.run(self._write())
        self.whole = self.log.read_bytes()
        self.lines = self.whole.splitlines(keepends=True)

    async def _write(self) -> None:
        async with self.store() as store:
            opened = await store.create(S1)
            opened.log.append(run(1, LINES))
            await opened.log.commit()
            await opened.log.close()

    @contextlib.asynccontextmanager
    async def store(self):  # type: ignore[no-untyped-def]
        committer = Committer()
        try:
            yield SessionStore(self.private, committer, Clock())
        finally:
            committer.close()

    def put(self, content: bytes) -> None:
        for file in self.folder.iterdir():
            if file.name != "events.jsonl" and file.is_file():
                file.unlink()
        self.log.write_bytes(content)

    def verify(self, *options: str) -> Told:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = invoke(["session", "verify", *options])
        return Told(code, out.getvalue())

    def records(self) -> list[Record]:
        async def read() -> list[Record]:
            async with self.store() as store:
                opened = await store.open(S1)
                found = list(opened.log.read())
                await opened.log.close()
                return found

        return asyncio.run(read())


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PERDURE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    yield Desk(tmp_path)


def is_whole(desk: Desk, records: int) -> None:
    told = desk.verify("s_1")
    assert told.code == 0 and told.out == f"s_1: whole, {records} records\n"
    assert desk.records() == run(1, records)


def test_a_whole_session_is_called_whole(desk: Desk) -> None:
    is_whole(desk, LINES)
    assert desk.verify("--repair", "last").out == f"s_1: whole, {LINES} records\n"
    assert desk.verify("--all").code == 0
    assert desk.log.read_bytes() == desk.whole


def test_a_tail_torn_at_any_byte_is_named_and_moved_aside(desk: Desk) -> None:
    last = desk.lines[-1]
    before = desk.whole[: -len(last)]
    for kept in range(len(last)):
        torn = before + last[:kept]
        desk.put(torn)
        told = desk.verify("s_1")
        assert desk.log.read_bytes() == torn, "looking changed something"
        if kept == 0:
            assert told.code == 0 and told.out == f"s_1: whole, {LINES - 1} records\n"
            continue
        assert told.code == 1
        assert told.out.startswith(f"s_1: damaged, {LINES - 1} records\n")
        assert told.problems == [
            f"line {LINES}: cut off in the middle, or still being written ({kept} bytes)"
        ]
        assert "--repair" in told.out
        mended = desk.verify("s_1", "--repair")
        assert mended.code == 0 and mended.problems == told.problems
        assert mended.done == ["moved the torn end into events.torn-1"]
        assert (desk.folder / "events.torn-1").read_bytes() == last[:kept]
        assert desk.log.read_bytes() == before
    is_whole(desk, LINES - 1)


def test_a_flipped_bit_anywhere_is_found_on_its_line_and_no_line_before_it_is_lost(
    desk: Desk,
) -> None:
    place = 0
    for number, line in enumerate(desk.lines, 1):
        for at in range(0, len(line), 3):
            flipped = bytearray(desk.whole)
            flipped[place + at] ^= 1 << (at % 8)
            desk.put(bytes(flipped))
            told = desk.verify("s_1")
            assert told.code == 1 and f"line {number}: " in told.problems[0], (number, at, told.out)
            assert told.out.startswith(f"s_1: damaged, {number - 1} records\n")
            assert desk.log.read_bytes() == bytes(flipped)
            mended = desk.verify("s_1", "--repair")
            assert mended.code == 0 and mended.done, mended.out
            kept = [f.read_bytes() for f in desk.folder.glob("events.*-1")]
            assert kept and all(k == bytes(flipped) or bytes(flipped).endswith(k) for k in kept)
            after = desk.log.read_bytes()
            assert after.startswith(desk.whole[:place]) and desk.whole.startswith(after)
            assert desk.verify("s_1").code == 0
        place += len(line)


@pytest.mark.parametrize("gone", range(1, LINES))
def test_a_missing_line_is_named_by_its_number(desk: Desk, gone: int) -> None:
    left = desk.lines[: gone - 1] + desk.lines[gone:]
    desk.put(b"".join(left))
    told = desk.verify("s_1")
    assert told.code == 1
    assert told.problems == [f"line {gone}: record {gone} is missing before it"]
    mended = desk.verify("s_1", "--repair")
    if gone == 1:
        assert mended.code in (0, 1)  # nothing can be proven of what is left
        assert (desk.folder / "events.damaged-1").read_bytes() == b"".join(left)
        return
    assert mended.code == 0 and mended.done == [
        "kept the log as it was in events.damaged-1",
        f"took line {gone} and what follows it out of the log",
    ]
    is_whole(desk, gone - 1)


@pytest.mark.parametrize("twice", range(1, LINES + 1))
def test_a_doubled_line_is_named_and_dropped_without_loss(desk: Desk, twice: int) -> None:
    desk.put(b"".join(desk.lines[:twice] + desk.lines[twice - 1 :]))
    told = desk.verify("s_1")
    assert told.problems == [f"line {twice + 1}: the same line as the one before"]
    mended = desk.verify("s_1", "--repair")
    assert mended.code == 0 and mended.done == [
        "kept the log as it was in events.damaged-1",
        f"dropped line {twice + 1}, a repetition",
    ]
    is_whole(desk, LINES)
    assert desk.log.read_bytes() == desk.whole


# What a rename would have put in place ---------------------------------------------------------------


def test_a_repair_that_lost_its_rename_can_be_made_again(desk: Desk) -> None:
    """The mended log stands beside the broken one, under the name it was written to."""
    broken = b"".join([*desk.lines[:2], b"rubbish\n", *desk.lines[3:]])
    desk.put(broken)
    (desk.folder / ".events.tmp").write_bytes(b"".join(desk.lines[:2]))
    (desk.folder / "events.damaged-1").hardlink_to(desk.log)
    told = desk.verify("s_1")
    assert told.code == 1 and told.problems[0] == "line 3: not a record"
    mended = desk.verify("s_1", "--repair")
    assert mended.code == 0 and "kept the log as it was in events.damaged-2" in mended.done
    assert (desk.folder / "events.damaged-1").read_bytes() == broken
    is_whole(desk, 2)


def test_an_artifact_whose_rename_was_lost_is_missing_and_named(desk: Desk) -> None:
    async def add() -> str:
        async with desk.store() as store:
            opened = await store.open(S1)
            artifact = opened.artifacts.put(b"big", "txt")
            event = ToolFinished(
                call=CallId("c"), tool="bash", result=ToolResult(artifact=artifact)
            )
            opened.log.append([Record(seq=LINES + 1, at=BEGAN, event=event)])
            await opened.log.close()
            return str(artifact)

    artifact = asyncio.run(add())
    assert desk.verify("s_1").code == 0
    file = desk.folder / "artifacts" / artifact
    file.rename(file.with_name(".0.tmp"))
    told = desk.verify("s_1")
    assert told.code == 1
    assert told.problems == [f"line {LINES + 1}: the artifact {artifact} it names is missing"]
    mended = desk.verify("s_1", "--repair")
    assert (
        mended.code == 1 and mended.done == []
    )  # it cannot be made again, and is not pretended to


def test_a_fork_or_a_deletion_that_was_cut_off_is_no_session(desk: Desk) -> None:
    sessions = desk.folder.parent
    for name in (".new-s_2", ".trash/s_3-0"):
        (sessions / name).mkdir(parents=True)
        (sessions / name / "events.jsonl").write_bytes(desk.lines[0][:20])
    told = desk.verify("--all")
    assert told.code == 0 and told.out == f"s_1: whole, {LINES} records\n"


# Snapshots -------------------------------------------------------------------------------------------


def snapshot_of(desk: Desk) -> bytes:
    async def write() -> None:
        async with desk.store() as store:
            opened = await store.open(S1)
            await opened.write_snapshot(b"what it folds to")
            await opened.log.close()

    asyncio.run(write())
    assert desk.verify("s_1").code == 0
    return desk.snapshot.read_bytes()


@pytest.mark.parametrize(
    "what", ["empty", "newer", "half", "cut", "flipped", "of another log", "rubbish"]
)
def test_a_snapshot_that_does_not_fit_is_named_ignored_and_removed(desk: Desk, what: str) -> None:
    good = snapshot_of(desk)
    records = LINES
    if what == "empty":
        desk.snapshot.write_bytes(b"")
    elif what == "newer":  # the log was put back from a copy
        records = LINES - 2
        desk.log.write_bytes(b"".join(desk.lines[:records]))
    elif what == "half":
        desk.snapshot.write_bytes(good[: len(good) // 2])
    elif what == "cut":
        desk.snapshot.write_bytes(good[:-1])
    elif what == "flipped":
        desk.snapshot.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    elif what == "of another log":
        records = 2
        desk.log.write_bytes(b"".join(desk.lines[:2]))
    else:
        desk.snapshot.write_bytes(b"\0" * len(good))

    async def opened_with() -> object:
        async with desk.store() as store:
            opened = await store.open(S1)
            await opened.log.close()
            return opened.snapshot

    assert asyncio.run(opened_with()) is None
    told = desk.verify("s_1")
    assert told.code == 1 and told.out.startswith(f"s_1: damaged, {records} records\n")
    assert told.problems == ["the snapshot does not fit the log; it is ignored"]
    mended = desk.verify("s_1", "--repair")
    assert mended.code == 0
    assert mended.done == ["removed the snapshot; it is derived, and made again"]
    assert not desk.snapshot.exists()
    is_whole(desk, records)


def test_records_after_a_snapshot_are_folded_on_top_of_it(desk: Desk) -> None:
    """A snapshot older than the log is right, and is used."""
    snapshot_of(desk)

    async def go_on() -> tuple[int, State]:
        async with desk.store() as store:
            opened = await store.open(S1)
            opened.log.append(run(LINES + 1, LINES + 3))
            await opened.log.close()
            again = await store.open(S1)
            assert again.snapshot is not None
            state = State()
            for record in again.log.read():
                evolve(state, record)
            await again.log.close()
            return again.snapshot.seq, state

    seq, state = asyncio.run(go_on())
    assert (seq, state.seq) == (LINES, LINES + 3)
    assert desk.verify("s_1").code == 0


# What cannot be looked at ------------------------------------------------------------------------------


def test_an_unknown_session_is_named(desk: Desk) -> None:
    told = desk.verify("s_9")
    assert told.code != 0 and "s_9" in told.out


def test_a_session_that_is_open_elsewhere_is_checked_but_not_repaired(desk: Desk) -> None:
    async def look() -> tuple[Told, Told]:
        async with desk.store() as store:
            opened = await store.open(S1)
            told = desk.verify("s_1"), desk.verify("s_1", "--repair")
            await opened.log.close()
            return told

    looked, repaired = asyncio.run(look())
    assert looked.code == 0
    assert repaired.code != 0 and "being written by another process (pid " in repaired.out


def test_several_sessions_are_told_apart(desk: Desk) -> None:
    other = desk.folder.parent / "s_2"
    other.mkdir()
    (other / "events.jsonl").write_bytes(desk.whole + b"half")
    told = desk.verify("--all")
    assert told.code == 1
    assert "s_2: damaged, 6 records" in told.out and "s_1: whole, 6 records" in told.out
