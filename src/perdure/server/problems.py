"""Every error of the API is an `application/problem+json` (RFC 9457), made here and nowhere else."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from perdure.kernel.errors import (
    ConfigError,
    Conflict,
    Damaged,
    InvalidInput,
    Locked,
    ModelError,
    NotFound,
    PerdureError,
    StorageError,
)

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

log = logging.getLogger("perdure.server")

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:perdure:problem:"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a request."""

    where: str
    """`path.id`, `query.limit`, `header.Last-Event-ID`, `body.parts[0].data`."""
    what: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong, for a program (`code`) and a person (`detail`, `hint`)."""

    type: str
    title: str
    status: int
    detail: str = ""
    code: str = ""
    hint: str = ""
    """What to do about it."""
    errors: tuple[Fault, ...] = ()


_REGEX = re.compile(r"`str` matching regex (['\"]).*\1", re.DOTALL)
_FORMS = {
    r"\S": "some text, not only blanks",
    r"\x00": "text without NUL bytes",
    r"\x20-\x7e": "printable ASCII text",
    r"[0-9]{0,15}": "a number",
    "a-zA-Z0-9": "a name or id: letters, digits, `_` and `-`",
}


def in_words(what: str) -> str:
    """What msgspec says, without the patterns it compares with."""

    def words(found: re.Match[str]) -> str:
        pattern = found.group().replace("\\\\", "\\")
        known = (text for part, text in _FORMS.items() if part in pattern)
        return next(known, _FORMS["a-zA-Z0-9"])

    return _REGEX.sub(words, what)


class Refusal(Exception):
    """A request that HTTP itself refuses: too large, wrong media type, not authorised …"""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        hint: str = "",
        errors: tuple[Fault, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.hint, self.errors, self.headers = hint, errors, headers


# Subclasses before their bases: the first that fits counts.
_STATUS: tuple[tuple[type[PerdureError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (InvalidInput, 422),
    (ConfigError, 500),
    (Damaged, 409),
    (Locked, 423),
    (StorageError, 503),
    (ModelError, 502),
    (PerdureError, 500),
)


def respond(
    status: int,
    code: str,
    detail: str = "",
    *,
    hint: str = "",
    errors: tuple[Fault, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    problem = Problem(
        type=TYPE_PREFIX + code,
        title=_title(status),
        status=status,
        detail=_clean(detail),
        code=code,
        hint=_clean(hint),
        errors=tuple(Fault(where=_clean(e.where), what=_clean(e.what)) for e in errors),
    )
    return Response(
        msgspec.json.encode(problem),
        status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def of_error(error: PerdureError) -> Response:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    if status >= 500:
        log.warning("%s: %s", type(error).__name__, error)
    headers = {"Retry-After": "5"} if status in (423, 503) else None
    return respond(status, error.code, error.args[0], hint=error.hint, headers=headers)


def of_refusal(refusal: Refusal) -> Response:
    return respond(
        refusal.status,
        refusal.code,
        refusal.detail,
        hint=refusal.hint,
        errors=refusal.errors,
        headers=refusal.headers,
    )


def of_defect(error: Exception) -> Response:
    """A mistake of ours: the log has the trace, the caller its reference and nothing else."""
    reference = secrets.token_hex(4)
    log.error("internal error %s", reference, exc_info=error)
    return respond(
        500,
        "internal",
        f"The server made a mistake (reference {reference}).",
        hint="The server's log has the details under this reference.",
    )


def install(app: Starlette) -> None:
    """Make Starlette's own errors problems as well."""
    from starlette.exceptions import HTTPException

    async def perdure(request: Request, error: Exception) -> Response:
        assert isinstance(error, PerdureError)
        return of_error(error)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return of_refusal(error)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http")
        detail = {
            404: f"There is nothing at {request.url.path}.",
            405: f"{request.method} is not possible at {request.url.path}.",
        }.get(error.status_code, str(error.detail))
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_allowed(app.routes, request.url.path))
        return respond(error.status_code, code, detail, headers=headers)

    async def defect(request: Request, error: Exception) -> Response:
        return of_defect(error)

    app.add_exception_handler(PerdureError, perdure)
    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, defect)


def _allowed(routes: Sequence[BaseRoute], path: str) -> list[str]:
    """All methods of a path. Starlette names only those of the first route that has it."""
    matching = [r for r in routes if isinstance(r, Route) and r.path_regex.match(path)]
    return sorted({method for route in matching for method in route.methods or ()})


def summary(faults: Sequence[Fault]) -> str:
    """In one line."""
    return "; ".join(f"{fault.where}: {fault.what}" for fault in faults[:3])


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _clean(text: str) -> str:
    """What a caller sent may be quoted: the codec takes no lone surrogates."""
    return text.encode("utf-8", "replace").decode()
