"""The routes, one module per tag of the API. Each reads a request, calls the runtime once and answers;
the checks of access, the shape of errors and the documents are none of their business."""

from __future__ import annotations

from fastapi import FastAPI

from ..api import RuntimeApi
from ..settings import ServerSettings
from ..site import Site
from . import (
    admin,
    agents,
    approvals,
    checkpoints,
    doubts,
    events,
    health,
    messages,
    outbox,
    sessions,
)


def add_all(app: FastAPI, runtime: RuntimeApi, settings: ServerSettings, site: Site) -> None:
    health.add(app, runtime, site)
    agents.add(app, runtime)
    sessions.add(app, runtime, settings)
    messages.add(app, runtime, settings, site)
    events.add(app, runtime, site)
    approvals.add(app, runtime, settings)
    doubts.add(app, runtime, settings)
    checkpoints.add(app, runtime)
    outbox.add(app, runtime)
    admin.add(app, runtime, site)
