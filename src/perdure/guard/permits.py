"""Permits: proof that the gate let one call pass, good for one run of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from perdure.kernel.events import ApprovalId, ToolCall, ToolStarted
from perdure.kernel.labels import Label

from .flow import Finding
from .policy import Policy
from .query import Query
from .rules import Rule
from .seams import Prepared

if TYPE_CHECKING:
    from .gate import PolicyGate

_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A call and all that was found out about it."""

    prepared: Prepared
    query: Query
    grants: tuple[Rule, ...]
    label: Label
    endorsed: tuple[str, ...]
    finding: Finding


@dataclass(kw_only=True, slots=True)
class Permit:
    """Made by the gate alone, good for one run of one call with these very arguments."""

    call: ToolCall
    started: ToolStarted
    parallel: bool
    marks: bool
    gate: PolicyGate
    prepared: Prepared
    arguments: bytes
    case: Case | None = None
    """None for what had begun before and is brought to its end."""
    judged: Policy | None = None
    """The policy it was judged by."""
    approval: ApprovalId | None = None
    approved: str = ""
    """Digest of what the owner approved; empty where no approval was needed."""
    spent: bool = False

    def spend(self, gate: PolicyGate) -> str:
        """Why it is good for nothing here; empty: it was good, this once."""
        if self.gate is not gate or self.spent:
            return "There is no permit for this call."
        if _encode(self.call.arguments) != self.arguments:
            return "The arguments changed after the call was permitted."
        self.spent = True
        return ""


def permit(
    gate: PolicyGate,
    prepared: Prepared,
    key: str,
    why: str,
    *,
    case: Case | None = None,
    judged: Policy | None = None,
    approval: ApprovalId | None = None,
    approved: str = "",
) -> Permit:
    call = prepared.call
    return Permit(
        call=call,
        started=ToolStarted(
            call=call.id, tool=call.name, effects=prepared.effects, key=key, permit=why
        ),
        parallel=prepared.parallel,
        marks=prepared.marks,
        gate=gate,
        prepared=prepared,
        arguments=_encode(call.arguments),
        case=case,
        judged=judged,
        approval=approval,
        approved=approved,
    )
