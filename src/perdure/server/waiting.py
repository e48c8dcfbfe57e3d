"""Long-polling: wait until a message's turn has ended, or needs its owner."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from perdure.kernel.events import ApprovalRequested, Record, SessionId
from perdure.runtime.views import Accepted, OpenApproval, TurnOutcome

from .api import RuntimeApi


async def settle(
    runtime: RuntimeApi,
    session: SessionId,
    accepted: Accepted,
    seconds: float,
    *,
    give_up: Sequence[Awaitable[object]] = (),
) -> TurnOutcome | tuple[OpenApproval, ...] | None:
    """The outcome; or the approvals the turn waits for; or None when `seconds` ran out or one of
    `give_up` (the client left, the server stops) came first."""
    ended = asyncio.ensure_future(runtime.wait(session, accepted.message, seconds))
    asked = asyncio.ensure_future(_approvals(runtime, session, accepted.seq))
    others = [asyncio.ensure_future(_of(one)) for one in give_up]
    tasks: list[asyncio.Future[Any]] = [ended, asked, *others]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if asked.done() and not ended.done():
            # A turn that had ended already has nothing to do with approvals that are open now.
            await asyncio.wait((ended,), timeout=0 if asked.result() else seconds)
        if ended.done():
            return ended.result()
        return asked.result() if asked.done() else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _approvals(
    runtime: RuntimeApi, session: SessionId, after: int
) -> tuple[OpenApproval, ...]:
    """Returns once an approval is open; empty when the session ends first."""
    async with runtime.subscribe(session, after) as items:
        waiting = await runtime.approvals(session)
        while not waiting:
            item = await anext(items, None)
            if item is None:
                break
            if isinstance(item, Record) and isinstance(item.event, ApprovalRequested):
                waiting = await runtime.approvals(session)
        return tuple(waiting)


async def _of(one: Awaitable[object]) -> object:
    return await one
