"""What every SessionLog does. A test module subclasses `SessionLogConformance` and says where the
logs come from; the port's words are in perdure.kernel.ports."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from perdure.kernel.errors import StorageError
from perdure.kernel.events import MessageId, MessageReceived, Record, Text
from perdure.kernel.ports import SessionLog

BEGAN = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


def record(seq: int, text: str = "") -> Record:
    """Record `seq`: a message."""
    event = MessageReceived(message=MessageId(f"m_{seq}"), parts=(Text(text=text or f"say {seq}"),))
    return Record(seq=seq, at=BEGAN + timedelta(milliseconds=seq), event=event)


def run(first: int, last: int) -> list[Record]:
    return [record(seq) for seq in range(first, last + 1)]


class Logs(Protocol):
    """One session's storage."""

    async def open(self) -> SessionLog:
        """Its log; the one opened before was closed."""

    def refuse(self) -> None:
        """From now on nothing can be stored."""


class SessionLogConformance:
    @pytest.fixture
    def logs(self) -> Logs:
        raise NotImplementedError

    async def test_a_new_log_is_empty(self, logs: Logs) -> None:
        log = await logs.open()
        assert log.last == 0
        assert list(log.read()) == []
        await log.close()

    async def test_what_was_committed_is_read_back_equal_and_in_order(self, logs: Logs) -> None:
        log = await logs.open()
        log.append(run(1, 3))
        log.append([record(4, 'Grüße, 世界 \u2028 \x00 \r\n \\ " 🙂')])
        await log.commit()
        assert log.last == 4
        assert list(log.read()) == [*run(1, 3), record(4, 'Grüße, 世界 \u2028 \x00 \r\n \\ " 🙂')]
        await log.close()

    async def test_what_was_not_committed_is_not_read(self, logs: Logs) -> None:
        log = await logs.open()
        log.append(run(1, 2))
        await log.commit()
        log.append([record(3)])
        assert log.last == 3
        assert list(log.read()) == run(1, 2)
        await log.close()

    @pytest.mark.parametrize(
        ("after", "through", "first", "last"),
        [(0, None, 1, 700), (699, None, 700, 700), (250, 260, 251, 260), (0, 1, 1, 1)],
    )
    async def test_a_range_is_read_exactly(
        self, logs: Logs, after: int, through: int | None, first: int, last: int
    ) -> None:
        log = await logs.open()
        log.append(run(1, 700))
        await log.commit()
        assert list(log.read(after, through)) == run(first, last)
        await log.close()

    @pytest.mark.parametrize(("after", "through"), [(5, None), (9, None), (3, 3), (4, 2), (0, 0)])
    async def test_an_empty_range_reads_nothing(
        self, logs: Logs, after: int, through: int | None
    ) -> None:
        log = await logs.open()
        log.append(run(1, 5))
        await log.commit()
        assert list(log.read(after, through)) == []
        await log.close()

    @pytest.mark.parametrize("seqs", [(3,), (1,), (2, 4), (2, 2)])
    async def test_records_that_do_not_continue_the_log_are_refused_whole(
        self, logs: Logs, seqs: tuple[int, ...]
    ) -> None:
        log = await logs.open()
        log.append([record(1)])
        with pytest.raises(StorageError):
            log.append([record(seq) for seq in seqs])
        assert log.last == 1
        log.append([record(2)])
        await log.commit()
        assert list(log.read()) == run(1, 2)
        await log.close()

    async def test_committing_nothing_is_no_error(self, logs: Logs) -> None:
        log = await logs.open()
        await log.commit()
        log.append([])
        await log.commit()
        log.append([record(1)])
        await log.commit()
        await log.commit()
        assert list(log.read()) == [record(1)]
        await log.close()

    async def test_each_of_many_tasks_finds_its_record_once_its_commit_returned(
        self, logs: Logs
    ) -> None:
        log = await logs.open()

        async def one() -> None:
            mine = record(log.last + 1)
            log.append([mine])
            await log.commit()
            assert mine in list(log.read(mine.seq - 1))

        await asyncio.gather(*[one() for _ in range(20)])
        assert list(log.read()) == run(1, 20)
        await log.close()

    async def test_a_cancelled_commit_harms_nobody(self, logs: Logs) -> None:
        log = await logs.open()
        log.append([record(1)])
        task = asyncio.ensure_future(log.commit())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        log.append([record(2)])
        await log.commit()
        assert list(log.read()) == run(1, 2)
        await log.close()

    async def test_closing_keeps_what_was_appended(self, logs: Logs) -> None:
        log = await logs.open()
        log.append(run(1, 3))
        await log.close()
        again = await logs.open()
        assert again.last == 3
        assert list(again.read()) == run(1, 3)
        again.append([record(4)])
        await again.commit()
        assert list(again.read(after=2)) == run(3, 4)
        await again.close()

    async def test_a_closed_log_takes_nothing_and_closing_again_is_no_error(
        self, logs: Logs
    ) -> None:
        log = await logs.open()
        log.append([record(1)])
        await asyncio.gather(log.close(), log.close())
        await log.close()
        with pytest.raises(StorageError):
            log.append([record(2)])
        with pytest.raises(StorageError):
            await log.commit()

    async def test_after_a_failure_it_takes_nothing_more_but_shows_what_it_has(
        self, logs: Logs
    ) -> None:
        log = await logs.open()
        log.append(run(1, 2))
        await log.commit()
        logs.refuse()
        with pytest.raises(StorageError):
            log.append([record(3)])
            await log.commit()
        with pytest.raises(StorageError):
            log.append([record(4)])
        with pytest.raises(StorageError):
            await log.commit()
        assert list(log.read()) == run(1, 2)
        await log.close()
