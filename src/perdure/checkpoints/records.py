"""What is known of a checkpoint, of the way back to it, and of having gone there: plain records."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal

import msgspec

from perdure.kernel.errors import InvalidInput
from perdure.kernel.events import SessionId, TurnId

Why = Literal[
    "ignored",
    "secret",
    "large",
    "full",
    "many",
    "late",
    "deep",
    "elsewhere",
    "special",
    "unreadable",
    "changed",
    "occupied",
    "gone",
    "refused",
]
"""Why something was left out of a checkpoint, or left as it is when one was restored."""

WHY: dict[Why, str] = {
    "ignored": "ignored by .gitignore, .perdureignore or by default",
    "secret": "a secret: never copied",
    "large": "too large",
    "full": "no room: the size limit of a checkpoint, or the disk's",
    "many": "too many files",
    "late": "the checkpoint took too long",
    "deep": "too many folders inside each other",
    "elsewhere": "on another file system",
    "special": "neither file, link nor folder",
    "unreadable": "it cannot be read",
    "changed": "it changed meanwhile",
    "occupied": "something that was not checkpointed is in its place",
    "gone": "it was left out of the checkpoint and is gone",
    "refused": "the system refused",
}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Of one checkpoint, except `keep`."""

    files: int = 100_000
    """Files, links and folders."""
    file_bytes: int = 64 << 20
    """A larger file is left out."""
    bytes: int = 4 << 30
    """All contents together."""
    spare_bytes: int = 1 << 30
    """What is left free on the store's disk."""
    seconds: float = 20.0
    """New contents are no longer read after this; what is known already still counts."""
    keep: int = 100
    """Checkpoints of a session; the oldest go first."""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    why: Why


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One checkpoint, as in its file `<session>/<id>.json`."""

    id: str
    session: SessionId
    kind: Literal["turn", "rewind"]
    """`turn`: before a turn's first change. `rewind`: before another one was restored."""
    at: datetime
    seq: int
    """The session's last record when it was taken."""
    turn: TurnId = TurnId("")
    restores: str = ""
    """Of a `rewind`: the checkpoint that was restored next."""
    workdir: str
    """The folder, absolute."""
    tree: str
    """Name of the object that lists the folder."""
    files: int = 0
    bytes: int = 0
    """Of all files in it."""
    new_bytes: int = 0
    """What it added to the store."""
    skipped: int = 0
    """Things left out, without those that are ignored."""
    left_out: tuple[LeftOut, ...] = ()
    """The first of these."""
    labels: str = ""
    """Name of the object that has the labels of its files; empty: nobody kept them."""
    ms: int = 0


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What restoring does to one path."""

    path: str
    action: Literal["add", "change", "remove", "mode"]
    """`add`: it is gone now and comes back. `remove`: it was made since."""
    kind: Literal["file", "link", "folder"]
    bytes: int = 0
    """Size it will have; of what is removed: had."""


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """How the folder differs from a checkpoint, as what restoring would do."""

    checkpoint: str
    workdir: str
    changes: tuple[Change, ...]
    kept: tuple[LeftOut, ...] = ()
    """What stays as it is though it may differ, and why."""


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    checkpoint: str
    undo: str
    """The checkpoint taken just before: restoring it undoes this."""
    workdir: str
    changes: tuple[Change, ...]
    kept: tuple[LeftOut, ...] = ()


_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def checked_id(text: str, what: str) -> str:
    """`text`, if it may name a file or folder of the store. Raises InvalidInput."""
    if not _ID.fullmatch(text):
        shown = text[:80].encode("ascii", "backslashreplace").decode()
        raise InvalidInput(f"“{shown}” is not the id of a {what}")
    return text
