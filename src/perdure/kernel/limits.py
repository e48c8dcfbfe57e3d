"""What one turn may use. At a limit the tools are withdrawn and the model is asked to sum up."""

from __future__ import annotations

from datetime import datetime

from .events import LimitKind, LimitReached, LimitScope
from .state import Turn


def reached(turn: Turn, now: datetime) -> LimitReached | None:
    """The first limit this turn has used up, if any. Time spent waiting for the owner is free."""
    caps: tuple[tuple[LimitKind, float | None, float], ...] = (
        ("rounds", turn.limits.rounds, turn.rounds),
        ("calls", turn.limits.calls, turn.calls),
        ("tokens", turn.limits.tokens, turn.usage.input + turn.usage.output),
        ("cost_usd", turn.limits.cost_usd, turn.cost_usd),
        ("seconds", turn.limits.seconds, (now - turn.began).total_seconds() - turn.waited),
    )
    for kind, most, used in caps:
        if most is not None and used >= most:
            return LimitReached(limit=kind, used=used, allowed=most)
    return None


def sum_up(limit: LimitReached) -> str:
    """What the model is told when its tools are withdrawn."""
    return (
        f"{told(limit)} No more tools can be called. Say what was done, what is left, how to go on."
    )


_UNITS: dict[str, str] = {
    "rounds": "model calls",
    "calls": "tool calls",
    "turns": "turns",
    "tokens": "tokens",
    "cost_usd": "US dollars",
    "seconds": "seconds",
}
_WHOSE: dict[LimitScope, str] = {
    "turn": "This turn",
    "session": "This session",
    "unattended": "What runs unattended today",
    "day": "This agent today",
    "month": "This agent this month",
    "workspace": "The workspace",
}


def used_up(turn: Turn) -> str:
    """Why a call that was still open is not run."""
    return f"Not run. {_WHOSE[turn.limit_scope]} has used up its budget of {_UNITS[turn.limit]}."


def told(limit: LimitReached) -> str:
    """In a sentence, for the model and the owner."""
    used = f"{limit.used:.6g} of {limit.allowed:g} {_UNITS[limit.limit]}"
    return f"{_WHOSE[limit.scope]} has used {used}. {limit.again}".rstrip()
