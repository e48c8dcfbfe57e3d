"""The session log on files: `FileSessionLog` implements ports.SessionLog."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from perdure.kernel.errors import Damaged, Locked, StorageError
from perdure.kernel.events import Record

from .committer import Committer, Job, Sink
from .disk import Disk
from .failure import storage_error
from .lines import Place, encode
from .paths import SessionFiles
from .reader import Allowance, Anchor, Survey, damaged, read_held, read_records, survey
from .scan import PIECE, Break, Piece

MARK_EVERY = 256
"""Records between two remembered places, so that reading near the end does not start at the front."""


_DOING = "store the session's events"


class _Flight(Job):
    """A job under way and who waits for it."""

    __slots__ = ("over", "place", "waiters")

    place: Place
    """Where the log ends once it has landed."""
    waiters: list[asyncio.Future[None]]
    over: bool


class FileSessionLog:
    """One writer's log. For one event loop; the disk is touched by the committer's thread only, but
    for reading.

    Invariant: `_last` >= the place of every flight >= `_committed`; what lies between is not yet
    promised to anyone.
    """

    def __init__(
        self,
        files: SessionFiles,
        committer: Committer,
        handle: int,
        lock: int,
        found: Survey,
        *,
        needs: Sequence[Path] = (),
        closed: Callable[[], None] = lambda: None,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        """Use `open_log`. `needs`: what the first commit must sync beside the log. `release`: what was
        found is no longer held."""
        self.files = files
        self.damage: Damaged | None = None
        """Set when the log is broken inside: it can only be read, up to the damage."""
        self.torn: Path | None = None
        """Where a torn tail was moved to when the log was opened."""
        self.disk: Disk = committer.disk
        self._committer = committer
        self._handles = (handle, lock)
        self._sink = Sink(handle, found.place.offset, self.disk.device(handle))
        self._last = self._committed = found.place
        self._digest = found.digest
        self._marks = found.marks
        self._held = found.held
        """What was checked on opening, until it is read once, or no longer all there is."""
        self._release = release
        self._pending: list[bytes] = []
        self._needs = list(needs)
        self._needs_guard = threading.Lock()
        # Records found on opening may still be in the page cache only: after kill -9 nobody knows.
        self._unsynced = found.place.seq > 0
        self._failure: OSError | None = None
        self._flight: _Flight | None = None
        self._closing: _Flight | None = None
        self._closed = closed

    @property
    def last(self) -> int:
        return self._last.seq

    @property
    def committed(self) -> int:
        """Sequence number of the last record known to be on stable storage."""
        return self._committed.seq

    @property
    def anchor(self) -> Anchor:
        """Where the log ends now, for a snapshot of what it says up to here."""
        return Anchor(self._last, self._digest.hexdigest())

    def append(self, records: Sequence[Record]) -> None:
        """As the port says. Raises InvalidInput, keeping none, when a record cannot be encoded."""
        self._check()
        self._let_go()
        seq, offset, total = self._last
        encoded = []
        for record in records:
            seq += 1
            if record.seq != seq:
                raise StorageError(f"record {record.seq} came where {seq} was due")
            line, total = encode(record, total)
            offset += len(line)
            encoded.append(line)
            if not seq % MARK_EVERY:
                self._marks.append(Place(seq, offset, total))
        for line in encoded:
            self._digest.update(line)
        self._pending += encoded
        self._last = Place(seq, offset, total)

    def require(self, path: Path) -> None:
        """The next commit also syncs this file or folder, before it writes records. May be called
        from any thread. Raises StorageError as `append` does."""
        self._check()
        with self._needs_guard:
            if path not in self._needs:
                self._needs.append(path)

    async def commit(self) -> None:
        self._check()
        if self._pending or self._needs or self._unsynced:
            flight = self._take_off()
            if self._committer.at_once(flight):
                self._land(flight)
                if flight.error is not None:
                    raise storage_error(_DOING, flight.error)
                return
            self._flight = flight
            try:
                self._committer.submit(flight)
            except RuntimeError as error:
                flight.error = OSError(errno.ESHUTDOWN, str(error))
                self._land(flight)
                raise storage_error(_DOING, flight.error) from error
        if self._flight is not None:
            await _landing(self._flight)

    def read(self, after: int = 0, through: int | None = None) -> Iterator[Record]:
        """As the port says. Raises Damaged, NotFound, StorageError while iterating."""
        return read_records(self.disk, self.files.log, self._marks, self._committed, after, through)

    def replay(self, after: int = 0) -> Iterator[Record]:
        """As `read`, for whoever opened the log: the first time what was checked on opening is not
        read and checked again."""
        held = self._let_go()
        if held and held[0].first.seq <= after and held[-1].last == self._committed:
            return read_held(held, after)
        return self.read(after)

    def _let_go(self) -> list[Piece]:
        """What is held is the caller's now, for the moment."""
        held, self._held = self._held, []
        if held:
            self._release()
        return held

    async def close(self) -> None:
        self._let_go()
        if self._closing is None:
            self._closing = flight = self._take_off(self._handles)
            try:
                self._committer.submit(flight)
            except RuntimeError:  # the committer was closed first
                for handle in self._handles:
                    with contextlib.suppress(OSError):
                        self.disk.close(handle)
                self._land(flight)
        with contextlib.suppress(StorageError):
            await _landing(self._closing)

    def _check(self) -> None:
        if self.damage is not None:
            raise Damaged(self.damage.message, hint=self.damage.hint)
        if self._failure is not None:
            raise storage_error(_DOING, self._failure)
        if self._closing is not None:
            raise StorageError("the session's log is closed")

    def _take_off(self, closing: Sequence[int] = ()) -> _Flight:
        """A job of all that is pending."""
        failed = self._failure is not None or self.damage is not None
        data = b"" if failed else b"".join(self._pending)
        with self._needs_guard:
            needs, self._needs = self._needs, []
        self._pending, self._unsynced = [], False
        loop = asyncio.get_running_loop()
        flight = _Flight(self._sink, data, needs, self._land, loop, closing)
        flight.place, flight.waiters, flight.over = self._last, [], False
        return flight

    def _land(self, flight: Job) -> None:
        assert isinstance(flight, _Flight)
        flight.over = True
        if flight.error is not None:
            self._failure = flight.error
        elif self.damage is None:
            self._committed = flight.place
        if self._flight is flight:
            self._flight = None
        for waiter in flight.waiters:
            if waiter.done():
                continue
            if flight.error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(storage_error(_DOING, flight.error))
        if flight is self._closing:
            self._closed()


async def _landing(flight: _Flight) -> None:
    if flight.over:
        return
    waiter = flight.loop.create_future()
    flight.waiters.append(waiter)
    await waiter


def open_log(
    files: SessionFiles,
    committer: Committer,
    *,
    create: bool = False,
    anchor: Anchor | None = None,
    needs: Sequence[Path] = (),
    closed: Callable[[], None] = lambda: None,
    allowance: Allowance | None = None,
) -> tuple[FileSessionLog, bool]:
    """Take the session's lock, check its log, cut a torn tail off; and whether `anchor` holds.

    Blocks; reads the log once. `create`: make the file when missing. `closed` is called when the log
    has been closed. `allowance`: for holding what was read until `replay`.
    Raises Locked, FileNotFoundError, StorageError.
    """
    disk = committer.disk
    try:
        lock = disk.lock(files.lock)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage_error("lock the session", error) from error
    if lock is None:
        raise locked(disk, files)
    with contextlib.ExitStack() as undo:
        undo.callback(disk.close, lock)
        try:
            handle = disk.open(files.log, create=create)
            undo.callback(disk.close, handle)
            found = survey(disk, handle, anchor, allowance)

            def release() -> None:
                if allowance is not None:
                    allowance.give(found.taken)

            if found.taken and not found.held:  # nothing in it is whole
                release()
                found.taken = 0
            undo.callback(release)
            torn = None
            if found.broken is not None and found.broken.torn:
                torn = cut_tail(disk, files, handle, found.broken, found.size)
            log = FileSessionLog(
                files,
                committer,
                handle,
                lock,
                found,
                needs=needs,
                closed=closed,
                release=release,
            )
        except FileNotFoundError:
            raise
        except OSError as error:
            raise storage_error("open the session's log", error) from error
        log.torn = torn
        if found.broken is not None and torn is None:
            log.damage = damaged(found.broken)
        undo.pop_all()
    return log, found.anchored


def locked(disk: Disk, files: SessionFiles) -> Locked:
    pid = "?"
    with contextlib.suppress(OSError):
        handle = disk.open(files.lock)
        pid = disk.read(handle, 0, 20).decode("ascii", "replace").strip() or "?"
        disk.close(handle)
    return Locked(
        f"session {files.folder.name} is being written by another process (pid {pid})",
        hint="Talk to it through that process, or stop it first: `perdure serve stop`.",
    )


def cut_tail(disk: Disk, files: SessionFiles, handle: int, broken: Break, size: int) -> Path:
    """Move what follows the last good line into `events.torn-<n>`: copied and synced before cut."""
    taken = set(disk.names(files.folder))
    number = 1
    while f"events.torn-{number}" in taken:
        number += 1
    side = files.folder / f"events.torn-{number}"
    copy = disk.open(side, fresh=True)
    try:
        for offset in range(broken.place.offset, size, PIECE):
            disk.write(copy, disk.read(handle, offset, min(PIECE, size - offset)))
        disk.sync(copy)
    finally:
        disk.close(copy)
    disk.sync_path(files.folder)
    disk.truncate(handle, broken.place.offset)
    disk.sync(handle)
    return side
