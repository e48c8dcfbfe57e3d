"""Backup: a consistent copy of a workspace, running or not, and the way back from it.

Here belongs what goes into a backup and what does not, the places it can be kept (a folder, an S3
bucket), checking one to the last byte, and making a workspace from one. It only reads the workspace.
What does not belong here: the formats of what is copied (storage, checkpoints), undoing what an agent
did (checkpoints), running a workspace (runtime).

The layout of a backup is written down in docs/formats.md. Reading order: records, depots, sources,
making, checking, restoring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .checking import Report, check
    from .depots import Depot, FolderDepot, open_depot
    from .making import Created, create
    from .records import Manifest
    from .restoring import Restored, restore

_HOMES = {
    "Created": "making",
    "Depot": "depots",
    "FolderDepot": "depots",
    "Manifest": "records",
    "Report": "checking",
    "Restored": "restoring",
    "check": "checking",
    "create": "making",
    "open_depot": "depots",
    "restore": "restoring",
}

__all__ = [
    "Created",
    "Depot",
    "FolderDepot",
    "Manifest",
    "Report",
    "Restored",
    "check",
    "create",
    "open_depot",
    "restore",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value
