"""A session log in memory: the test double for `log.FileSessionLog`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perdure.kernel.errors import StorageError
from perdure.kernel.events import Record


class MemorySessionLog:
    """Implements ports.SessionLog. What it holds is lost with it."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        """`records`: what was committed before, numbered from 1."""
        self._records = list(records)
        self._committed = len(self._records)
        self._refusal = ""

    @property
    def last(self) -> int:
        return len(self._records)

    @property
    def committed(self) -> tuple[Record, ...]:
        """What a crash now would leave."""
        return tuple(self._records[: self._committed])

    def fail(self, why: str = "the disk refused") -> None:
        """From now on append and commit raise StorageError, and what was not committed is gone."""
        self._refusal = why
        del self._records[self._committed :]

    def append(self, records: Sequence[Record]) -> None:
        self._check()
        for seq, record in enumerate(records, self.last + 1):
            if record.seq != seq:
                raise StorageError(f"record {record.seq} came where {seq} was due")
        self._records += records

    async def commit(self) -> None:
        self._check()
        self._committed = len(self._records)

    def read(self, after: int = 0, through: int | None = None) -> Iterator[Record]:
        end = self._committed if through is None else min(through, self._committed)
        return iter(self._records[max(after, 0) : max(end, 0)])

    async def close(self) -> None:
        if not self._refusal:
            self._committed = len(self._records)
            self._refusal = "the session's log is closed"

    def _check(self) -> None:
        if self._refusal:
            raise StorageError(self._refusal)
