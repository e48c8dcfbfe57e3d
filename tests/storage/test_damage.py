"""Torn tails are cut, damage further in opens read-only; neither is ever mistaken for the other."""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.kernel.errors import Damaged
from perdure.kernel.events import Record
from perdure.storage import Committer, Disk, FaultyDisk
from perdure.storage.lines import ZERO, decode, encode

from .help import FOLDER, content, log_in, record, run

LOG = FOLDER / "events.jsonl"


def written(records: list[Record]) -> bytes:
    total, lines = ZERO, []
    for each in records:
        line, total = encode(each, total)
        lines.append(line)
    return b"".join(lines)


def disk_with(log: bytes) -> FaultyDisk:
    disk = FaultyDisk()
    for folder in (FOLDER.parent, FOLDER):
        disk.mkdir(folder)
    put(disk, log)
    return disk


def put(disk: Disk, log: bytes) -> None:
    handle = disk.open(LOG, fresh=True)
    disk.write(handle, log)
    disk.close(handle)


async def reopened(disk: FaultyDisk) -> tuple[list[Record], bool]:
    """The records found, and whether the log is damaged; if not, that it goes on cleanly."""
    committer = Committer(disk)
    try:
        log = log_in(disk, committer)
        found = list(log.read())
        assert log.last == len(found)
        if log.damage is not None:
            with pytest.raises(Damaged):
                log.append([record(log.last + 1)])
            with pytest.raises(Damaged):
                await log.commit()
            await log.close()
            return found, True
        log.append([record(log.last + 1, "goes on")])
        await log.commit()
        await log.close()
        again = log_in(disk, committer)
        assert list(again.read()) == [*found, record(len(found) + 1, "goes on")]
        assert again.torn is None and again.damage is None
        await again.close()
        return found, False
    finally:
        committer.close()


def side_files(disk: FaultyDisk) -> bytes:
    return b"".join(content(disk, FOLDER / n) for n in sorted(disk.names(FOLDER)) if "torn" in n)


def test_a_line_carries_the_sum_the_format_page_describes() -> None:
    first, second = written(run(1, 2)).splitlines()
    rest = first[len('{"sum":"0123456789abcdef",') :]
    mine = blake2b(b"0" * 16 + rest, digest_size=8).hexdigest()
    assert json.loads(first)["sum"] == mine
    rest = second[len('{"sum":"0123456789abcdef",') :]
    assert json.loads(second)["sum"] == blake2b(mine.encode() + rest, digest_size=8).hexdigest()
    assert list(json.loads(second)) == ["sum", "seq", "at", "event"]


def test_the_example_on_the_format_page_is_a_line_of_a_log() -> None:
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_bytes()
    (line,) = [line for line in page.splitlines() if line.startswith(b'{"sum":')]
    assert encode(decode(line), ZERO)[0] == line + b"\n"


async def test_a_log_cut_at_any_byte_keeps_every_whole_line_and_goes_on() -> None:
    whole = written(run(1, 4))
    for cut in range(len(whole) + 1):
        disk = disk_with(whole[:cut])
        found, damaged = await reopened(disk)
        assert not damaged
        assert found == run(1, whole[:cut].count(b"\n"))
        assert written(found) + side_files(disk) == whole[:cut]


@given(data=st.data())
async def test_a_flipped_bit_is_damage_unless_it_is_in_the_last_line(data: st.DataObject) -> None:
    whole = written(run(1, 6))
    last = whole[:-1].rfind(b"\n") + 1
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    disk = disk_with(bytes(flipped))
    found, damaged = await reopened(disk)
    intact = whole[:at].count(b"\n")
    if at >= last and b'"seq":6' not in flipped and b'"seq":7' in flipped:
        assert damaged  # it looks as if a record before it were gone
    elif at >= last:
        assert not damaged and found == run(1, 5)
        assert side_files(disk) == bytes(flipped[last:])
    else:
        assert damaged and found == run(1, intact)
        assert content(disk, LOG) == bytes(flipped)


@pytest.mark.parametrize("gone", range(1, 6))
async def test_a_missing_line_before_another_is_damage(gone: int) -> None:
    lines = written(run(1, 6)).splitlines(keepends=True)
    found, damaged = await reopened(disk_with(b"".join(lines[: gone - 1] + lines[gone:])))
    assert damaged and found == run(1, gone - 1)


@pytest.mark.parametrize("twice", range(1, 6))
async def test_a_doubled_line_before_another_is_damage(twice: int) -> None:
    lines = written(run(1, 6)).splitlines(keepends=True)
    found, damaged = await reopened(disk_with(b"".join(lines[:twice] + lines[twice - 1 :])))
    assert damaged and found == run(1, twice)


async def test_swapped_lines_are_damage() -> None:
    one, two, three, four = written(run(1, 4)).splitlines(keepends=True)
    found, damaged = await reopened(disk_with(one + three + two + four))
    assert damaged and found == run(1, 1)


@given(tail=st.binary(min_size=1, max_size=400))
async def test_rubbish_at_the_end_is_cut(tail: bytes) -> None:
    disk = disk_with(written(run(1, 3)) + tail)
    found, damaged = await reopened(disk)
    assert not damaged and found == run(1, 3)
    assert side_files(disk) == tail


async def test_two_torn_tails_are_kept_beside_each_other() -> None:
    disk = disk_with(written(run(1, 2)) + b"first")
    await reopened(disk)
    put(disk, content(disk, LOG) + b"second")
    await reopened(disk)
    assert content(disk, FOLDER / "events.torn-1") == b"first"
    assert content(disk, FOLDER / "events.torn-2") == b"second"


async def test_a_whole_record_of_an_unknown_kind_is_reported_with_its_number() -> None:
    body = b'"seq":1,"at":"2026-11-21T10:00:00Z","event":{"type":"teleported"}}'
    mine = blake2b(ZERO + body, digest_size=8).hexdigest().encode()
    disk = disk_with(b'{"sum":"' + mine + b'",' + body + b"\n")
    committer = Committer(disk)
    log = log_in(disk, committer)
    with pytest.raises(Damaged, match=r"record 1 .*teleported"):
        list(log.read())
    await log.close()
    committer.close()


async def test_damage_that_comes_after_opening_is_noticed_when_reading() -> None:
    disk = disk_with(written(run(1, 3)))
    committer = Committer(disk)
    log = log_in(disk, committer)
    put(disk, written(run(1, 3)).replace(b"say 2", b"say 7"))
    with pytest.raises(Damaged):
        list(log.read())
    await log.close()
    committer.close()


async def test_lines_longer_than_a_read_are_read() -> None:
    records = [record(1), record(2, "x" * 3_000_000), record(3), record(4, "y" * 300_000)]
    found, damaged = await reopened(disk_with(written(records)))
    assert not damaged and found == records
