"""What one turn may use. At a limit the tools are withdrawn and the model is asked to sum up."""

from __future__ import annotations

from datetime import datetime

from .events import LimitReached
from .state import Turn


def reached(turn: Turn, now: datetime) -> LimitReached | None:
    """The first limit this turn has used up, if any. Time spent waiting for the owner is free."""
    limits = turn.limits
    if limits.rounds is not None and turn.rounds >= limits.rounds:
        return LimitReached(limit="rounds", used=turn.rounds, allowed=limits.rounds)
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
    unit = {"rounds": "model calls", "tokens": "tokens", "cost_usd": "US dollars", "seconds": "s"}
    return (
        f"This turn has used its limit of {limit.allowed:g} {unit[limit.limit]}; no more tools can be "
        "called. Tell the user what was done, what is left, and how to go on."
    )
