"""Which sessions were being resumed when the process died, so that one that kills it cannot do so for ever.

Before a session is resumed its count is raised on disk; once it has made progress the count is removed.
What is found at a start was left by a process that died in between. A suspect is resumed alone, so that
an innocent one beside it is not counted again; after two deaths in a row a session is held.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from perdure.kernel.errors import StorageError
from perdure.kernel.events import SessionId

DEATHS = 2
"""So many in a row, and the session waits for its owner."""


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
        except OSError as error:
            raise StorageError(
                f"cannot note that {session} is resumed: {error.strerror}"
            ) from error

    def over(self, session: SessionId) -> None:
        with contextlib.suppress(OSError):
            (self._folder / session).unlink()
