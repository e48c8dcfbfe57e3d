"""perdure.yaml as it is now; while it cannot be used, as it last was when it could."""

from __future__ import annotations

import threading
from collections.abc import Callable

from perdure.kernel.errors import ConfigError, PerdureError, StorageError

from .workspace import Workspace, open_workspace, stamp_of_file


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
        """`vet` raises PerdureError for a file that must not be used. `tell` hears of each change that was
        read: None when it counts now, else why it does not. Not twice in a row the same."""
        self._workspace, self._vet, self._tell = workspace, vet, tell
        self._lock = threading.Lock()
        self._path = str(workspace.file)
        self._seen = workspace.seen
        self._error: ConfigError | None = None

    def look(self) -> Workspace:
        seen = self._seen
        if seen is None or stamp_of_file(self._path) != seen:
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
            before = self._workspace, str(self._error or "")
            stamp = stamp_of_file(self._path)
            try:
                found = open_workspace(self._workspace.root, self._workspace.env)
                if found.blank:
                    # An editor that is about to write it, or a disk that was full: with nothing in it
                    # everything would be as by default.
                    raise ConfigError(
                        "is empty", file=self._path, hint="Put back what it held, or write: {}"
                    )
                self._vet(found)
            except (PerdureError, OSError) as error:
                # What is not its content's fault may be over at the next look.
                passing = isinstance(error, OSError | StorageError) or isinstance(
                    error.__cause__, OSError
                )
                self._error = _as_config(error)
                self._seen = None if passing else stamp
            else:
                if stamp != stamp_of_file(self._path):
                    return  # changed while it was read: the next look reads it whole
                same = found.config == self._workspace.config
                self._workspace = self._workspace if same else found
                self._seen, self._error = stamp, None
            after, told = (self._workspace, str(self._error or "")), self._error
        if before[0] is not after[0] or before[1] != after[1]:
            self._tell(told)


def _as_config(error: Exception) -> ConfigError:
    if isinstance(error, ConfigError):
        return error
    return ConfigError(str(error).split("\n")[0], hint=getattr(error, "hint", ""))
