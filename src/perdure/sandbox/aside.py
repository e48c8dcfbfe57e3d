"""Blocking work beside the event loop, also when the system has no thread left for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a thread, or here: a command that is over or to be stopped must not be lost for want of one."""
    begun = False

    def begin() -> T:
        nonlocal begun
        begun = True
        return work(*args, **kwargs)

    try:
        return await asyncio.to_thread(begin)
    except RuntimeError:
        if begun:
            raise
        return begin()


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """Finish this even when cancelled meanwhile; only then raise CancelledError."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
            cancelled = True
        except BaseException:
            break
    if cancelled:
        task.exception()
        raise asyncio.CancelledError
    return task.result()
