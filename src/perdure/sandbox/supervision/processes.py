"""Finding processes, and sending them signals."""

# Paths are texts here: many are handled for every command.
# ruff: noqa: PTH110, PTH123, PTH208
from __future__ import annotations

import contextlib
import os
import sys

LINUX = sys.platform == "linux"
_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def stat_of(pid: int) -> tuple[str, int, int] | None:
    """State, parent and session of a process; None when it is gone or cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return fields[0].decode(), int(fields[1]), int(fields[3])


def pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def descendants(root: int) -> list[int]:
    """Living processes below `root`, whatever session or group they moved to."""
    if not LINUX:
        return []
    found: list[int] = []
    if _CHILDREN:
        todo = [root]
        while todo:
            below = _children(todo.pop())
            found.extend(below)
            todo.extend(below)
    else:
        parents: dict[int, list[int]] = {}
        for pid in pids():
            if (stat := stat_of(pid)) is not None:
                parents.setdefault(stat[1], []).append(pid)
        todo = [root]
        while todo:
            below = parents.get(todo.pop(), [])
            found.extend(below)
            todo.extend(below)
    return [pid for pid in found if (stat := stat_of(pid)) is not None and stat[0] not in "ZX"]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found.extend(int(child) for child in file.read().split())
        except OSError:
            continue
    return found


def send(targets: list[int], number: int) -> None:
    for pid in targets:
        with contextlib.suppress(OSError):
            os.kill(pid, number)
