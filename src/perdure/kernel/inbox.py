"""How anything from outside reaches a session: it appends an event and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from .errors import Conflict, NotFound
from .events import (
    ApprovalDecided,
    CompactionRequested,
    DeliveryId,
    DeliveryRetried,
    DoubtSettled,
    MessageId,
    MessageMode,
    MessageReceived,
    Part,
    SessionConfigured,
    SessionRenamed,
    StopRequested,
    Text,
)
from .journal import Journal
from .labels import SELF, Label
from .ports import Ids


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    message: MessageId
    seq: int
    duplicate: bool = False


class Inbox:
    """Every method but `stop` returns only once what it appended is on disk (D1), or raises
    StorageError."""

    def __init__(self, journal: Journal, ids: Ids) -> None:
        self._journal, self._ids = journal, ids

    async def submit(
        self,
        parts: tuple[Part, ...],
        *,
        mode: MessageMode = "steer",
        source: str = "terminal",
        sender: str = "",
        key: str = "",
        deliver: str = "",
        label: Label | None = None,
    ) -> Receipt:
        """Accept a message. A key seen before returns the first one's receipt (D7)."""
        journal = self._journal
        known = journal.state.keys.get(key) if key else None
        if known is not None:
            await journal.commit()  # the first one may still be on its way to the disk
            return Receipt(message=known[0], seq=known[1], duplicate=True)
        message = MessageId(self._ids.new("m"))
        seq = journal.append(
            MessageReceived(
                message=message,
                parts=parts,
                mode=mode,
                source=source,
                sender=sender,
                key=key,
                deliver=deliver,
                label=label,
            )
        )
        await journal.commit()
        return Receipt(message=message, seq=seq)

    async def decide(self, answers: Sequence[ApprovalDecided]) -> None:
        """All of these count, or none. Raises NotFound for an unknown approval or one that is no longer
        open, Conflict for one that expired or a scope that was not offered. Of two answers the first
        counts."""
        if len({a.approval for a in answers}) < len(answers):
            raise Conflict("one approval is answered twice")
        for given in answers:
            request = self._journal.state.approvals.get(given.approval)
            if request is None:
                raise NotFound(
                    f"approval {given.approval} is not open",
                    hint="It was answered or has expired, or its turn has ended.",
                )
            if request.expired(self._journal.now()):
                raise Conflict(
                    f"approval {given.approval} expired at {request.expires:%Y-%m-%d %H:%M} UTC",
                    hint="That counts as denied; the agent may ask again.",
                )
            if given.answer == "allow" and given.scope not in request.offers:
                raise Conflict(
                    f"approval {given.approval} cannot be given for {given.scope!r}",
                    hint=f"Offered: {', '.join(request.offers)}.",
                )
        self._journal.append(*answers)
        await self._journal.commit()

    async def settle(self, key: str, answer: Literal["happened", "again"], *, by: str) -> Receipt:
        """Say what became of a call in doubt; the model is told as by a message. Raises NotFound."""
        doubt = self._journal.state.doubts.get(key)
        if doubt is None:
            raise NotFound(f"no call {key!r} is in doubt", hint="It was settled, or never was.")
        self._journal.append(DoubtSettled(key=key, answer=answer, by=by))
        said = {
            "happened": "It did happen. Do not do it again.",
            "again": "It did not happen. Do it again.",
        }
        # Not its arguments: the model wrote those, and this is not to be taken for the owner's words (S3).
        begun = f"{doubt.at:%Y-%m-%d %H:%M:%S} UTC"
        text = f"About the {doubt.tool} call that was in doubt, begun {begun}: {said[answer]}"
        return await self.submit(
            (Text(text=text),), source="settled", sender=by, key=f"doubt:{key}", label=SELF
        )

    async def redeliver(self, delivery: DeliveryId, *, by: str) -> None:
        """Send a dead letter again. Raises NotFound, or Conflict when it is not dead."""
        found = self._journal.state.deliveries.get(delivery)
        if found is None:
            raise NotFound(f"there is no delivery {delivery}", hint="It arrived, or never was.")
        if not found.dead:
            raise Conflict(f"delivery {delivery} is on its way already")
        self._journal.append(DeliveryRetried(delivery=delivery, by=by))
        await self._journal.commit()

    async def stop(self, *, by: str, reason: str) -> bool:
        """False when no turn was running or about to begin. Not yet on disk, which may be slow: what
        runs is broken off first, then the caller commits."""
        state = self._journal.state
        if state.turn is None and not state.inbox:
            return False
        if not (state.turn.stop if state.turn else state.stop_due):
            self._journal.append(StopRequested(by=by, reason=reason))
        return True

    async def compact(self, *, by: str, focus: str) -> None:
        self._journal.append(CompactionRequested(by=by, focus=focus))
        await self._journal.commit()

    async def configure(self, *, model: str | None, title: str | None) -> None:
        if model is not None:
            self._journal.append(SessionConfigured(model=model))
        if title is not None:
            self._journal.append(SessionRenamed(title=title))
        await self._journal.commit()
