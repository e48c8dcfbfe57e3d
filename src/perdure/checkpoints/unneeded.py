"""Removing contents that no checkpoint needs any more."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from .cache import forget
from .manifests import Manifests
from .objects import Objects
from .tree import File, Folder, Load


class Collected(msgspec.Struct, frozen=True):
    objects: int
    """How many were removed."""
    bytes: int


def collect(manifests: Manifests, objects: Objects, caches: Path, load: Load) -> Collected:
    """Only under the exclusive lock. Raises StorageError before anything is removed, OSError."""
    needed: set[str] = set()
    for checkpoint in manifests.every():
        _mark(checkpoint.tree, needed, load)
        needed.add(checkpoint.labels)
    objects.sweep()
    unneeded = {name for name in objects.names() if name not in needed}
    if unneeded:
        forget(caches, unneeded)
    freed = 0
    for name in unneeded:
        with contextlib.suppress(FileNotFoundError):
            freed += objects.remove(name)
    return Collected(len(unneeded), freed)


def _mark(tree: str, needed: set[str], load: Load) -> None:
    if tree in needed:
        return
    needed.add(tree)
    for entry in load(tree).values():
        if isinstance(entry, File):
            needed.add(entry.content)
        elif isinstance(entry, Folder):
            _mark(entry.tree, needed, load)
