"""What differs between Claude models, read from a model's name.

Names run `claude-<family>-<major>[-<minor>]`, older ones `claude-<major>[-<minor>]-<family>`. A name
that cannot be read (a gateway's own) is taken for a current model.
"""

from __future__ import annotations

import re

from perdure.kernel.events import Json

from .spec import Effort

_NEW = re.compile(r"claude-(?P<family>[a-z]+)-(?P<major>\d{1,2})(?:[-.](?P<minor>\d{1,2}))?(?!\d)")
_OLD = re.compile(r"claude-(?P<major>\d)(?:[-.](?P<minor>\d))?-(?P<family>[a-z]+)")

_BUDGETS: dict[Effort, int] = {"low": 2_048, "medium": 8_192, "high": 16_384}
"""Tokens of thinking for models that take a budget."""


class Claude:
    """The rules of one model."""

    def __init__(self, name: str) -> None:
        found = _NEW.search(name) or _OLD.search(name)
        self.family = found["family"] if found else ""
        self.version = (int(found["major"]), int(found["minor"] or 0)) if found else (99, 0)

    @property
    def adaptive(self) -> bool:
        """Decides itself how much to think; the older ones take a budget of tokens."""
        return self.version >= (4, 6)

    @property
    def thinks(self) -> bool:
        return self.version >= (3, 7)

    @property
    def samples(self) -> bool:
        """Takes a temperature; current models refuse one."""
        return self.version < (4, 7)

    @property
    def binds(self) -> bool:
        """Refuses a thinking block when what came before it has changed."""
        since = {"": (100, 0), "fable": (5, 1), "mythos": (5, 2)}.get(self.family, (5, 5))
        return self.version >= since

    @property
    def wants_interleaved_beta(self) -> bool:
        """Thinks between tool calls only when asked by header."""
        return (4, 0) <= self.version < (4, 6)

    @property
    def max_tokens(self) -> int:
        """Output tokens where the owner set no limit. Models before 4.5 refuse a request whose input
        and limit together pass their window, and so get less."""
        if self.version >= (4, 5):
            return 32_000
        return 8_192 if self.version >= (3, 5) else 4_096

    def effort(self, effort: Effort, max_tokens: int) -> dict[str, Json]:
        """Fields of the request that ask for this much thinking."""
        if not effort or not self.thinks:
            return {}
        if self.adaptive:
            return {
                "thinking": {"type": "adaptive", "display": "summarized"},
                "output_config": {"effort": effort},
            }
        budget = min(_BUDGETS[effort], max_tokens - 1_024)
        if budget < 1_024:
            return {}
        return {"thinking": {"type": "enabled", "budget_tokens": budget}}
