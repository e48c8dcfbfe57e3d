"""Which sessions were being resumed when the process died, so that one that kills it cannot do so for ever.

Before a session is resumed its count is raised on disk; once it has made progress the count is removed.
What is found at a start was left by a process that died in between. A suspect is resumed alone, so that
an innocent one beside it is not counted again; after two deaths in a row a session is held. So is one that
comes from a backup in the middle of its work.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from perdure.files import sync
from perdure.kernel.errors import StorageError
from perdure.kernel.events import SessionId

DEATHS = 2
"""So many in a row, and the session waits for its owner."""
_DIED = (
    f"The runtime died {DEATHS} times in a row while resuming this session, so it waits for you. "
    "Send it a message of your own, or: perdure session resume {session}"
)
_RESTORED = (
    "This session comes from a backup in the middle of its work, which may have been done since, so it "
    "waits for you. Send it a message of your own, or: perdure session resume {session}"
)
_COPY = b"restored"
"""What stands for a session out of a backup, and counts as more deaths than are borne."""


class Resuming:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def deaths(self, session: SessionId) -> int:
        """How often in a row the process died while it resumed this one."""
        try:
            return len((self._folder / session).read_bytes())
        except FileNotFoundError:
            return 0
        except OSError:
            return 1  # cannot be told: be careful, and still resume it

    def why(self, session: SessionId) -> str:
        """What its owner is told of a held session."""
        try:
            copied = (self._folder / session).read_bytes().startswith(_COPY)
        except OSError:
            copied = False
        return (_RESTORED if copied else _DIED).format(session=session)

    def restored(self, session: SessionId) -> None:
        """Its owner must say that it may go on: another workspace may have gone on with it. Raises
        OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / session).write_bytes(_COPY)

    def begin(self, session: SessionId) -> None:
        """Durable on return. Raises StorageError."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._folder / session, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(file, b"x")
                os.fsync(file)
            finally:
                os.close(file)
            sync(self._folder)
        except OSError as error:
            raise StorageError(
                f"cannot note that {session} is resumed: {error.strerror}"
            ) from error

    def over(self, session: SessionId) -> None:
        """It made progress, or may go on. Durable on return, unless the disk refuses: then it is counted,
        or held, once more."""
        with contextlib.suppress(OSError):
            (self._folder / session).unlink()
            sync(self._folder)
