"""Where the kernel's groups may be made for limits that hold for all processes of a command together."""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
# ruff: noqa: PTH102, PTH106, PTH110, PTH120, PTH123
from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

CONTROLLERS = ("pids", "memory")


def usable() -> tuple[str, ...]:
    """Folders in which a group can be made and joined, tried out; together they limit what they can."""
    if not sys.platform.startswith("linux"):
        return ()
    found: dict[str, None] = {}
    for controller in CONTROLLERS:
        for folder in _places(controller):
            if folder in found or _works(folder, controller):
                found[folder] = None
                break
    return tuple(found)


def controls(folders: tuple[str, ...]) -> frozenset[str]:
    """Which controllers groups made in these folders have."""
    return frozenset(c for c in CONTROLLERS for f in folders if _has(f, c))


def _has(folder: str, controller: str) -> bool:
    if os.path.exists(f"{folder}/cgroup.controllers"):
        with contextlib.suppress(OSError), open(f"{folder}/cgroup.subtree_control") as file:
            return controller in file.read().split()
        return False
    return f"/{controller}" in f"{folder}/" and os.path.exists(f"{folder}/cgroup.procs")


def _places(controller: str) -> Iterator[str]:
    """Candidates: our own group where a hierarchy is this controller's; else, of the one for all, the
    group that ours is in, since one with processes can hand out nothing."""
    own = _own()
    for point, kind, options in _mounts():
        if kind == "cgroup" and controller in options:
            name = next((g for cs, g in own.items() if controller in cs.split(",")), "/")
            yield f"{point}{name}".rstrip("/")
        elif kind == "cgroup2" and "" in own:
            above = os.path.dirname(own[""])
            for group in dict.fromkeys((above, own[""])):
                folder = f"{point}{group}".rstrip("/")
                if _has(folder, controller):
                    yield folder


def _own() -> dict[str, str]:
    """By controllers (empty: version 2), the group we are in."""
    groups = {}
    with contextlib.suppress(OSError), open("/proc/self/cgroup") as file:
        for line in file:
            _, controllers, group = line.rstrip("\n").split(":", 2)
            groups[controllers] = group
    return groups


def _mounts() -> Iterator[tuple[str, str, list[str]]]:
    with contextlib.suppress(OSError), open("/proc/self/mounts") as file:
        for line in file:
            _, point, kind, options, *_ = line.split()
            if kind.startswith("cgroup"):
                yield point, kind, options.split(",")


def _works(folder: str, controller: str) -> bool:
    """Make a group, have a process join it, see that its limit can be set."""
    group = f"{folder}/perdure-trial-{os.getpid()}"
    file = {"pids": ("pids.max",), "memory": ("memory.max", "memory.limit_in_bytes")}[controller]
    if not os.access(folder, os.W_OK):
        return False
    try:
        os.mkdir(group)
        limit = next(f for f in file if os.path.exists(f"{group}/{f}"))
        with open(f"{group}/{limit}", "w") as opened:
            opened.write("1000" if controller == "pids" else str(1 << 30))
        joining = ["/bin/sh", "-c", 'echo 0 > "$1/cgroup.procs"', "sh", group]
        done = subprocess.run(joining, capture_output=True, timeout=5, check=False)
    except (OSError, StopIteration, subprocess.SubprocessError):
        return False
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(group)
    return done.returncode == 0
