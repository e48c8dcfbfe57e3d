"""Checkpoints: a working folder as it was before a turn changed it, and the way back.

Here belongs what keeps the owner's files: the walk over a folder with its ignore rules, what is never
taken (secrets, what is too large), the shared store of contents, the record of each checkpoint, the
comparison with the folder as it is now, putting it back, and removing what no checkpoint needs. What
does not belong here: when a checkpoint is taken (kernel), sessions and their logs (storage), copies of
a whole workspace (backup).

Formats are written down in docs/formats.md. Reading order: records, tree, scan, objects, store, compare,
restore.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .records import Change, Changes, Checkpoint, LeftOut, Limits, Restored
    from .store import Checkpoints
    from .turns import TurnCheckpoints
    from .unneeded import Collected

_HOMES = {
    "Change": "records",
    "Changes": "records",
    "Checkpoint": "records",
    "Checkpoints": "store",
    "Collected": "unneeded",
    "LeftOut": "records",
    "Limits": "records",
    "Restored": "records",
    "TurnCheckpoints": "turns",
}

__all__ = [
    "Change",
    "Changes",
    "Checkpoint",
    "Checkpoints",
    "Collected",
    "LeftOut",
    "Limits",
    "Restored",
    "TurnCheckpoints",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value
