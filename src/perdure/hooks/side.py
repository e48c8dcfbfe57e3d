"""Runs Python hooks beside the runtime: in a thread with an event loop of its own, so that a hook that
blocks (a `time.sleep`, a slow `requests.get`) holds up nothing but itself."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

from .declare import Answer, Handler, HookEvent

GRACE = 0.2
"""Seconds that the loop gets to show that it is not blocked, after a hook ran out of time."""


class HookFailed(Exception):
    """A hook raised, took too long, or answered nonsense; the message says which."""


class Side:
    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def call(self, handler: Handler, event: HookEvent[Any], timeout: float) -> Answer | None:
        """Raises HookFailed. Cancelling cancels the hook and does not wait for it."""
        loop = self._running()
        running = asyncio.run_coroutine_threadsafe(_guarded(handler, event), loop)
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                result = await asyncio.wrap_future(running)
        except TimeoutError:
            await self._check(loop)
            raise HookFailed(f"took longer than {timeout:g} seconds") from None
        if isinstance(result, BaseException):
            raise HookFailed(f"{type(result).__name__}: {result}".rstrip(": "))
        if result is not None and not isinstance(result, Answer):
            kind = type(result).__name__
            raise HookFailed(f"answered {kind}, not block(…), rewrite(…), again(…) or None")
        return result

    def close(self) -> None:
        """Ends the thread, without waiting for a hook that hangs."""
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(GRACE)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # A daemon: what hangs in it must not keep the process from leaving.
            self._thread = threading.Thread(
                target=_run, args=(self._loop,), name="perdure-hooks", daemon=True
            )
            self._thread.start()
        return self._loop

    async def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        """Leave a loop that a hook blocks to itself; the next hook gets a new one."""
        alive = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop)
        try:
            async with asyncio.timeout(GRACE):
                await asyncio.wrap_future(alive)
        except TimeoutError:
            if self._loop is loop:
                loop.call_soon_threadsafe(loop.stop)  # when it ever gets to it
                self._loop = self._thread = None


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def _guarded(handler: Handler, event: HookEvent[Any]) -> object:
    """What the hook returned or raised. Nothing it raises, a SystemExit or a CancelledError of its
    own making included, may end the loop or look like a cancellation of the turn."""
    try:
        answer = handler(event)
        return await answer if inspect.isawaitable(answer) else answer
    except BaseException as error:
        return error
