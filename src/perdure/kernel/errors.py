"""The tree of errors people see. Errors meant for a model are typed tool results, not exceptions.

    PerdureError
    ├── ConfigError          a file a person wrote is wrong: file, line, what was expected
    ├── NotFound             no such agent, session, approval, artifact
    ├── Conflict             the request cannot hold now (already decided, session ended, busy)
    ├── InvalidInput         what a caller sent does not fit
    ├── StorageError         the disk refused; nothing unacknowledged was kept
    │   ├── Damaged          the log is broken inside: opens read-only
    │   └── Locked           another process writes this session
    └── ModelError           a model call failed; `kind` says what to do about it

The docstring of a class is its default message; `hint` tells the operator what to do.
"""

from __future__ import annotations

from typing import Literal

ModelErrorKind = Literal[
    "rate_limited",
    "overloaded",
    "server",
    "connection",
    "cut",
    "timeout",
    "context_overflow",
    "auth",
    "billing",
    "invalid",
    "not_found",
    "refused",
    "empty",
]
"""What went wrong with a model call. `cut`: the stream ended without a finish reason."""

RETRYABLE: frozenset[ModelErrorKind] = frozenset(
    ("rate_limited", "overloaded", "server", "connection", "cut", "timeout", "empty")
)


class PerdureError(Exception):
    """Something went wrong."""

    code: str = "error"

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        self.message = message or (type(self).__doc__ or "").split("\n")[0]
        self.hint = hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class ConfigError(PerdureError):
    """A configuration file is wrong."""

    code = "config"

    def __init__(self, message: str = "", *, file: str = "", line: int = 0, hint: str = "") -> None:
        self.file, self.line = file, line
        where = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(f"{where}{message}", hint=hint)


class NotFound(PerdureError):
    """There is no such thing."""

    code = "not_found"


class Conflict(PerdureError):
    """That cannot be done now."""

    code = "conflict"


class InvalidInput(PerdureError):
    """The request does not fit."""

    code = "invalid_input"


class StorageError(PerdureError):
    """The disk refused to store this; nothing was acknowledged."""

    code = "storage"


class Damaged(StorageError):
    """The session's log is damaged; it opens read-only."""

    code = "damaged"


class Locked(StorageError):
    """Another process is writing this session."""

    code = "locked"


class ModelError(PerdureError):
    """The model call failed."""

    code = "model"

    def __init__(
        self,
        message: str = "",
        *,
        kind: ModelErrorKind,
        status: int | None = None,
        retry_after: float | None = None,
        partial: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.kind: ModelErrorKind = kind
        self.status = status
        """HTTP status, where there was one."""
        self.retry_after = retry_after
        """Seconds the provider asked us to wait."""
        self.partial = partial
        """Text that had already streamed when the call failed."""
