"""The outbox's step: record the attempt, make it, record what came of it (D7)."""

from __future__ import annotations

from . import retry
from .desk import Desk
from .events import DeliveryEnded, DeliveryId, DeliveryQueued, DeliveryStarted, ModelResponded
from .ports import Sent
from .state import Delivery, Turn


class Delivering:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def queue(self, turn: Turn, error: str) -> list[DeliveryQueued]:
        """One for each channel that waits for this turn's answer. To be appended before its end, so
        that a log cut between them ends the turn again, with the same deliveries."""
        if not turn.deliver:
            return []
        journal = self._desk.journal
        text = f"This could not be answered: {error}" if error else ""
        if not error and journal.state.response > turn.seq:
            reply = journal.record(journal.state.response).event
            text = reply.text if isinstance(reply, ModelResponded) else ""
        return [
            DeliveryQueued(
                delivery=DeliveryId(f"{turn.turn}.{to}"),
                to=to,
                text=text,
                label=journal.state.label,
            )
            for to in dict.fromkeys(turn.deliver)
        ]

    async def send(self, delivery: Delivery) -> None:
        desk, resumed = self._desk, delivery.started
        attempt = delivery.attempts if resumed else delivery.attempts + 1
        if not resumed:
            desk.journal.append(DeliveryStarted(delivery=delivery.delivery, attempt=attempt))
            await desk.journal.commit()
        session, outbox = desk.journal.state.session, desk.outbox
        if outbox is None:
            sent = Sent(outcome="failed", error="there is no outbox")
        else:
            sent = await outbox.send(session, delivery, resumed=resumed)
        retry_at = retry.redelivery(
            sent, attempt=attempt, jitter=desk.ids.jitter(), now=desk.clock.now()
        )
        gave_up = sent.outcome == "retry" and retry_at is None
        desk.journal.append(
            DeliveryEnded(
                delivery=delivery.delivery,
                attempt=attempt,
                outcome="failed" if gave_up else sent.outcome,
                receipt=sent.receipt,
                error=sent.error,
                retry_at=retry_at,
            )
        )
        await desk.journal.commit()
        if outbox is not None:
            await outbox.ended(session, delivery, arrived=sent.outcome == "delivered")
