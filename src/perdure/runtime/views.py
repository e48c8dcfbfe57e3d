"""What callers of the runtime see: plain records, the same for terminal, API and chat."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from perdure.kernel.events import (
    ApprovalRequested,
    Json,
    MessageId,
    SessionId,
    TurnEndReason,
    TurnId,
    Usage,
)
from perdure.kernel.labels import Label

SessionStatus = Literal["idle", "running", "waiting", "failed", "held"]
"""`waiting`: for the owner's approval. `failed`: the last turn failed, or the session cannot be opened.
`held`: the process died twice while resuming it, or it comes from a backup in the middle of its work; a
message or `resume` lets it go on."""


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    id: SessionId
    agent: str
    title: str
    workdir: str
    model: str
    created: datetime
    updated: datetime
    seq: int
    status: SessionStatus
    messages: int = 0
    turns: int = 0
    cost_usd: float = 0.0
    unpriced: bool = False
    """Some call had no known price; `cost_usd` is then a lower bound."""
    usage: Usage = Usage()
    parent: SessionId | None = None
    error: str = ""
    label: Label | None = None
    """Of its context. None in listings."""
    sandbox: str = ""
    """What its commands can do that a sandbox would keep them from; empty: nothing."""
    mode: str = ""
    """Of its agent's policy, or `broken`. Empty in listings."""
    wrong: str = ""
    """With the files of its agent or workspace: perdure.yaml, agent.yaml, policy.yaml, trust.yaml. Empty
    in listings."""


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A message is on disk."""

    message: MessageId
    seq: int
    duplicate: bool = False
    held: str = ""
    """Why it waits: the session is held, and this message does not let it go on."""


class TurnOutcome(msgspec.Struct, frozen=True, kw_only=True):
    message: MessageId
    turn: TurnId
    reason: TurnEndReason
    text: str
    """The agent's last answer."""
    error: str = ""
    cost_usd: float = 0.0


class OpenApproval(msgspec.Struct, frozen=True, kw_only=True):
    session: SessionId
    at: datetime
    request: ApprovalRequested


class OpenDoubt(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was under way at a crash and may or may not have happened."""

    session: SessionId
    key: str
    tool: str
    arguments: dict[str, Json]
    at: datetime


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str = ""
    model: str = ""
    error: str = ""
    """Why its files cannot be used now; the last good version stays in use."""
    mode: str = ""
    """Of its policy, or `broken`."""


class ReloadReport(msgspec.Struct, frozen=True, kw_only=True):
    agents: tuple[str, ...]
    errors: tuple[str, ...] = ()


class Used(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Spent or reserved so far, and the caps; a cap that is absent is not set."""

    period: Literal["day", "month"]
    cost_usd: float = 0.0
    tokens: int = 0
    calls: int = 0
    turns: int = 0
    seconds: float = 0.0
    caps: dict[str, float] = {}


class AgentSpending(msgspec.Struct, frozen=True, kw_only=True):
    agent: str
    used: tuple[Used, ...]
    error: str = ""
    """Why its caps cannot be read."""


class SpendingView(msgspec.Struct, frozen=True, kw_only=True):
    """By UTC day and month."""

    day: str
    month: str
    workspace: tuple[Used, ...]
    """All agents together."""
    agents: tuple[AgentSpending, ...]
    unsettled: int
    """Reservations that a crash left open; they count in full."""


class RuntimeStatus(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    workspace: str
    pid: int
    started: datetime
    sessions_open: int
    sessions_running: int
    memory_mb: float
    dangerous: tuple[str, ...] = ()
    """Agents whose policy has mode `dangerous`: whatever no rule denies runs without asking."""
    uncontained: tuple[str, ...] = ()
    """Agents whose commands run without a sandbox, or with an open network: `name: what`."""
    unread: tuple[str, ...] = ()
    """Stores of secrets that cannot be opened, and why: what they hold is not looked for in what leaves."""
    trouble: str = ""
    """Why perdure.yaml as it is now does not count; what it said before stays in use."""
    restart: tuple[str, ...] = ()
    """Keys of perdure.yaml that changed and count from the next start on."""
