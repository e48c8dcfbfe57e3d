"""The labels of a workspace's files, as the runtime and the owner's terminal see them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from perdure.checkpoints import Change
from perdure.credentials import by_name
from perdure.credentials import folder as credentials_folder
from perdure.kernel.labels import Label
from perdure.sandbox import boot_id, hides, home_of
from perdure.storage import FileLabels

FILE = "labels.sqlite"


def file_labels(private: Path, boot: str | None = None) -> FileLabels:
    """`private`: the workspace's `.perdure`."""
    boot = boot_id() if boot is None else boot
    return FileLabels(private / FILE, boot=boot, secret=credentials)


def label_restored(
    labels: FileLabels, folder: Path, changes: Sequence[Change], session: Label
) -> None:
    """What comes back from a checkpoint, which keeps no labels, can hold all that its session had heard.
    Raises StorageError."""
    if session.tainted:
        back = (c for c in changes if c.kind == "file" and c.action in ("add", "change"))
        labels.mark_all([Path(os.path.realpath(folder / c.path)) for c in back], session)


def credentials(path: Path) -> bool:
    """By its name, or that of a folder it lies in; or commands are not shown it."""
    named = by_name(path.name) or any(credentials_folder(part) for part in path.parts[:-1])
    return named or hides(os.fspath(path), _home(os.environ.get("HOME", "")))


@lru_cache(maxsize=4)
def _home(named: str) -> str:
    return os.fspath(home_of({"HOME": named}))
