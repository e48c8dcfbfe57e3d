"""The labels of a workspace's files, as the runtime and the owner's terminal see them."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from perdure.credentials import by_name
from perdure.credentials import folder as credentials_folder
from perdure.sandbox import boot_id, hides, home_of
from perdure.storage import FileLabels

FILE = "labels.sqlite"


def file_labels(private: Path, boot: str | None = None) -> FileLabels:
    """`private`: the workspace's `.perdure`."""
    boot = boot_id() if boot is None else boot
    return FileLabels(private / FILE, boot=boot, secret=credentials)


def credentials(path: Path) -> bool:
    """By its name, or that of a folder it lies in; or commands are not shown it."""
    named = by_name(path.name) or any(credentials_folder(part) for part in path.parts[:-1])
    return named or hides(os.fspath(path), _home(os.environ.get("HOME", "")))


@lru_cache(maxsize=4)
def _home(named: str) -> str:
    return os.fspath(home_of({"HOME": named}))
