"""The routes, one module per tag of the API. Each reads a request, calls the runtime once and answers;
the checks of access, the shape of errors and the documents are none of their business."""

from __future__ import annotations

from ..api import RuntimeApi
from ..authorized import Authorized
from ..routing import App
from ..settings import ServerSettings
from ..site import Site
from ..tokens import TokenStore
from . import (
    admin,
    agents,
    approvals,
    budget,
    checkpoints,
    doubts,
    events,
    health,
    messages,
    outbox,
    sessions,
    tokens,
)


def add_all(
    app: App,
    bare: RuntimeApi,
    runtime: Authorized,
    settings: ServerSettings,
    site: Site,
    store: TokenStore | None,
) -> None:
    """`bare` is for what needs no token."""
    health.add(app, bare, site)
    agents.add(app, runtime)
    sessions.add(app, runtime, settings)
    messages.add(app, runtime, settings, site)
    events.add(app, runtime, site)
    approvals.add(app, runtime, settings)
    doubts.add(app, runtime, settings)
    checkpoints.add(app, runtime)
    outbox.add(app, runtime)
    budget.add(app, runtime)
    admin.add(app, runtime, site)
    if store is not None:
        tokens.add(app, runtime, store, site, settings)
