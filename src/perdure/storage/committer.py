"""Group commit: one thread per process that writes and syncs for all sessions together.

While the disk is busy with one batch, what other sessions want is collected into the next, so that a
hundred of them share a sync. Errors stay with the files they belong to. A session that is alone on a
fast disk is served in place: there the way to the thread and back costs as much as the sync.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

from .disk import Disk, RealDisk

K = TypeVar("K")

GROUP_FROM = 8
"""So many files in a batch are synced by one syncfs. Measured on ext4: fdatasync on 100 files costs
3.7 ms of CPU, syncfs 0.6."""
SLOW_SECONDS = 0.1
"""syncfs also writes what other programs left unwritten. When it took longer than this, and longer
than the files by themselves would have, it is left alone for `REST_SECONDS`."""
REST_SECONDS = 30.0

QUICK_SECONDS = 0.0005
"""A sync that takes longer than this on average is never done in place, on the event loop,"""
HICCUP_SECONDS = 0.02
"""nor, for `REST_SECONDS`, after one in place took this long."""
ALONE_SECONDS = 0.005
"""No other session committed for so long: this one is alone."""
_IN_PLACE_BYTES = 64 * 1024


class Sink:
    """An open file that is only written by the committer. It ends at the first error."""

    __slots__ = ("cut", "device", "error", "handle", "size", "written")

    def __init__(self, handle: int, size: int, device: int) -> None:
        self.handle = handle
        self.device = device
        self.size = size
        """Bytes known to be on stable storage."""
        self.written = size
        self.cut = False
        self.error: OSError | None = None


class Job:
    """What one log wants on stable storage: first `needs` (files and folders by path), then `data` at
    the end of its file. Or, with `closing`, also the handles closed after that."""

    __slots__ = ("closing", "data", "done", "error", "loop", "needs", "sink")

    def __init__(
        self,
        sink: Sink,
        data: bytes,
        needs: Sequence[Path],
        done: Callable[[Job], None],
        loop: asyncio.AbstractEventLoop,
        closing: Sequence[int] = (),
    ) -> None:
        self.sink = sink
        self.data = data
        self.needs = needs
        self.done = done
        """Called on `loop` when the job is over, `error` telling how."""
        self.loop = loop
        self.closing = closing
        self.error: OSError | None = None


class Committer:
    """Owns the thread, which starts with the first job and ends with `close`."""

    def __init__(
        self, disk: Disk | None = None, *, group_from: int = GROUP_FROM, in_place: bool = True
    ) -> None:
        """`group_from`: files in a batch from which one syncfs serves all. `in_place`: False leaves
        every sync to the thread."""
        self.disk: Disk = disk or RealDisk()
        self.syncs = 0
        """Calls of fdatasync, fsync and syncfs so far."""
        self.batches = 0
        self._group_from = group_from
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._in_place = in_place
        self._under_way = 0
        self._file_seconds = 0.0
        """Running mean of one file's sync; 0 until the first."""
        self._together_from = 0.0
        self._in_place_from = 0.0
        self._latest: Sink | None = None
        self._latest_at = 0.0

    def submit(self, job: Job) -> None:
        """Take a job. Raises RuntimeError after `close`."""
        if self._closed:
            raise RuntimeError("the committer is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="perdure-commit", daemon=True)
            self._thread.start()
        self._under_way += 1
        self._latest, self._latest_at = job.sink, time.monotonic()
        self._queue.put(job)

    def at_once(self, job: Job) -> bool:
        """Perform the job here and now, blocking for one quick sync, if that is cheaper than the
        thread; `done` is not called. False: it is not, nothing was done.

        Invariant: the thread is idle meanwhile, so each sink has one writer at a time.
        """
        if not self._in_place or self._under_way or self._closed or job.needs or job.closing:
            return False
        if not 0 < self._file_seconds < QUICK_SECONDS or len(job.data) > _IN_PLACE_BYTES:
            return False
        began = time.monotonic()
        if began < self._in_place_from:
            return False
        alone = job.sink is self._latest or began - self._latest_at > ALONE_SECONDS
        self._latest, self._latest_at = job.sink, began
        if not alone:
            return False
        self._perform([job])
        if time.monotonic() - began > HICCUP_SECONDS:
            self._in_place_from = began + REST_SECONDS
        return True

    def close(self) -> None:
        """Finish what was submitted, end the thread. Idempotent."""
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        get, get_now = self._queue.get, self._queue.get_nowait
        while True:
            batch: list[Job] = []
            job = get()
            with contextlib.suppress(Empty):
                while job is not None:
                    batch.append(job)
                    job = get_now()
            if batch:
                self._perform(batch)
                self._report(batch)
            if job is None:
                return

    def _report(self, batch: list[Job]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
        for job in batch:
            by_loop.setdefault(job.loop, []).append(job)
        for loop, jobs in by_loop.items():
            # A loop that is gone has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._finish, jobs)

    def _finish(self, jobs: list[Job]) -> None:
        self._under_way -= len(jobs)
        for job in jobs:
            job.done(job)

    def _perform(self, batch: list[Job]) -> None:
        self.batches += 1
        try:
            self._store(batch)
        except Exception as error:  # whoever waits must hear of it, and the thread lives on
            for job in batch:
                job.sink.error = job.error = OSError(errno.EIO, f"{type(error).__name__}: {error}")

    def _store(self, batch: list[Job]) -> None:
        self._sync_needs(batch)
        sinks: dict[Sink, list[Job]] = {}
        for job in batch:
            sink = job.sink
            if sink.error is None and job.error is not None:
                sink.error = job.error
            if sink.error is None:
                try:
                    if job.data:
                        self.disk.write(sink.handle, job.data)
                        sink.written += len(job.data)
                except OSError as error:
                    sink.error = error
            sinks.setdefault(sink, []).append(job)
        self._sync_sinks([s for s, jobs in sinks.items() if s.error is None and _wants_sync(jobs)])
        for sink, jobs in sinks.items():
            if sink.error is not None:
                self._cut(sink)
            for job in jobs:
                job.error = sink.error
                for handle in job.closing:
                    with contextlib.suppress(OSError):
                        self.disk.close(handle)

    def _sync_needs(self, batch: list[Job]) -> None:
        """Before any record is written: it may speak of them."""
        wanted: dict[Path, list[Job]] = {}
        for job in batch:
            for path in job.needs:
                wanted.setdefault(path, []).append(job)
        if not wanted:
            return
        handles = {job.sink.device: job.sink.handle for jobs in wanted.values() for job in jobs}
        if len(wanted) >= self._group_from and len(handles) == 1:
            (handle,) = handles.values()
            if self._sync_together(handle, len(wanted)):
                return
        for path, jobs in wanted.items():
            try:
                self._timed(self.disk.sync_path, path)
            except OSError as error:
                for job in jobs:
                    job.error = error

    def _sync_sinks(self, sinks: list[Sink]) -> None:
        by_device: dict[int, list[Sink]] = {}
        for sink in sinks:
            by_device.setdefault(sink.device, []).append(sink)
        for group in by_device.values():
            if len(group) >= self._group_from and self._sync_together(group[0].handle, len(group)):
                for sink in group:
                    sink.size = sink.written
                continue
            for sink in group:
                try:
                    self._timed(self.disk.sync, sink.handle)
                    sink.size = sink.written
                except OSError as error:
                    sink.error = error

    def _sync_together(self, handle: int, files: int) -> bool:
        """One sync for a whole file system. False: it was not done, or some file on it failed; each
        must then be asked by itself, and the kernel tells every file's own error there."""
        began = time.monotonic()
        if began < self._together_from:
            return False
        try:
            if not self.disk.sync_everything(handle):
                return False
        except OSError:
            return False
        took = time.monotonic() - began
        self.syncs += 1
        if took > max(SLOW_SECONDS, 2 * files * self._file_seconds):
            self._together_from = began + took + REST_SECONDS
        return True

    def _timed(self, sync: Callable[[K], None], what: K) -> None:
        began = time.monotonic()
        sync(what)
        self.syncs += 1
        took = time.monotonic() - began
        mean = self._file_seconds or took
        self._file_seconds = mean + (took - mean) / 16

    def _cut(self, sink: Sink) -> None:
        """After an error: what is not known to be stored must not be found there later, least of all
        in the page cache, where the kernel keeps it marked clean. If even this fails, the checksums
        find what is torn when the log is opened again."""
        if sink.cut:
            return
        sink.cut = True
        with contextlib.suppress(OSError):
            self.disk.truncate(sink.handle, sink.size)
            self.disk.sync(sink.handle)


def _wants_sync(jobs: list[Job]) -> bool:
    """A closing job with nothing to write leaves the disk alone."""
    return any(job.data or not job.closing for job in jobs)
