from __future__ import annotations

from starlette.background import BackgroundTask
from starlette.responses import Response

from perdure.runtime.views import ReloadReport, RuntimeStatus

from .. import bodies
from ..api import RuntimeApi
from ..bodies import answer
from ..documents import returns
from ..grants import need
from ..routing import App
from ..site import Site
from .params import API


def add(app: App, runtime: RuntimeApi, site: Site) -> None:
    @app.get(
        f"{API}/admin/status",
        tags=["admin"],
        responses=returns(
            RuntimeStatus,
            "How it is.",
            {
                "version": "0.1.0",
                "workspace": "/home/me/perdure",
                "pid": 4242,
                "started": "2026-11-21T09:00:00Z",
                "sessions_open": 3,
                "sessions_running": 1,
                "memory_mb": 58.2,
                "restart": ["server.port"],
            },
        ),
    )
    async def show_status() -> Response:
        """The server's process and what it does."""
        return answer(runtime.status())

    @app.post(
        f"{API}/admin/reload",
        tags=["admin"],
        responses=returns(ReloadReport, "What was found.", {"agents": ["main"], "errors": []}),
    )
    async def reload_workspace() -> Response:
        """Read the workspace's files again. What is wrong is told; the last good version stays."""
        return answer(await runtime.reload())

    @app.post(
        f"{API}/admin/shutdown",
        status_code=202,
        tags=["admin"],
        responses=returns(bodies.Done, "It is stopping.", {"accepted": True}, 202),
    )
    async def shut_down() -> Response:
        """Stop the server. Turns that are running go on when it is started again."""
        need("admin")
        response = answer(bodies.Done(), 202)
        response.background = BackgroundTask(_stop, site)
        return response


async def _stop(site: Site) -> None:
    site.stop()
