"""Marks of sessions with unfinished work: empty files, so that a restart finds those without opening
all sessions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from perdure.kernel.errors import InvalidInput
from perdure.kernel.events import SessionId

from .disk import Disk
from .failure import storage_error
from .paths import session_id

LAZY = 64
"""Cleared marks that may stay on disk: a session that works again soon then costs nothing, and a
restart looks at no more than so many in vain."""


class Unfinished:
    """The marks under `unfinished/`. A mark too many is harmless, one too few loses work (D4)."""

    def __init__(
        self, folder: Path, disk: Disk, require: Callable[[SessionId, Path], None]
    ) -> None:
        """`require(session, path)`: the session's next commit also syncs this folder."""
        self._folder = folder
        self._disk = disk
        self._require = require
        self._cleared: dict[SessionId, None] = {}
        self._marked: set[SessionId] = set()

    def mark(self, session: SessionId) -> None:
        """This session has work to do: durable when the next commit of its log returns.
        Raises StorageError."""
        self._cleared.pop(session, None)
        if session in self._marked:
            return
        try:
            self._make(session)
        except OSError as error:
            raise storage_error("mark a session as unfinished", error) from error
        self._require(session, self._folder)
        self._marked.add(session)

    def clear(self, session: SessionId) -> None:
        """It rests. The mark may stay for a while, and come back after a crash."""
        self._cleared[session] = None
        while len(self._cleared) > LAZY:
            self.drop(next(iter(self._cleared)))

    def forget(self, session: SessionId) -> None:
        """Its log was closed: whether its mark became durable is no longer known."""
        self._marked.discard(session)

    def sweep(self) -> None:
        """Remove all cleared marks now, as before a clean exit."""
        for session in list(self._cleared):
            self.drop(session)

    def drop(self, session: SessionId) -> None:
        """Remove the mark now."""
        self._cleared.pop(session, None)
        self._marked.discard(session)
        with contextlib.suppress(OSError):  # one left over only makes a restart look in vain
            self._disk.remove(self._folder / session_id(session))

    def ids(self) -> list[SessionId]:
        """Marked sessions, oldest id first, whoever marked them. Costs as many marks as there are.
        Raises StorageError."""
        try:
            names = self._disk.names(self._folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise storage_error("list unfinished sessions", error) from error
        found = []
        for name in sorted(names):
            with contextlib.suppress(InvalidInput):
                found.append(session_id(name))
        return [s for s in found if s not in self._cleared]

    def _make(self, session: SessionId) -> None:
        path = self._folder / session_id(session)
        try:
            handle = self._disk.open(path, create=True)
        except FileNotFoundError:
            self._disk.mkdir(self._folder)
            self._require(session, self._folder.parent)
            handle = self._disk.open(path, create=True)
        self._disk.close(handle)
