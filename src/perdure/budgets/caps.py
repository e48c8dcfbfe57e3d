"""What may be used, and what was."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from perdure.kernel.events import LimitKind


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """None: no cap."""

    cost_usd: float | None = None
    tokens: int | None = None
    calls: int | None = None
    """Tool calls."""
    turns: int | None = None
    seconds: float | None = None
    """Of work; waiting for the owner is not counted."""

    def __iter__(self) -> Iterator[tuple[LimitKind, float]]:
        """Those that are set."""
        every: tuple[tuple[LimitKind, float | None], ...] = (
            ("cost_usd", self.cost_usd),
            ("tokens", self.tokens),
            ("calls", self.calls),
            ("turns", self.turns),
            ("seconds", self.seconds),
        )
        return ((kind, cap) for kind, cap in every if cap is not None)

    def __bool__(self) -> bool:
        found = (self.cost_usd, self.tokens, self.calls, self.turns, self.seconds)
        return found != (None, None, None, None, None)


class BudgetCaps(msgspec.Struct, frozen=True, kw_only=True):
    """All caps that hold for a session of one agent, beyond its turns' own."""

    session: Caps = Caps()
    day: Caps = Caps()
    """Of the agent, by UTC day."""
    month: Caps = Caps()
    unattended: Caps = Caps()
    """Of the agent and day, for turns that no person began."""
    workspace_day: Caps = Caps()
    """Of all agents together."""
    workspace_month: Caps = Caps()

    @property
    def limited(self) -> bool:
        """Something holds for every call."""
        return any((self.session, self.day, self.month, self.workspace_day, self.workspace_month))
