"""All sessions of a workspace, on files: making, opening, listing, forking and deleting them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from perdure.kernel.errors import (
    Conflict,
    Damaged,
    InvalidInput,
    NotFound,
    StorageError,
)
from perdure.kernel.events import Record, SessionForked, SessionId
from perdure.kernel.ports import Clock

from .artifacts import ArtifactStore
from .committer import Committer
from .copying import copy_session, discard, remove_session
from .export import ExportFormat, write_json, write_markdown
from .failure import storage_error
from .log import FileSessionLog, open_log
from .paths import SessionFiles, session_id
from .reader import Allowance, Anchor, Survey, damaged, read_lines, read_records, survey
from .snapshot import Snapshot, read_snapshot, write_snapshot
from .unfinished import Unfinished
from .verify import Report, verify

SMALL = 1 << 20
"""Bytes of log that are checked on the event loop; more go to a thread."""


@dataclass(slots=True)
class OpenedSession:
    """A session this process may write to, until its log is closed."""

    id: SessionId
    log: FileSessionLog
    artifacts: ArtifactStore
    snapshot: Snapshot | None = None
    """The last one, if it fits the log; go on with `log.read(after=snapshot.seq)`."""

    def write_snapshot(self, payload: bytes) -> Coroutine[None, None, None]:
        """Keep what the log folds to as of this call, i.e. up to `log.last`; what is appended before
        the result is awaited is not covered. Raises StorageError."""
        return self._write_snapshot(self.log.anchor, payload)

    async def _write_snapshot(self, anchor: Anchor, payload: bytes) -> None:
        disk, files = self.log.disk, self.log.files
        try:
            await asyncio.to_thread(write_snapshot, disk, files, anchor, payload)
        except OSError as error:
            raise storage_error("write a snapshot", error) from error


class StoredSession:
    """A session as it is on disk, for looking only: no lock is taken, nothing is changed."""

    def __init__(self, files: SessionFiles, committer: Committer, found: Survey) -> None:
        self.id = SessionId(files.folder.name)
        self.files = files
        self.artifacts = ArtifactStore(files.artifacts, committer.disk, None)
        self.torn = found.size - found.place.offset if found.broken and found.broken.torn else 0
        """Bytes at the end that are not (or not yet) a whole record."""
        self.damage: Damaged | None = None
        """Set when it is broken inside: what comes before can be read."""
        if found.broken and not found.broken.torn:
            self.damage = damaged(found.broken)
        self._disk = committer.disk
        self._found = found

    @property
    def last(self) -> int:
        """Sequence number of the last readable record."""
        return self._found.place.seq

    def lines(self) -> Iterator[bytes]:
        """The log's own bytes up to `last`, in pieces of whole lines. Raises as `read`."""
        return read_lines(self._disk, self.files.log, self._found.place)

    def read(self, after: int = 0, through: int | None = None) -> Iterator[Record]:
        """Records with after < seq <= through. Raises Damaged, NotFound, StorageError."""
        found = self._found
        return read_records(self._disk, self.files.log, found.marks, found.place, after, through)


class SessionStore:
    """The folder `sessions/` under `root` (a workspace's `.perdure`). Touches nothing until used."""

    def __init__(self, root: Path, committer: Committer, clock: Clock) -> None:
        self._root = root
        self._folder = root / "sessions"
        self._committer = committer
        self._disk = committer.disk
        self._clock = clock
        self._open: dict[SessionId, FileSessionLog] = {}
        self.allowance = Allowance()
        self.unfinished = Unfinished(root / "unfinished", self._disk, self._require)

    def files(self, session: SessionId) -> SessionFiles:
        """Raises InvalidInput when `session` is not an id."""
        return SessionFiles(self._folder / session_id(session))

    def artifacts(self, session: SessionId) -> ArtifactStore:
        """A session's artifacts for reading only; its log is not looked at. Raises InvalidInput."""
        return ArtifactStore(self.files(session).artifacts, self._disk, None)

    def exists(self, session: SessionId) -> bool:
        """Raises InvalidInput."""
        return self._disk.exists(self.files(session).log)

    def ids(self) -> Iterator[SessionId]:
        """All sessions, newest first; none is opened. Raises StorageError."""
        try:
            names = self._disk.names(self._folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise storage_error("list the sessions", error) from error
        for name in sorted(names, reverse=True):
            with contextlib.suppress(InvalidInput):
                yield session_id(name)

    async def create(self, session: SessionId) -> OpenedSession:
        """A new, empty session; it is durable with its log's first commit.
        Raises Conflict when there is one of that id, InvalidInput, StorageError."""
        files = self.files(session)
        try:
            needs = self._make_folder(files.folder)
        except FileExistsError:
            raise Conflict(f"there is a session {session} already") from None
        except OSError as error:
            raise storage_error("make a session", error) from error
        try:
            return self._opened(session, files, create=True, needs=needs)
        except BaseException:
            discard(self._disk, files.folder)
            raise

    async def open(self, session: SessionId) -> OpenedSession:
        """Open for writing; all it shows is on stable storage. A torn tail is cut (`log.torn`); a
        log that is damaged inside opens read-only (`log.damage`).
        Raises NotFound, Locked, InvalidInput, StorageError."""
        opened = await self._check_and_open(session, self.files(session))
        log = opened.log
        try:
            if log.damage is None:
                if not log.last:
                    raise _not_found(session)  # its creation was never acknowledged
                await log.commit()
        except BaseException:
            await log.close()
            raise
        return opened

    def open_readonly(self, session: SessionId) -> StoredSession:
        """Look at a session, open elsewhere or not, as it is now. Blocks.
        Raises NotFound, InvalidInput, StorageError."""
        files = self.files(session)
        try:
            handle = self._disk.open(files.log)
            try:
                found = survey(self._disk, handle)
            finally:
                self._disk.close(handle)
        except FileNotFoundError:
            raise _not_found(session) from None
        except OSError as error:
            raise storage_error("read the session", error) from error
        if not found.place.seq and not found.broken:
            raise _not_found(session)
        return StoredSession(files, self._committer, found)

    async def fork(self, parent: SessionId, at: int | None, new: SessionId) -> OpenedSession:
        """A new session that begins with the parent's records up to number `at` (None: all), byte
        for byte, followed by SessionForked; artifacts are shared. The parent may be open meanwhile.
        Durable on return. Raises NotFound, Conflict, InvalidInput, StorageError (Damaged when the
        parent is broken before `at`); then there is no new session."""
        source, target = self.files(parent), self.files(new)
        if self._disk.exists(target.folder):
            raise Conflict(f"there is a session {new} already")
        committed = self._open[parent].committed if parent in self._open else None

        def forked(seq: int) -> Record:
            event = SessionForked(session=new, parent=parent, at=seq)
            return Record(seq=seq + 1, at=self._clock.now(), event=event)

        try:
            await asyncio.to_thread(copy_session, self._disk, source, target, at, committed, forked)
        except FileNotFoundError:
            raise _not_found(parent) from None
        except OSError as error:
            raise storage_error("fork the session", error) from error
        return await self.open(new)

    def export(self, session: SessionId, format: ExportFormat, out: BinaryIO) -> None:
        """Write the session to `out`: `jsonl` the log's own lines, `json` one array of records, `md`
        a transcript to read. Blocks. Raises NotFound, InvalidInput, StorageError; Damaged at the end,
        when what comes before the damage has been written."""
        stored = self.open_readonly(session)
        if format == "jsonl":
            for piece in stored.lines():
                out.write(piece)
        elif format == "json":
            write_json(stored.read(), out)
        elif format == "md":
            write_markdown(stored.read(), out)
        else:
            raise InvalidInput(f"“{format}” is no export format: jsonl, json or md")
        if stored.damage is not None:
            raise stored.damage

    def verify(self, session: SessionId, repair: bool = False) -> Report:
        """Check every byte of a session's log, its artifacts and snapshot; with `repair`, mend what
        can be proven and set the rest aside. Blocks. Raises NotFound, InvalidInput, StorageError;
        with `repair`, Locked when it is open."""
        files = self.files(session)
        if not self._disk.exists(files.log):
            raise _not_found(session)
        try:
            return verify(self._disk, files, repair=repair)
        except OSError as error:
            raise storage_error("verify the session", error) from error

    async def delete(self, session: SessionId) -> None:
        """Remove a session and all that is its own; a crash leaves it whole or gone. Durable on
        return. Raises NotFound, InvalidInput, StorageError, and Locked when it is open."""
        files = self.files(session)
        try:
            await asyncio.to_thread(remove_session, self._disk, files)
        except FileNotFoundError:
            raise _not_found(session) from None
        except OSError as error:
            raise storage_error("delete the session", error) from error
        self.unfinished.drop(session)

    async def _check_and_open(self, session: SessionId, files: SessionFiles) -> OpenedSession:
        """A long log is checked in a thread."""
        try:
            handle = self._disk.open(files.log)
            try:
                size = self._disk.size(handle)
            finally:
                self._disk.close(handle)
            if size < SMALL:
                return self._opened(session, files)
            work = asyncio.ensure_future(asyncio.to_thread(self._opened, session, files))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                # The thread cannot be stopped, and its lock must not be left behind.
                with contextlib.suppress(Exception):
                    await (await work).log.close()
                raise
        except FileNotFoundError:
            raise _not_found(session) from None
        except OSError as error:
            raise storage_error("open the session", error) from error

    def _opened(
        self,
        session: SessionId,
        files: SessionFiles,
        *,
        create: bool = False,
        needs: Sequence[Path] = (),
    ) -> OpenedSession:
        try:
            kept = None if create else read_snapshot(self._disk, files)
        except OSError:
            kept = None  # derived: the log says the same
        log, anchored = open_log(
            files,
            self._committer,
            create=create,
            anchor=kept[0] if kept else None,
            needs=needs,
            closed=lambda: self._closed(session),
            allowance=self.allowance,
        )
        self._open[session] = log
        artifacts = ArtifactStore(files.artifacts, self._disk, log.require)
        return OpenedSession(session, log, artifacts, kept[1] if kept and anchored else None)

    def _closed(self, session: SessionId) -> None:
        self._open.pop(session, None)
        self.unfinished.forget(session)

    def _require(self, session: SessionId, path: Path) -> None:
        if session not in self._open:
            raise StorageError(f"session {session} is not open")
        self._open[session].require(path)

    def _make_folder(self, folder: Path) -> list[Path]:
        """Make a session's folder, and those above it that are missing; which must be synced."""
        try:
            self._disk.mkdir(folder)
            return [folder, self._folder]
        except FileNotFoundError:
            pass
        needs = [folder, self._folder, self._root]
        try:
            self._disk.mkdir(self._folder)
        except FileExistsError:
            pass  # another process was faster
        except FileNotFoundError:
            self._disk.mkdir(self._root)
            self._disk.mkdir(self._folder)
            needs.append(self._root.parent)
        self._disk.mkdir(folder)
        return needs


def _not_found(session: SessionId) -> NotFound:
    return NotFound(f"there is no session {session}", hint="`perdure session list` shows them.")
