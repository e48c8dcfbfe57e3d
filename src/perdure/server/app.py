"""The FastAPI application: routes over one runtime, behind the access checks."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.routing import APIRoute

import perdure

from . import documents, problems
from .access import Access
from .api import RuntimeApi
from .authorized import Authorized
from .intake import Intake
from .rates import Rates
from .routes import add_all
from .settings import ServerSettings
from .site import Site
from .stream import Streams
from .tokens import Keyring, TokenStore

DESCRIPTION = """\
Everything a terminal can do with a Perdure workspace, over HTTP.

Every error is an `application/problem+json` (RFC 9457) with a machine-readable `code` and, where there
is something to do, a `hint`. All but the health routes and this document need
`Authorization: Bearer TOKEN`.
"""
TAGS = [
    {"name": "health", "description": "For supervisors and load balancers; no token needed."},
    {"name": "agents", "description": "Who can be talked with."},
    {"name": "sessions", "description": "Conversations: create, list, change, fork, delete."},
    {"name": "messages", "description": "Say something, and hear what came of it."},
    {"name": "events", "description": "Everything that happens in a session, past and live."},
    {"name": "approvals", "description": "What waits for the owner's answer."},
    {"name": "outbox", "description": "Answers on their way out, and dead letters."},
    {"name": "budget", "description": "What was spent, and what may be."},
    {"name": "doubts", "description": "Calls of which a crash left unknown whether they happened."},
    {"name": "checkpoints", "description": "Working folders as they were before a turn."},
    {"name": "tokens", "description": "What others may do here: made, listed, revoked."},
    {"name": "admin", "description": "The server itself."},
]


def create_app(
    runtime: RuntimeApi,
    settings: ServerSettings | None = None,
    *,
    local_token: str = "",
    site: Site | None = None,
    tokens: TokenStore | None = None,
) -> FastAPI:
    """`site` lets the owner of the process take part: it is told to stop, and can close streams.
    Without one, shutting down over the API only closes the streams."""
    settings = settings or ServerSettings()
    site = site or Site(Streams(runtime, settings))
    app = FastAPI(
        title="Perdure",
        version=perdure.__version__,
        summary="A durable, self-hosted runtime for personal AI agents.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        license_info={"name": "MIT", "identifier": "MIT"},
        docs_url=None,  # these pages load their code from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation,
    )
    app.state.intake = Intake(settings.max_bodies)
    problems.install(app)
    documents.install(app)
    add_all(app, runtime, Authorized(runtime), settings, site, tokens)
    app.add_middleware(
        Access,
        settings=settings,
        keys=Keyring(local_token, settings.tokens, tokens),
        rates=Rates(settings.rate),
    )
    return app


def _operation(route: APIRoute) -> str:
    return route.name
