"""The root that a command sees, where it is not bubblewrap that builds it."""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
# ruff: noqa: PTH102, PTH103, PTH211
from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from .places import PLAIN, make, opened, put
from .plan import Step
from .syscalls import (
    ATTR_NOSUID,
    ATTR_RDONLY,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    mount,
    pivot_root,
    restrict,
    unmount,
)

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}


def begin(steps: Sequence[Step], stage: str) -> str:
    """Begin it below `stage`, with the first of its steps. Where it lies."""
    root = f"{stage}/root"
    os.makedirs(root, exist_ok=True)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=4m")
    add(steps, root)
    return root


def add(steps: Sequence[Step], root: str) -> None:
    """`ro S D`, `rw S D`: S is seen at D. `symlink T D`: a link. `tmpfs D`: an empty folder that can be
    written. `folder D`: an empty one. `proc`, of the first process of a namespace of processes, and `dev`: of
    its own.
    """
    for step in steps:
        match step:
            case ["ro" | "rw" as kind, source, place]:
                with opened(source) as fd:
                    there = make(place, of=fd, base=root)
                    put(fd, there, PLAIN | (ATTR_RDONLY if kind == "ro" else 0))
            case ["symlink", target, place]:
                os.symlink(target, root + place)
            case ["tmpfs", place]:
                os.makedirs(root + place, exist_ok=True)
                mount("tmpfs", root + place, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64m")
            case ["folder", place]:
                os.makedirs(root + place, exist_ok=True)
            case ["proc"]:
                os.mkdir(f"{root}/proc")
                # Root may write to the machine's settings below it, with no capability at all.
                flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | 1
                mount("proc", f"{root}/proc", "proc", flags)
            case ["dev"]:
                _devices(root)
            case _:
                raise OSError(errno.EINVAL, "not a step of a plan", step[0])


def move_into(root: str) -> None:
    """Nothing else can be seen any more."""
    os.chdir(root)
    pivot_root(".", ".")
    unmount(".")
    os.chdir("/")


def close(root: str) -> None:
    """Nothing can be put beside what is there."""
    fd = os.open(root, os.O_PATH | os.O_CLOEXEC)
    restrict(fd, ATTR_RDONLY, below=False)
    os.close(fd)


def _devices(root: str) -> None:
    dev = f"{root}/dev"
    os.mkdir(dev)
    mount("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=0755,size=64k")
    for name in DEVICES:
        with opened(f"/dev/{name}") as fd:
            put(fd, make(f"dev/{name}", of=fd, base=root), ATTR_NOSUID)
    for name, end in LINKS.items():
        os.symlink(f"/proc/self/fd{end}", f"{dev}/{name}")
    os.mkdir(f"{dev}/pts")
    how = "newinstance,ptmxmode=0666,mode=0620"
    mount("devpts", f"{dev}/pts", "devpts", MS_NOSUID | MS_NOEXEC, how)
    os.symlink("pts/ptmx", f"{dev}/ptmx")
    os.mkdir(f"{dev}/shm")
    mount("tmpfs", f"{dev}/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=50%")
    fd = os.open(dev, os.O_PATH | os.O_CLOEXEC)
    restrict(fd, ATTR_RDONLY, below=False)
    os.close(fd)
