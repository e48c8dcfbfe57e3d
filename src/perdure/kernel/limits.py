"""What one turn may use. At a limit the tools are withdrawn and the model is asked to sum up."""

from __future__ import annotations

from datetime import datetime

from .events import LimitReached, LimitScope
from .state import Turn


def reached(turn: Turn, now: datetime) -> LimitReached | None:
    """The first limit this turn has used up, if any. Time spent waiting for the owner is free."""
    limits = turn.limits
    if limits.rounds is not None and turn.rounds >= limits.rounds:
        return LimitReached(limit="rounds", used=turn.rounds, allowed=limits.rounds)
    if limits.calls is not None and turn.calls >= limits.calls:
        return LimitReached(limit="calls", used=turn.calls, allowed=limits.calls)
    tokens = turn.usage.input + turn.usage.output
    if limits.tokens is not None and tokens >= limits.tokens:
        return LimitReached(limit="tokens", used=tokens, allowed=limits.tokens)
    if limits.cost_usd is not None and turn.cost_usd >= limits.cost_usd:
        return LimitReached(limit="cost_usd", used=turn.cost_usd, allowed=limits.cost_usd)
    if limits.seconds is not None:
        seconds = (now - turn.began).total_seconds() - turn.waited
        if seconds >= limits.seconds:
            return LimitReached(limit="seconds", used=seconds, allowed=limits.seconds)
    return None


def sum_up(limit: LimitReached) -> str:
    """What the model is told when its tools are withdrawn."""
    return (
        f"{told(limit)} No more tools can be called. Tell the user what was done, what is left, and how "
        "to go on."
    )


_UNITS: dict[str, str] = {
    "rounds": "model calls",
    "calls": "tool calls",
    "turns": "turns",
    "tokens": "tokens",
    "cost_usd": "US dollars",
    "seconds": "s",
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
    unit = "seconds" if turn.limit == "seconds" else _UNITS.get(turn.limit, turn.limit)
    return f"Not run. {_WHOSE[turn.limit_scope]} has used up its budget of {unit}."


def told(limit: LimitReached) -> str:
    """In a sentence, for the model and the owner."""
    unit = _UNITS[limit.limit]
    text = f"{_WHOSE[limit.scope]} has used {limit.used:.6g} of {limit.allowed:g} {unit}"
    if limit.reserved:
        return f"{text}, and the next call could take {limit.reserved:.6g}."
    return f"{text}."
