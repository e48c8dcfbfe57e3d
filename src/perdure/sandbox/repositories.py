"""Git repositories and workspaces in a working folder: the files of theirs that make git, or Perdure, run
programs."""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
# ruff: noqa: PTH110, PTH112, PTH113, PTH114, PTH118
from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

DEPTH = 4
"""Folders deep."""
MOST_ENTRIES = 4_000
FRESH = 20.0
"""Seconds for which the look for nested ones holds. A folder's own are looked at before each command."""
SKIPPED = frozenset(
    ("node_modules", ".venv", "venv", "__pycache__", "target", ".tox", "site-packages")
)
WORKSPACE = ("/.perdure", "/perdure.yaml")
PLACES = frozenset((".git", ".perdure", "perdure.yaml"))
STEERING = ("hooks", "config", "config.worktree")
"""Of a repository's folder: to be kept as they are."""
REDIRECTING = ("commondir", "gitdir")
"""Files that would lead git to settings elsewhere; no repository of its own has them."""


@dataclass(slots=True)
class Guarded:
    pinned: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    unwanted: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    """What belongs to workspaces deeper down."""


_known: dict[str, tuple[float, tuple[str, ...]]] = {}


def guarded(folder: str) -> Guarded:
    """What is to be guarded of the repositories and workspaces below a folder; of the nested ones, those
    found."""
    found = Guarded()
    for place in _places(folder):
        if place.endswith(WORKSPACE):
            if not os.path.islink(place):
                found.hidden.append(place)
            continue
        if os.path.islink(place):
            place = os.path.realpath(place)
            if not place.startswith(folder + "/"):
                continue
        if os.path.isfile(place):  # of a submodule or a linked worktree: names its repository
            found.kept.append(place)
        elif os.path.isdir(place):
            _pin_above(found, place, folder)
            _guard(found, place)
    return found


def _pin_above(found: Guarded, path: str, folder: str) -> None:
    """Each folder between, outermost first: renamed, it would take the guarded one along."""
    rest = os.path.relpath(path, folder).split("/")
    for count in range(1, len(rest) + 1):
        step = os.path.join(folder, *rest[:count])
        if step not in found.pinned:
            found.pinned.append(step)


def _guard(found: Guarded, repository: str) -> None:
    for name in STEERING:
        path = f"{repository}/{name}"
        (found.kept if os.path.exists(path) else found.unwanted).append(path)
    found.unwanted += [
        path for name in REDIRECTING if not os.path.lexists(path := f"{repository}/{name}")
    ]
    modules = f"{repository}/modules"
    if os.path.isdir(modules) and not os.path.islink(modules):
        for inner in _modules(modules, DEPTH):
            _pin_above(found, inner, repository)
            _guard(found, inner)


def _modules(folder: str, depth: int) -> Iterator[str]:
    try:
        entries = [e for e in os.scandir(folder) if e.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for entry in entries:
        if os.path.exists(f"{entry.path}/HEAD"):
            yield entry.path
        elif depth > 1:
            yield from _modules(entry.path, depth - 1)


def _places(folder: str) -> list[str]:
    """Every `.git` there: the folder's own, and those found below; and of workspaces those below."""
    own = f"{folder}/.git"
    first = [own] if os.path.lexists(own) else []
    now = time.monotonic()
    when, nested = _known.get(folder, (-FRESH, ()))
    if now - when >= FRESH:
        nested = tuple(_nested(folder))
        if len(_known) > 64:
            _known.clear()
        _known[folder] = (now, nested)
    return [*first, *nested]


def _nested(folder: str) -> Iterator[str]:
    left = MOST_ENTRIES
    level = [folder]
    for _ in range(DEPTH):
        below: list[str] = []
        for one in level:
            try:
                entries = list(os.scandir(one))
            except OSError:
                continue
            left -= len(entries)
            for entry in entries:
                if entry.name in PLACES:
                    if one != folder:
                        yield entry.path
                elif entry.name not in SKIPPED and entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
            if left <= 0:
                return
        level = below
