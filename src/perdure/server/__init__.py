"""The HTTP edge: a workspace's server, its API and its process.

Here belongs everything that speaks HTTP: routes, access checks, problem responses, server-sent events,
the OpenAPI document, the listening process with its lock and its `server.json`. It sees the runtime
only through `RuntimeApi` and decides nothing itself: every route translates a request into one call of
that façade and its answer into bytes. What does not belong here: sessions, turns, policy, files of the
workspace (other than `run/`), and anything a terminal shows.

Reading order for a newcomer: api, app, routes/, stream, access, problems, process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import RuntimeApi
    from .app import create_app
    from .process import RuntimeOpener, ServerFile, run_server, serve
    from .settings import ServerSettings

__all__ = [
    "RuntimeApi",
    "RuntimeOpener",
    "ServerFile",
    "ServerSettings",
    "create_app",
    "run_server",
    "serve",
]

_HOMES = {
    "RuntimeApi": "api",
    "create_app": "app",
    "RuntimeOpener": "process",
    "ServerFile": "process",
    "run_server": "process",
    "serve": "process",
    "ServerSettings": "settings",
}


def __getattr__(name: str) -> Any:
    """Starlette and uvicorn take their time to import: they load with what needs them."""
    if name not in _HOMES:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
