from __future__ import annotations

from fastapi import FastAPI
from starlette.responses import Response

import perdure

from .. import bodies
from ..bodies import answer
from ..documents import fails, returns
from ..problems import Refusal
from ..site import Site


def add(app: FastAPI, site: Site) -> None:
    @app.get(
        "/livez",
        tags=["health"],
        response_class=Response,
        responses=returns(bodies.Health, "The process answers.", {"status": "live"}),
    )
    async def livez() -> Response:
        """Is the process alive?"""
        return answer(bodies.Health(status="live"))

    @app.get(
        "/readyz",
        tags=["health"],
        response_class=Response,
        responses=returns(bodies.Health, "Requests are taken.", {"status": "ready"}) | fails(503),
    )
    async def readyz() -> Response:
        """Does it take work? Not any more once it is stopping."""
        if site.stopping.is_set():
            raise Refusal(503, "stopping", "The server is stopping.")
        return answer(bodies.Health(status="ready"))

    @app.get(
        "/version",
        tags=["health"],
        response_class=Response,
        responses=returns(bodies.Version, "The version.", {"version": "0.1.0", "api": "v1"}),
    )
    async def version() -> Response:
        """Of the program and of the API."""
        return answer(bodies.Version(version=perdure.__version__))
