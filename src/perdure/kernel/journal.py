"""The one place where a session's log, state and context move, and in which order.

append: queued for the disk, folded, not yet shown. commit: on disk, then shown to subscribers. So the
process may plan on what is not yet durable, but nobody outside ever sees it (D1, D2).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from .errors import StorageError
from .events import AnyEvent, Record
from .ports import Clock, Context, SessionLog
from .state import State, evolve


class Journal:
    def __init__(
        self,
        *,
        log: SessionLog,
        state: State,
        context: Context,
        clock: Clock,
        publish: Callable[[Record], None],
        observe: Callable[[Record], None] = lambda _: None,
        screen: Callable[[AnyEvent], AnyEvent] = lambda event: event,
    ) -> None:
        """`observe` sees each record as it is appended, `publish` once it is on disk. `screen` takes out
        of an event what must be in no log, before anything else sees it."""
        self.state = state
        self._screen = screen
        self._observe = observe
        self._log, self._context, self._clock, self._publish = log, context, clock, publish
        self._unpublished: list[Record] = []

    @property
    def dirty(self) -> bool:
        """Something was appended that is not yet known to be on disk."""
        return bool(self._unpublished)

    def now(self) -> datetime:
        return self._clock.now()

    def append(self, *events: AnyEvent) -> int:
        """Take events into the session; return the last one's sequence number.
        Raises StorageError, having changed nothing, when the log takes no more."""
        now, state = self._clock.now(), self.state
        records = [
            Record(seq=seq, at=now, event=self._screen(event))
            for seq, event in enumerate(events, state.seq + 1)
        ]
        self._log.append(records)
        for record in records:
            evolve(state, record)
            self._context.feed(record)
            self._observe(record)
        self._unpublished += records
        return state.seq

    def record(self, seq: int) -> Record:
        """Read one back, committed or not."""
        for record in self._unpublished:
            if record.seq == seq:
                return record
        return next(self._log.read(after=seq - 1, through=seq))

    async def commit(self) -> None:
        """Return when all appended so far is on disk and shown. Raises StorageError."""
        through = self.state.seq
        try:
            await self._log.commit()
        except StorageError:
            self._unpublished.clear()
            raise
        # Invariant: records are shown once and in order, whoever's commit came first.
        count = 0
        for record in self._unpublished:
            if record.seq > through:
                break
            count += 1
        shown, self._unpublished[:count] = self._unpublished[:count], []
        for record in shown:
            self._publish(record)
