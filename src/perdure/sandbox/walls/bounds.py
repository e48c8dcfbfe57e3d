"""Limits on what a command uses: groups of the kernel where they may be made, else those of a process."""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
# ruff: noqa: PTH102, PTH106, PTH110
from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Collection, Sequence

from .plan import Limits

PREFIX = "perdure-"
STALE = 60.0
"""Seconds after which a group in which nothing runs is nobody's."""
_FILES = {
    # hierarchy of one controller (version 1), or of all (version 2)
    "processes": ("pids.max", "pids.max"),
    "memory": ("memory.limit_in_bytes", "memory.max"),
}


def make_groups(folders: Sequence[str], name: str) -> list[str]:
    """A group for a command in each hierarchy. Raises OSError when one cannot be made: then none is."""
    made: list[str] = []
    for folder in folders:
        group = f"{folder}/{PREFIX}{name}"
        try:
            os.mkdir(group, 0o755)
        except FileExistsError:
            pass
        except OSError:
            remove_groups(made)
            raise
        made.append(group)
    return made


def limit_groups(groups: Sequence[str], limits: Limits) -> None:
    """Set what holds for all processes in them together. Raises OSError."""
    for group in groups:
        for what, value in (("processes", limits["processes"]), ("memory", limits["memory"])):
            for file in dict.fromkeys(_FILES[what]):
                if value and _there(group, file):
                    write(f"{group}/{file}", str(value))
        if limits["memory"] and _there(group, "memory.swap.max"):
            with contextlib.suppress(OSError):
                write(f"{group}/memory.swap.max", "0")


def join(groups: Sequence[str]) -> None:
    for group in groups:
        write(f"{group}/cgroup.procs", "0")


def remove_groups(groups: Sequence[str]) -> None:
    """Those in which nothing runs any more."""
    for group in groups:
        with contextlib.suppress(OSError):
            os.rmdir(group)


def sweep(folders: Sequence[str]) -> None:
    """Remove groups that supervisors which were killed have left in these folders."""
    before = time.time() - STALE
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            old = [e.path for e in entries if e.name.startswith(PREFIX) and _age(e) < before]
            remove_groups(old)


def _age(entry: os.DirEntry[str]) -> float:
    return entry.stat(follow_symlinks=False).st_mtime


def write(path: str, text: str) -> None:
    """To a file by which the kernel is told something: at once, and it must be there."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def limited_by(groups: Sequence[str]) -> frozenset[str]:
    """What these limit for all in them together. To be asked before they are out of sight."""
    return frozenset(w for g in groups for w, fs in _FILES.items() for f in fs if _there(g, f))


def limit(limits: Limits, *, grouped: Collection[str], counted: bool) -> None:
    """Set what holds for a process and its children. `grouped`: see `limited_by`. `counted`: its processes
    are counted by themselves, not together with all others of the user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits["file_size"]:
        _lower(resource.RLIMIT_FSIZE, limits["file_size"])
    if limits["memory"] and "memory" not in grouped:
        _lower(resource.RLIMIT_DATA, limits["memory"])
    if limits["processes"] and "processes" not in grouped and counted:
        _lower(resource.RLIMIT_NPROC, limits["processes"])
    if limits["nice"]:
        with contextlib.suppress(OSError):
            os.nice(limits["nice"])


def _there(group: str, file: str) -> bool:
    return os.path.exists(f"{group}/{file}")


def _lower(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))
