"""perdure.yaml as it is now; while it cannot be used, as it last was when it could."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from perdure.kernel.errors import ConfigError, PerdureError

from .workspace import Workspace, open_workspace

_Stamp = tuple[int, int, int, int] | None


def _vet(workspace: Workspace) -> None:
    """Nothing more is asked of it."""


def _tell(error: ConfigError | None) -> None:
    """Nobody listens."""


class Watched:
    """Asked from any thread. Looks at the file's stamp only, until that has changed."""

    def __init__(
        self,
        workspace: Workspace,
        vet: Callable[[Workspace], None] = _vet,
        tell: Callable[[ConfigError | None], None] = _tell,
    ) -> None:
        """`vet` raises PerdureError for a file that must not be used. `tell` hears once of each change
        that was read: None when it counts now, else why it does not."""
        self._workspace, self._vet, self._tell = workspace, vet, tell
        self._lock = threading.Lock()
        self._path = str(workspace.file)
        self._seen = self._stamp()
        self._error: ConfigError | None = None

    def look(self) -> Workspace:
        if self._stamp() != self._seen:
            self.read()
        return self._workspace

    @property
    def error(self) -> ConfigError | None:
        """Why the file as it is now is not used."""
        self.look()
        return self._error

    def read(self) -> None:
        """Whatever its stamp says. What is wrong with it is in `error`; the last good one stays."""
        with self._lock:
            stamp = self._stamp()
            try:
                if stamp is not None and stamp[3] == 0:
                    # An editor that is about to write it: with no rules in it everything would be as
                    # by default.
                    raise ConfigError(
                        "is empty", file=self._path, hint="Put back what it held, or write: {}"
                    )
                found = open_workspace(self._workspace.root, self._workspace.env)
                self._vet(found)
            except ConfigError as error:
                wrong: ConfigError | None = error
            except (PerdureError, OSError) as error:
                wrong = ConfigError(str(error).split("\n")[0], hint=getattr(error, "hint", ""))
            else:
                wrong = None
                if stamp != self._stamp():
                    return  # changed while it was read: the next look reads it whole
                self._workspace = found
            self._seen, self._error = stamp, wrong
        self._tell(wrong)

    def _stamp(self) -> _Stamp:
        try:
            found = os.stat(self._path)  # noqa: PTH116  # before each step of every session
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
