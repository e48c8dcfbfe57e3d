"""The OpenAPI document: what routes say of themselves, plus the schemas of our records.

Bodies and answers are msgspec records, so their schemas come from msgspec; paths and parameters come
from FastAPI.
"""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

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

Spec = dict[str, Any]
"""A piece of an OpenAPI document, for FastAPI, which types them so."""

Responses = dict[int | str, Spec]
"""A route's `responses`: by status."""

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


def install(app: FastAPI) -> None:
    """Build the document when it is first asked for."""

    def build() -> Spec:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    app.openapi = build  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _build(app: FastAPI) -> Spec:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        license_info=app.license_info,
    )
    for path, operations in document["paths"].items():
        for operation in operations.values():
            answers = operation["responses"]
            wanted = [*_ALWAYS, *(_READING if "requestBody" in operation else ())]
            if path not in OPEN_PATHS:
                wanted.append(401)
                operation["security"] = [{"token": []}]
            if "422" in answers:
                wanted.append(422)  # FastAPI described it in a form of its own
            answers.update((str(status), _problem(status)) for status in wanted)
            operation["responses"] = dict(sorted(answers.items()))
    _, schemas = msgspec.json.schema_components(_RECORDS, ref_template=_REF + "{name}")
    either = [{"required": ["text"]}, {"required": ["parts"]}]
    schemas["PostMessage"]["oneOf"] = either  # which the type system cannot say
    components = document.setdefault("components", {})
    components["schemas"] = dict(sorted(schemas.items()))
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return document


def _problem(status: int) -> Spec:
    return {
        "description": _ERRORS[status],
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": _REF + "Problem"}}},
    }
