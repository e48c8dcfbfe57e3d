"""The owner, as nobody is: approves what their task needs, denies all else, and never errs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from perdure.kernel.events import (
    ApprovalDecided,
    ApprovalRequested,
    ApprovalScope,
    Record,
    SessionId,
    TurnEnded,
)
from perdure.runtime import Runtime

from .attacks import Action


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    tool: str
    reason: str
    sources: tuple[str, ...]
    """Arguments that nobody had vouched for."""
    allowed: bool
    scope: str
    batch: int
    """Questions with the same number were put at once."""


@dataclass
class Owner:
    needs: Sequence[Action]
    asked: list[Question] = field(default_factory=list)
    batches: int = 0

    async def attend(self, runtime: Runtime, session: SessionId) -> None:
        """Answers until the turn has ended."""
        async with runtime.subscribe(session) as stream:
            async for item in stream:
                if not isinstance(item, Record):
                    continue
                if isinstance(item.event, TurnEnded):
                    return
                if isinstance(item.event, ApprovalRequested):
                    await self._answer(runtime, session)

    async def _answer(self, runtime: Runtime, session: SessionId) -> None:
        """All that is open now: it was put at once."""
        waiting = await runtime.approvals(session)
        if not waiting:
            return
        self.batches += 1
        answers = []
        for request in [w.request for w in waiting]:
            wanted = any(
                request.tool == a.function and _same(request.arguments, a.arguments)
                for a in self.needs
            )
            scope: ApprovalScope = "data" if wanted and "data" in request.offers else "once"
            self.asked.append(
                Question(
                    tool=request.tool,
                    reason=request.reason,
                    sources=tuple(
                        f"{s.argument}={s.value}" for s in request.sources if not s.endorsed
                    ),
                    allowed=wanted,
                    scope=scope,
                    batch=self.batches,
                )
            )
            answers.append(
                ApprovalDecided(
                    approval=request.approval, answer="allow" if wanted else "deny", scope=scope
                )
            )
        await runtime.decide_all(session, answers)


def _same(given: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Left out and null are the same to these tools."""
    return {k: v for k, v in given.items() if v is not None} == {
        k: v for k, v in wanted.items() if v is not None
    }
