"""Learning of the end of a supervisor, which need not be our child."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from pathlib import Path


class Ending:
    """Watches one process: by its descriptor where there is one to be had, else by its folder's lock."""

    def __init__(self, pid: int, folder: Path) -> None:
        self._pid, self._folder = pid, folder
        self._fd = -1
        self._over = False
        self._waiter: asyncio.Future[None] | None = None

    def __enter__(self) -> Ending:
        if hasattr(os, "pidfd_open"):
            try:
                self._fd = os.pidfd_open(self._pid)
            except ProcessLookupError:
                self._over = True
            except OSError:
                return self
            else:
                asyncio.get_running_loop().add_reader(self._fd, self._ended)
        return self

    @property
    def prompt(self) -> bool:
        """`within` returns when it ends, and not only after its time."""
        return self._over or self._fd >= 0

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)

    async def within(self, seconds: float) -> bool:
        """Wait for the end, but not longer. True: it has ended."""
        if self._over:
            return True
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        timer = loop.call_later(seconds, _resolve, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None
        if self._over or self._fd >= 0:
            return self._over
        try:
            return not held(self._folder)
        except OSError:
            return False

    def signal(self, number: int) -> None:
        with contextlib.suppress(OSError):
            if self._fd >= 0:
                signal.pidfd_send_signal(self._fd, number)
            elif not self._over:
                os.kill(self._pid, number)

    def _ended(self) -> None:
        self._over = True
        asyncio.get_running_loop().remove_reader(self._fd)
        if self._waiter is not None:
            _resolve(self._waiter)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def held(folder: Path) -> bool:
    """Does a supervisor hold this folder's lock? Raises OSError when that cannot be told: with no
    descriptor left, a running command must not be taken for one that has ended."""
    try:
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False
