"""How turns ended, for those who wait for the answer to a message."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec

from perdure.kernel.events import (
    LimitReached,
    MessageId,
    MessagesTaken,
    ModelResponded,
    Record,
    TurnEnded,
    TurnId,
    TurnStarted,
)
from perdure.kernel.limits import told

from .views import TurnOutcome

KEPT = 200
"""Ended turns that are remembered."""


class Outcomes:
    def __init__(self) -> None:
        self._turn: TurnId | None = None
        self._turns: dict[MessageId, TurnId] = {}
        self._ended: dict[TurnId, tuple[TurnEnded, str, float]] = {}
        self._text, self._limit = "", ""
        self._cost = 0.0
        self._changed = asyncio.Event()
        self.closed = False
        """The session was closed here; it may have been opened again elsewhere."""

    def close(self) -> None:
        """Let those who wait go and look again."""
        self.closed = True
        self._changed.set()

    def record(self, record: Record) -> None:
        event = record.event
        if isinstance(event, ModelResponded):
            self._text = event.text or self._text
            self._cost += event.cost_usd or 0.0
        elif isinstance(event, TurnStarted):
            self._turn, self._text, self._cost, self._limit = event.turn, "", 0.0, ""
            self._turns.update((m, event.turn) for m in event.messages)
        elif isinstance(event, MessagesTaken) and self._turn:
            self._turns.update((m, self._turn) for m in event.messages)
        elif isinstance(event, LimitReached):
            self._limit = told(event)
        elif isinstance(event, TurnEnded):
            if event.reason in ("limit", "budget") and not event.error:
                event = msgspec.structs.replace(event, error=self._limit)
            self._ended[event.turn] = (event, self._text, self._cost)
            if len(self._ended) > KEPT:
                gone = next(iter(self._ended))
                del self._ended[gone]
                self._turns = {m: t for m, t in self._turns.items() if t != gone}
            self._changed.set()
            self._changed = asyncio.Event()

    def catch_up(self, records: Iterator[Record]) -> None:
        for record in records:
            self.record(record)

    def of(self, message: MessageId) -> TurnOutcome | None:
        turn = self._turns.get(message)
        if turn is None or turn not in self._ended:
            return None
        event, text, cost = self._ended[turn]
        return TurnOutcome(
            message=message,
            turn=turn,
            reason=event.reason,
            text=text,
            error=event.error,
            cost_usd=cost,
        )

    async def wait(self, message: MessageId, timeout: float) -> TurnOutcome | None:
        """None when `timeout` seconds passed first."""
        try:
            async with asyncio.timeout(timeout):
                while (found := self.of(message)) is None and not self.closed:
                    await self._changed.wait()
        except TimeoutError:
            return None
        return found
