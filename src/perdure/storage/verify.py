"""Checking a session's files to the byte, and mending what can be proven."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import msgspec

from . import lines
from .disk import Disk
from .log import cut_tail, locked
from .paths import SessionFiles
from .reader import survey
from .scan import undecodable
from .snapshot import read_snapshot

_ARTIFACT = re.compile(rb'"artifact":"([0-9a-f]{64}(?:\.[a-z0-9]{1,12})?)"')
_CHUNK = 1 << 20


class Problem(msgspec.Struct, frozen=True):
    line: int
    """In events.jsonl, from 1; 0 when it is not about a line."""
    what: str


class Report(msgspec.Struct, frozen=True):
    ok: bool
    """Nothing is wrong; after a repair: nothing is wrong any more."""
    records: int
    """How many records can be read."""
    problems: tuple[Problem, ...] = ()
    """What was found, before any repair."""
    done: tuple[str, ...] = ()
    """What a repair did."""


@dataclass(slots=True)
class _Findings:
    good: int = 0
    """Lines that continue the chain, from the first on."""
    problems: list[Problem] = field(default_factory=list)
    mended: list[bytes] = field(default_factory=list)
    """The log as far as it can be proven."""
    mends: list[str] = field(default_factory=list)
    lost: int = 0
    """First line that cannot be proven, 0 if all can."""
    torn: bool = False
    artifacts: dict[str, int] = field(default_factory=dict)
    """Artifacts named, with the first line that does."""


def verify(disk: Disk, files: SessionFiles, *, repair: bool = False) -> Report:
    """Raises OSError; with `repair`, Locked."""
    if not repair:
        found, others = _check(disk, files)
        problems = (*found.problems, *others)
        return Report(not problems, found.good, problems)
    lock = disk.lock(files.lock)
    if lock is None:
        raise locked(disk, files)
    try:
        found, others = _check(disk, files)
        done = _mend(disk, files, found)
        after, rest = _check(disk, files)
        problems = (*found.problems, *others)
        return Report(not (after.problems or rest), after.good, problems, tuple(done))
    finally:
        disk.close(lock)


def _check(disk: Disk, files: SessionFiles) -> tuple[_Findings, list[Problem]]:
    found = _check_lines(_content(disk, files.log))
    return found, [*_check_artifacts(disk, files, found), *_check_snapshot(disk, files)]


def _check_lines(content: bytes) -> _Findings:
    found = _Findings()
    *split, rest = content.split(b"\n")
    total, seq, unbroken = lines.ZERO, 0, True
    for index, line in enumerate(split):
        number, seq = index + 1, seq + 1
        following = split[index + 1] if index + 1 < len(split) else None
        if lines.computed_sum(line, total) == lines.stated_sum(line):
            why = undecodable(line, seq)
            if why:
                found.problems.append(Problem(number, f"whole, but not readable: {why}"))
            if unbroken:
                found.good += 1
            if not found.lost:
                found.mended.append(line)
        else:
            unbroken = False
            what, mend = _broken(line, split[index - 1] if index else b"", seq, total, following)
            found.problems.append(Problem(number, what))
            if found.lost:
                pass
            elif mend is None:
                found.lost = number
            elif mend:
                found.mended.append(mend)
                found.mends.append(f"restored the checksum of line {number}")
            else:
                found.mends.append(f"dropped line {number}, a repetition")
            if mend:
                line = mend
            elif mend is None:
                seq = _number(line) or seq
            else:
                seq -= 1
        for name in _ARTIFACT.findall(line):
            found.artifacts.setdefault(name.decode(), number)
        total = lines.stated_sum(line) or total
    if rest:
        what = f"cut off in the middle, or still being written ({len(rest)} bytes)"
        found.problems.append(Problem(len(split) + 1, what))
        found.torn = True
    return found


def _broken(
    line: bytes, before: bytes, seq: int, total: bytes, following: bytes | None
) -> tuple[str, bytes | None]:
    """What is wrong with a line that does not continue the chain; and the line to put in its place:
    empty for none, None when the right one is not known."""
    if line == before:
        return "the same line as the one before", b""
    number = _number(line)
    if number is None:
        return "not a record", None
    if number > seq:
        gone = f"record {seq} is" if number == seq + 1 else f"records {seq} to {number - 1} are"
        return f"{gone} missing before it", None
    if number < seq:
        return f"record {number} again, where {seq} was due", None
    should = lines.computed_sum(line, total)
    if following is not None and lines.computed_sum(following, should) == lines.stated_sum(
        following
    ):
        return "only its checksum is wrong: the next line confirms what it says", lines.with_sum(
            line, total
        )
    return "its checksum does not fit what it says", None


def _number(line: bytes) -> int | None:
    try:
        return lines.decode(line).seq
    except lines.UNREADABLE:
        return None


def _check_artifacts(disk: Disk, files: SessionFiles, found: _Findings) -> list[Problem]:
    problems = []
    for name, line in found.artifacts.items():
        path = files.artifacts / name
        if not disk.exists(path):
            problems.append(Problem(line, f"the artifact {name} it names is missing"))
        elif _sha256(disk, path) != name[:64]:
            problems.append(Problem(line, f"the artifact {name} it names was changed"))
    return problems


def _check_snapshot(disk: Disk, files: SessionFiles) -> list[Problem]:
    if not disk.exists(files.snapshot):
        return []
    snapshot = read_snapshot(disk, files)
    if snapshot is not None:
        handle = disk.open(files.log)
        try:
            if survey(disk, handle, snapshot[0]).anchored:
                return []
        finally:
            disk.close(handle)
    return [Problem(0, "the snapshot does not fit the log; it is ignored")]


def _mend(disk: Disk, files: SessionFiles, found: _Findings) -> list[str]:
    done: list[str] = []
    if found.mends or found.lost:
        aside = _set_aside(disk, files)
        done.append(f"kept the log as it was in {aside.name}")
        _rewrite(disk, files, found.mended)
        done += found.mends
        if found.lost:
            done.append(f"took line {found.lost} and what follows it out of the log")
    elif found.torn:
        handle = disk.open(files.log)
        try:
            walked = survey(disk, handle)
            assert walked.broken is not None
            side = cut_tail(disk, files, handle, walked.broken, walked.size)
        finally:
            disk.close(handle)
        done.append(f"moved the torn end into {side.name}")
    if _check_snapshot(disk, files):
        disk.remove(files.snapshot)
        done.append("removed the snapshot; it is derived, and made again")
    return done


def _set_aside(disk: Disk, files: SessionFiles) -> Path:
    taken = set(disk.names(files.folder))
    number = 1
    while f"events.damaged-{number}" in taken:
        number += 1
    aside = files.folder / f"events.damaged-{number}"
    # The log is replaced by rename below, never written in place: the link keeps the old content.
    disk.link(files.log, aside)
    return aside


def _rewrite(disk: Disk, files: SessionFiles, mended: Sequence[bytes]) -> None:
    tmp = files.folder / ".events.tmp"
    handle = disk.open(tmp, fresh=True)
    try:
        disk.write(handle, b"".join([line + b"\n" for line in mended]))
        disk.sync(handle)
    finally:
        disk.close(handle)
    disk.rename(tmp, files.log)
    disk.sync_path(files.folder)


def _content(disk: Disk, path: Path) -> bytes:
    handle = disk.open(path)
    try:
        return disk.read(handle, 0, disk.size(handle))
    finally:
        disk.close(handle)


def _sha256(disk: Disk, path: Path) -> str:
    handle, digest, offset = disk.open(path), sha256(), 0
    try:
        while chunk := disk.read(handle, offset, _CHUNK):
            digest.update(chunk)
            offset += len(chunk)
    finally:
        disk.close(handle)
    return digest.hexdigest()
