"""Egress as it is handed to a session, and to one call of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from .message import Caller, Incoming, Request

if TYPE_CHECKING:
    from .egress import Egress


class Door(msgspec.Struct, frozen=True):
    """Egress for one session, and for one call of it: who asks is not for the asking to say."""

    egress: Egress
    caller: Caller

    def by(self, tool: str, judged: Sequence[str] = ()) -> Door:
        """For one call. `judged`: addresses and hosts among its arguments, which the gate has seen."""
        return Door(self.egress, replace(self.caller, tool=tool, judged=tuple(judged)))

    def foresee(self, method: str, url: str) -> None:
        """See `Egress.foresee`."""
        self.egress.foresee(method, url, self.caller)

    async def request(self, outgoing: Request) -> Incoming:
        return await self.egress.request(outgoing, self.caller)
