"""The application: routes over one runtime, behind the access checks."""

from __future__ import annotations

from . import documents, problems
from .access import Access
from .api import RuntimeApi
from .authorized import Authorized
from .intake import Intake
from .rates import Rates
from .routes import add_all
from .routing import App
from .settings import ServerSettings
from .site import Site
from .stream import Streams
from .tokens import Keyring, TokenStore


def create_app(
    runtime: RuntimeApi,
    settings: ServerSettings | None = None,
    *,
    local_token: str = "",
    site: Site | None = None,
    tokens: TokenStore | None = None,
) -> App:
    """`site` lets the owner of the process take part: it is told to stop, and can close streams.
    Without one, shutting down over the API only closes the streams."""
    settings = settings or ServerSettings()
    site = site or Site(Streams(runtime, settings))
    app = App()
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
