"""Ending a command's processes from our side, when its supervisor cannot."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from .supervision.processes import descendants, pids, send, stat_of
from .walls.marking import MARKER

PATIENCE = 2.0


def kill_all(supervisor: int | None, leader: int | None, process: str) -> None:
    """Kill a supervisor with all that is below it or carries the mark of its command, if it is known.
    Blocking.

    `leader`: the command's own process, whose session it leads. Processes that left the session,
    cleared their environment and lost their supervisor cannot be found any more.
    """
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = set(descendants(supervisor)) if supervisor else set()
        found |= _marked(process) if process else set()
        found |= _session(leader) if leader else set()
        found.discard(os.getpid())
        if supervisor:
            found.discard(supervisor)
        if not found:
            break
        send(list(found), signal.SIGSTOP)
        send(list(found), signal.SIGKILL)
        time.sleep(0.005)
    if supervisor:
        send([supervisor], signal.SIGKILL)
    if leader and sys.platform != "linux":
        with contextlib.suppress(OSError):
            os.killpg(leader, signal.SIGKILL)


def _session(leader: int) -> set[int]:
    found = set()
    for pid in pids():
        stat = stat_of(pid)
        if stat is not None and stat[2] == leader and stat[0] not in "ZX":
            found.add(pid)
    return found


def _marked(process: str) -> set[int]:
    wanted = f"{MARKER}={process}".encode()
    found = set()
    for pid in pids():
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
                environ = file.read()
        except OSError:
            continue
        if wanted in environ.split(b"\0"):
            found.add(pid)
    return found
