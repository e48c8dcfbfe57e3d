"""What a call paid models beyond what the runtime asked them for it, which settles that itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

from perdure.kernel.events import ToolResult, Usage

from .seams import Answer, Reader


class Metered:
    """Implements Reader for one call, and adds up what it costs."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.usage, self.cost_usd = Usage(), 0.0

    async def __call__(
        self, instructions: str, content: str, rejected: Sequence[tuple[str, str]] = (), /
    ) -> Answer:
        answer = await self._reader(instructions, content, rejected)
        self.usage = self.usage.plus(answer.usage)
        self.cost_usd += answer.cost_usd or 0.0
        return answer


def beyond(result: ToolResult, metered: Metered | None) -> tuple[Usage, float | None] | None:
    """Usage and cost (None: not known) that only the tool knows of; None: there is none."""
    said, cost = result.usage, result.cost_usd
    if said == Usage() and not cost:
        return None
    known, paid = (metered.usage, metered.cost_usd) if metered else (Usage(), 0.0)
    usage = Usage(input=max(0, said.input - known.input), output=max(0, said.output - known.output))
    if cost is not None:  # an owner's tool may say anything
        cost = max(0.0, cost - paid) if math.isfinite(cost) else None
    return (usage, cost) if usage != Usage() or cost else None
