from __future__ import annotations

import os
from pathlib import Path

from starlette.responses import Response

import perdure

from .. import bodies
from ..api import RuntimeApi
from ..bodies import answer
from ..documents import fails, returns
from ..problems import Refusal
from ..routing import App
from ..site import Site

LEAST_FREE = 1024 * 1024
"""Bytes without which no session can go on."""


def add(app: App, runtime: RuntimeApi, site: Site) -> None:
    @app.get(
        "/livez",
        tags=["health"],
        responses=returns(bodies.Health, "The process answers.", {"status": "live"}),
    )
    async def livez() -> Response:
        """Is the process alive?"""
        return answer(bodies.Health(status="live"))

    @app.get(
        "/readyz",
        tags=["health"],
        responses=returns(bodies.Health, "Requests are taken.", {"status": "ready"}) | fails(503),
    )
    async def readyz() -> Response:
        """Does it take work? Not any more once it is stopping, and not while the disk is full."""
        if site.stopping.is_set():
            raise Refusal(503, "stopping", "The server is stopping.")
        _check_disk(Path(runtime.status().workspace))
        return answer(bodies.Health(status="ready"))

    @app.get(
        "/version",
        tags=["health"],
        responses=returns(bodies.Version, "The version.", {"version": "0.1.0", "api": "v1"}),
    )
    async def version() -> Response:
        """Of the program and of the API."""
        return answer(bodies.Version(version=perdure.__version__))


def _check_disk(folder: Path) -> None:
    """Raises Refusal when nothing can be stored. The caller may be anybody: no path is named."""
    try:
        found = os.statvfs(folder)
    except OSError as error:
        raise Refusal(
            503, "storage", f"The workspace cannot be reached: {error.strerror}."
        ) from None
    hint = "Make room on the workspace's disk; nothing that was acknowledged is lost."
    if found.f_bavail * found.f_frsize < LEAST_FREE:
        raise Refusal(503, "storage", "The disk is full.", hint=hint, headers={"Retry-After": "30"})
    if found.f_files and not found.f_favail:
        raise Refusal(
            503,
            "storage",
            "The disk has no room for more files.",
            hint=hint,
            headers={"Retry-After": "30"},
        )
