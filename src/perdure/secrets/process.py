"""The process that holds secrets: its memory is written to no file, and no other user's program reads it."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def seal_process() -> tuple[str, ...]:
    """No core dumps; and on Linux, other processes of the same user can neither attach to this one nor
    read its memory or its environment. Programs it starts are not concerned, but that they too leave no
    core dumps. What could not be had, for people."""
    missing: list[str] = []
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    except (OSError, ValueError):
        missing.append("core dumps could not be turned off")
    if sys.platform == "linux":
        done = -1
        with contextlib.suppress(OSError, AttributeError):
            done = ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        if done != 0:
            missing.append("other programs of this user can read this process's memory")
    return tuple(missing)
