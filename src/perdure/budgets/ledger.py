"""The books: a line when room is reserved, a line when it is settled, one file a month.

`budgets/2026-11.jsonl`. A line is an `Entry`; of several with the same `request` the last counts, so a
reservation that a crash left open counts as spent in full. Lines are appended and not synced: they
survive the process, and after a loss of power at most the last ones are missing.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path

import msgspec

from perdure.kernel.errors import StorageError
from perdure.kernel.ports import Clock


class Spent(msgspec.Struct, kw_only=True, omit_defaults=True):
    cost_usd: float = 0.0
    tokens: int = 0
    calls: int = 0
    turns: int = 0
    seconds: float = 0.0

    def add(self, other: Spent, sign: int = 1) -> None:
        self.cost_usd += sign * other.cost_usd
        self.tokens += sign * other.tokens
        self.calls += sign * other.calls
        self.turns += sign * other.turns
        self.seconds += sign * other.seconds


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line."""

    at: datetime
    request: str
    agent: str
    session: str
    spent: Spent
    turn: str = ""
    """In which the model was called; none for a compaction between turns."""
    open: bool = False
    """Reserved, and not known yet what it comes to."""
    unattended: bool = False
    unpriced: bool = False
    """No price is known: `cost_usd` is too low."""


_decode = msgspec.json.Decoder(Entry).decode
_encode = msgspec.json.Encoder().encode
Key = tuple[str, str]


class Ledger:
    """Of one workspace. Reads what other processes append."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self._month = self._path = ""
        self._offset = 0
        self._handle = -1
        self._entries: dict[str, Entry] = {}
        self._totals: defaultdict[Key, Spent] = defaultdict(Spent)
        """By (agent or empty for all, day or month), for `unattended` ("agent!", day), and for one turn
        ("/turn", day or month)."""
        self._torn = False
        """The file does not end with a whole line."""
        self._late: dict[str, Entry] = {}
        """What could not be written, by request."""

    def total(self, agent: str, period: str) -> Spent:
        """`agent` empty: all. `period`: `2026-11-21` or `2026-11`. Raises StorageError."""
        self._catch_up()
        return self._totals.get((agent, period)) or Spent()

    def unattended(self, agent: str, day: str) -> Spent:
        self._catch_up()
        return self._totals.get((f"{agent}!", day)) or Spent()

    def turn(self, turn: str, period: str) -> Spent:
        self._catch_up()
        return self._totals.get((f"/{turn}", period)) or Spent()

    def entry(self, request: str) -> Entry | None:
        if request not in self._entries:
            with contextlib.suppress(StorageError):
                self._catch_up()
        return self._entries.get(request)

    def book(self, entry: Entry) -> None:
        """For what is spent already. Never raises: what the disk refuses comes before all that is
        written later."""
        try:
            self.write(entry)
        except StorageError:
            self._late[entry.request] = entry

    def write(self, entry: Entry) -> None:
        """Raises StorageError."""
        self.flush()
        self._write(entry)

    def flush(self) -> None:
        """Write what the disk refused before. Raises StorageError."""
        for entry in list(self._late.values()):
            self._write(entry)
            del self._late[entry.request]

    def _write(self, entry: Entry) -> None:
        if self._append(entry):
            return
        self._catch_up()
        if not self._holds(entry):
            # Swallowed by what another process tore off just before it, or the file is another now.
            self.close()
            self._month = ""
            self._append(entry, apart=True)
            self._catch_up()
            if not self._holds(entry):
                raise StorageError(f"{self._path} does not hold what was written to it")

    def _holds(self, entry: Entry) -> bool:
        return self._entries.get(entry.request) == entry

    def _append(self, entry: Entry, *, apart: bool = False) -> bool:
        """`apart`: an empty line comes before it in any case. Was it seen to follow what was known, with
        nothing between? Then it need not be read back."""
        self._catch_up()
        line = _encode(entry) + b"\n"
        if alone := self._torn or apart:
            line = b"\n" + line  # what a crash or a full disk tore off stands alone
        try:
            if self._handle < 0:
                self._folder.mkdir(parents=True, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._handle = os.open(self._path, flags, 0o600)
            if os.write(self._handle, line) != len(line):
                self.close()
                raise StorageError(f"{self._path} could not be written whole: the disk is full?")
            end = os.lseek(self._handle, 0, os.SEEK_CUR)
            # By name: the file that is there, which the one that is open need not be.
            same = os.path.samestat(os.stat(self._path), os.fstat(self._handle))  # noqa: PTH116
        except OSError as error:
            self.close()
            raise StorageError(f"{self._path} cannot be written: {error.strerror}") from error
        if alone or not same or end != self._offset + len(line):
            return False
        self._offset = end
        self._take(entry)
        return True

    def open(self) -> int:
        """How many reservations of this month were never settled, as after a crash."""
        self._catch_up()
        return sum(entry.open for entry in self._entries.values())

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _catch_up(self) -> None:
        _, month = _periods(self._clock.now().date())
        if month != self._month:
            self.close()
            self._month, self._offset, self._torn = month, 0, False
            self._path = f"{self._folder}/{month}.jsonl"
            self._entries.clear()
            self._totals.clear()
        try:
            size = os.stat(self._path).st_size  # noqa: PTH116  # before each model call
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"{self._path} cannot be read: {error.strerror}") from error
        if size <= self._offset:
            return
        try:
            with open(self._path, "rb") as file:  # noqa: PTH123
                file.seek(self._offset)
                data = file.read(size - self._offset)
        except OSError as error:
            raise StorageError(f"{self._path} cannot be read: {error.strerror}") from error
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        self._torn = whole < len(data)
        for line in data[:whole].splitlines():
            with contextlib.suppress(msgspec.DecodeError):  # torn by a crash
                self._take(_decode(line))

    def _take(self, entry: Entry) -> None:
        before = self._entries.get(entry.request)
        self._entries[entry.request] = entry
        for one, sign in ((before, -1), (entry, 1)):
            if one is None:
                continue
            day, month = _periods(one.at.date())
            keys = [(one.agent, day), (one.agent, month), ("", day), ("", month)]
            if one.unattended:
                keys.append((f"{one.agent}!", day))
            if one.turn:
                keys += [(f"/{one.turn}", day), (f"/{one.turn}", month)]
            for key in keys:
                self._totals[key].add(one.spent, sign)


@lru_cache(maxsize=8)
def _periods(day: date) -> tuple[str, str]:
    return f"{day:%Y-%m-%d}", f"{day:%Y-%m}"
