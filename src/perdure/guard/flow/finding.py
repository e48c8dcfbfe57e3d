"""What weighing a call came to."""

from __future__ import annotations

from typing import Literal

import msgspec

from perdure.kernel.events import Source
from perdure.kernel.labels import Label

FlowVerdict = Literal["free", "ask", "deny"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    verdict: FlowVerdict
    """`free`: where data comes from and goes to is no reason to ask; the policy may still be one."""
    reason: str = ""
    """A sentence without a full stop, naming the source; empty when free."""
    destination: str = ""
    """Where data would go, in plain words; empty: nowhere outside."""
    sources: tuple[Source, ...] = ()
    """Where the critical arguments came from; only when it is not free."""
    endorses: tuple[str, ...] = ()
    """Values to vouch for: `weigh` with these among `endorsed` asks no more. Empty when vouching for
    values would not help, so that the scope `data` must not be offered."""
    label: Label | None = None
    """Of the data that the call could carry out."""


FREE = Finding(verdict="free")
