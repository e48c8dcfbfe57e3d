"""Where a session's files are, and which ids may name one.

An id becomes part of a path, so it is checked here before any file system call.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from perdure.kernel.errors import InvalidInput
from perdure.kernel.events import SessionId

_SESSION = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def session_id(text: str) -> SessionId:
    """`text` as a session id. Raises InvalidInput unless it is 1 to 64 of `a-z 0-9 _ -` and does
    not begin with a sign: so it can neither leave the sessions folder nor hide in it."""
    if not _SESSION.fullmatch(text):
        shown = text[:80].encode("ascii", "backslashreplace").decode()
        raise InvalidInput(
            f"“{shown}” is not a session id", hint="`perdure session list` shows them."
        )
    return SessionId(text)


class SessionFiles(msgspec.Struct, frozen=True):
    """The files of one session, under `sessions/<id>/`."""

    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def snapshot(self) -> Path:
        return self.folder / "snapshot.json"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"
