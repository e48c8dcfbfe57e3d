"""The composition root: opens a workspace, wires the ports, owns the running sessions.

Here belongs which implementation stands behind which port, the life of an open session, and the façade
that terminal, server and later edges use. What does not belong here: any rule of a turn (kernel), any
format (storage, models), any way in or out (server, cli).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .opening import open_runtime
    from .runtime import Runtime

__all__ = ["Runtime", "open_runtime"]

_HOMES = {"Runtime": "runtime", "open_runtime": "opening"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
