"""The OpenAPI document: what routes say of themselves, plus the schemas of our records.

Bodies, answers and parameters are msgspec's, so their schemas come from there.
"""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import perdure
from perdure.checkpoints import Changes, Restored
from perdure.kernel.events import AnyDelta, Json, Record
from perdure.runtime.views import (
    Accepted,
    AgentView,
    OpenApproval,
    ReloadReport,
    RuntimeStatus,
    SessionView,
    SpendingView,
)

from . import bodies, problems
from .access import OPEN_PATHS
from .routing import App, Operation, Responses, Spec

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
_REF = "#/components/schemas/"
_RECORDS: tuple[Any, ...] = (
    Record,
    AnyDelta,
    Accepted,
    AgentView,
    OpenApproval,
    ReloadReport,
    RuntimeStatus,
    SessionView,
    SpendingView,
    bodies.CreateSession,
    bodies.ChangeSession,
    bodies.ForkSession,
    bodies.PostMessage,
    bodies.Stop,
    bodies.Compact,
    bodies.Decide,
    bodies.DecideAll,
    bodies.SettleDoubt,
    bodies.CreateToken,
    bodies.TokenView,
    bodies.TokenList,
    bodies.NewToken,
    bodies.RevokedTokens,
    bodies.Health,
    bodies.Version,
    bodies.AgentList,
    bodies.SessionList,
    bodies.ApprovalList,
    bodies.DoubtList,
    bodies.LetterList,
    bodies.EventPage,
    bodies.CheckpointList,
    Changes,
    Restored,
    bodies.Waited,
    bodies.Decided,
    bodies.DecidedAll,
    bodies.Stopped,
    bodies.Done,
    problems.Problem,
)

_ERRORS = {
    400: "The request is malformed.",
    401: "No known bearer token.",
    403: "A web page of that origin may not call, or the token lacks the scope.",
    404: "There is no such thing.",
    409: "It cannot be done now.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    421: "The server does not answer for that host.",
    422: "The request does not fit.",
    429: "Too many requests, or too many wrong tokens.",
    423: "Another process is writing this session.",
    500: "The server made a mistake, or a configuration file is wrong.",
    502: "The model call failed.",
    503: "The disk refused, the server is stopping, or it holds as many large bodies as it can.",
}
_ALWAYS = (403, 421, 429, 500)
_READING = (400, 413, 415, 422)


def returns(
    kind: type[Any], description: str, example: Json = None, status: int = 200
) -> Responses:
    """An entry for a route's `responses`."""
    content: Spec = {"schema": {"$ref": _REF + kind.__name__}}
    if example is not None:
        content["example"] = example
    return {status: {"description": description, "content": {"application/json": content}}}


def fails(*statuses: int) -> Responses:
    return {status: _problem(status) for status in statuses}


def takes(kind: type[Any], example: Json, *, required: bool = False) -> Spec:
    """A route's `openapi_extra`, for one that reads a body."""
    content = {"schema": {"$ref": _REF + kind.__name__}, "example": example}
    body = {"required": required, "content": {"application/json": content}}
    return {"requestBody": body}


def install(app: App) -> None:
    """Serve the document. It is built when it is first asked for, and kept as bytes."""
    built = b""

    async def openapi(request: Request) -> Response:
        nonlocal built
        built = built or msgspec.json.encode(document(app))
        return Response(built, media_type="application/json")

    app.router.routes.append(Route("/openapi.json", openapi))


def document(app: App) -> Spec:
    paths: dict[str, Spec] = {}
    for operation in app.operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    _, schemas = msgspec.json.schema_components(_RECORDS, ref_template=_REF + "{name}")
    either = [{"required": ["text"]}, {"required": ["parts"]}]
    schemas["PostMessage"]["oneOf"] = either  # which the type system cannot say
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Perdure",
            "summary": "A durable, self-hosted runtime for personal AI agents.",
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
            "version": perdure.__version__,
        },
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "tags": TAGS,
    }


def _operation(route: Operation) -> Spec:
    name = route.handler.__name__
    made: Spec = {
        "tags": route.tags,
        "summary": name.replace("_", " ").title(),
        "description": inspect.cleandoc(route.handler.__doc__ or ""),
        "operationId": name,
        **route.openapi_extra,
    }
    if route.taken.parameters:
        made["parameters"] = [one.document() for one in route.taken.parameters]
    answers: dict[int, Spec] = {route.status_code: {"description": route.response_description}}
    answers |= route.responses
    wanted = [*_ALWAYS, *(_READING if "requestBody" in made else ())]
    if route.path not in OPEN_PATHS:
        wanted.append(401)
        made["security"] = [{"token": []}]
    if any(one.rule.place != "path" for one in route.taken.parameters):
        wanted.append(422)
    answers |= {status: _problem(status) for status in wanted}
    made["responses"] = {str(status): answers[status] for status in sorted(answers)}
    return made


def _problem(status: int) -> Spec:
    return {
        "description": _ERRORS[status],
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": _REF + "Problem"}}},
    }
