"""Threads for tools that may block: what one of them does cannot stall another session.

Each thread has an event loop of its own and runs one call at a time. A call that is cancelled or out of
time is over for its session within `GRACE`, whether or not its code takes notice. Code that goes on is
interrupted as soon as it runs Python again; a thread that hangs in a call to the system is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from perdure.kernel.errors import Conflict
from perdure.kernel.events import AnyDelta

T = TypeVar("T")
Emit = Callable[[AnyDelta], None]

WORKERS = 16
"""Calls that run at once; others wait for their turn."""
MOST_HUNG = 32
"""Threads that did not end when they should. With so many, nothing more is started."""
GRACE = 0.8
"""Seconds that a cancelled call gets to clean up before its session goes on without it."""
CLEANING = 5.0
"""Seconds after which a call that its session has left is interrupted."""
IDLE = 10.0
"""Seconds that a thread waits for its next call."""
PENDING = 256
"""Deltas on their way to the session, beyond which a tool that shows more has to wait."""
SWITCH = 0.001
"""Seconds that a thread which computes keeps the others waiting; Python's 5 ms would be felt."""
AT_ONCE = 32
"""Deltas handed over in one step of the session's loop."""


class Interrupted(BaseException):
    """Raised into the code of a call that nobody waits for any more."""


class Isolation:
    """The threads of one agent's tools. Used from one event loop; starts nothing before the first call."""

    def __init__(self, workers: int = WORKERS, most_hung: int = MOST_HUNG) -> None:
        self._turns = asyncio.Semaphore(workers)
        self._most_hung = most_hung
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        """Guards `_idle`, which workers leave by themselves."""
        self._hung: dict[_Worker, str] = {}

    async def run(self, what: str, work: Callable[[Emit], Coroutine[Any, Any, T]], emit: Emit) -> T:
        """The result of `work(emit)`, run in a thread. `what` names it to people. Raises what it
        raises, Conflict when too many others hang, OSError or RuntimeError when there is no thread."""
        if len(self._hung) >= self._most_hung:
            names = ", ".join(sorted(set(self._hung.values())))
            raise Conflict(
                f"{len(self._hung)} calls of tools hang and cannot be ended ({names})",
                hint="Restart Perdure, and repair those tools.",
            )
        async with self._turns:
            worker = self._take()
            call = _Call(worker, work, emit)
            worker.begin(call)
            try:
                await asyncio.wait([call.over])
            except asyncio.CancelledError:
                call.cancel()
                with contextlib.suppress(asyncio.CancelledError):  # asked twice: do not wait
                    await asyncio.wait([call.over], timeout=GRACE)
                if not call.over.done():
                    self._leave(worker, call, what)
                else:
                    call.over.exception()
                    self._give_back(worker)
                raise
            self._give_back(worker)
        return call.over.result()

    def _take(self) -> _Worker:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return _Worker(self._retire)

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._idle.append(worker)
        worker.rest()

    def _retire(self, worker: _Worker) -> bool:
        """In the worker's thread: it has been idle. May it end?"""
        with self._lock:
            if worker not in self._idle:
                return False
            self._idle.remove(worker)
        return True

    def _leave(self, worker: _Worker, call: _Call[T], what: str) -> None:
        self._hung[worker] = what

        def ended(over: asyncio.Future[T]) -> None:
            timer.cancel()
            over.exception()
            self._hung.pop(worker, None)
            worker.end()

        # No timer of the loop: code that computes must be ended also when the loop has been closed.
        timer = threading.Timer(CLEANING, worker.interrupt)
        timer.daemon = True
        with contextlib.suppress(RuntimeError):  # no thread to be had
            timer.start()
        call.over.add_done_callback(ended)


class _Call(Generic[T]):
    def __init__(
        self, worker: _Worker, work: Callable[[Emit], Coroutine[Any, Any, T]], emit: Emit
    ) -> None:
        self._worker, self._work, self._emit = worker, work, emit
        self._home = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[T] | None = None
        self._cancelled = False
        self._deltas: deque[AnyDelta] = deque()
        self._room = threading.Semaphore(PENDING)
        self._flushing = False
        self.over: asyncio.Future[T] = self._home.create_future()

    # In the worker's thread

    def start(self) -> None:
        if self._cancelled:
            self._deliver(asyncio.CancelledError())
            return
        loop = self._worker.loop
        self._task = loop.create_task(self._whole(), context=self._context)
        self._task.add_done_callback(self._done)

    async def _whole(self) -> T:
        try:
            return await self._work(self._show)
        except Interrupted:
            raise TimeoutError("interrupted") from None
        except (SystemExit, KeyboardInterrupt) as error:
            raise RuntimeError(f"it raised {type(error).__name__}") from error

    def _done(self, task: asyncio.Task[T]) -> None:
        self._worker.clear(task)
        if task.cancelled():
            self._deliver(RuntimeError("it was cancelled from within"))
        elif (error := task.exception()) is not None:
            self._deliver(error)
        else:
            self._deliver(None, task)

    def _show(self, delta: AnyDelta) -> None:
        if not self._room.acquire(timeout=GRACE):
            return  # nobody takes them
        self._deltas.append(delta)
        if not self._flushing:
            self._flushing = True
            self._call_home(self._flush)

    def _deliver(self, error: BaseException | None, task: asyncio.Task[T] | None = None) -> None:
        def deliver() -> None:
            while self._deltas:
                self._flush_some()
            if self.over.done():
                return
            if error is not None:
                self.over.set_exception(error)
            elif task is not None:
                self.over.set_result(task.result())

        self._call_home(deliver)

    def _call_home(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the session's loop has been closed
            self._home.call_soon_threadsafe(work)

    # In the session's

    def cancel(self) -> None:
        def cancel() -> None:
            self._cancelled = True
            if self._task is not None:
                self._task.cancel()

        self._worker.call(cancel)

    def _flush(self) -> None:
        self._flushing = False  # before the last look: what comes after it calls again
        self._flush_some()
        if self._deltas:
            self._flushing = True
            self._home.call_soon(self._flush)

    def _flush_some(self) -> None:
        for _ in range(AT_ONCE):
            try:
                delta = self._deltas.popleft()
            except IndexError:
                return
            self._room.release()
            self._emit(delta)


class _Worker(threading.Thread):
    def __init__(self, retire: Callable[[_Worker], bool]) -> None:
        """Raises OSError or RuntimeError when there are no means for another thread."""
        # A thread that hangs must not keep the process from ending.
        super().__init__(name="tool", daemon=True)
        self.loop = asyncio.new_event_loop()
        self._retire = retire
        self._timer: asyncio.TimerHandle | None = None
        sys.setswitchinterval(min(SWITCH, sys.getswitchinterval()))
        try:
            self.start()
        except RuntimeError:
            self.loop.close()
            raise

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        except Interrupted:
            pass
        finally:
            self.loop.close()

    def call(self, work: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(work)

    def begin(self, call: _Call[Any]) -> None:
        def begin() -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            call.start()

        self.call(begin)

    def rest(self) -> None:
        def rest() -> None:
            self._timer = self.loop.call_later(IDLE, self._idle)

        self.call(rest)

    def _idle(self) -> None:
        if self._retire(self):
            self.loop.stop()

    def clear(self, done: asyncio.Task[Any]) -> None:
        """End what the call left running in its loop: the next call is another tool's."""
        for task in asyncio.all_tasks(self.loop):
            if task is not done:
                task.cancel()

    def end(self) -> None:
        self.call(self.loop.stop)

    def interrupt(self) -> None:
        if self.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self.ident), ctypes.py_object(Interrupted)
            )
