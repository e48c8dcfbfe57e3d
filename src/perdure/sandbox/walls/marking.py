"""A process' mark, by which it is found: in its environment, as the system shows it to others.

That is where it was put when the program was started. A fork that becomes no program of its own shows
what the one it was forked from was started with: so there is room for a mark in that.
"""

# Paths are texts here: many are handled for every command.
# ruff: noqa: PTH123
from __future__ import annotations

import contextlib

MARKER = "PERDURE_PROCESS"
"""Environment variable that every process of a command carries."""
ROOM = "-" * 120
"""To be the marker's value in the environment of a program whose forks shall be marked."""


_room: tuple[int, int] = (0, 0)
"""Where it is, and how many bytes."""


def mark(value: str) -> None:
    """From now on this process carries it, if there is room for it; nothing but its view from outside
    changes."""
    import ctypes

    place, room = _room if _room[1] else find_room()
    given = value.encode("utf-8", "replace")
    if len(given) < room:
        ctypes.memmove(place, given.ljust(room, b"\0"), room)


def find_room() -> tuple[int, int]:
    import ctypes

    global _room
    with contextlib.suppress(OSError, IndexError, ValueError):
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[47]), int(fields[48])  # env_start and env_end
        name = f"{MARKER}=".encode()
        held = b"\0" + ctypes.string_at(start, end - start) if start else b""
        at = held.index(b"\0" + name) + len(name)
        _room = start + at, held.index(b"\0", at + 1) - at
    return _room
