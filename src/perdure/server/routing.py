"""The application and its routes: Starlette's, with parameters that are checked before a handler runs and
with all that the OpenAPI document says of them.

FastAPI would do the same. Bodies and answers are msgspec's here, though, and what it brings along for
those of pydantic costs a server at rest an eighth of its memory (docs/decisions).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .parameters import Taken, taken_by

Handler = Callable[..., Awaitable[Response]]
Spec = dict[str, Any]
"""A piece of an OpenAPI document."""
Responses = dict[int, Spec]
"""A route's `responses`: by status."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One route, as the document needs it."""

    method: str
    path: str
    handler: Handler
    taken: Taken
    tags: list[str]
    status_code: int = 200
    response_description: str = "It is done."
    responses: Responses = field(default_factory=dict)
    openapi_extra: Spec = field(default_factory=dict)


class App(Starlette):
    def __init__(self) -> None:
        super().__init__()
        self.router.redirect_slashes = False
        self.operations: list[Operation] = []
        """In the order in which they were added."""

    def get(self, path: str, **says: Any) -> Callable[[Handler], Handler]:
        """`says`: the fields of Operation from `tags` on."""
        return self._adding("GET", path, says)

    def post(self, path: str, **says: Any) -> Callable[[Handler], Handler]:
        return self._adding("POST", path, says)

    def patch(self, path: str, **says: Any) -> Callable[[Handler], Handler]:
        return self._adding("PATCH", path, says)

    def delete(self, path: str, **says: Any) -> Callable[[Handler], Handler]:
        return self._adding("DELETE", path, says)

    def _adding(self, method: str, path: str, says: Spec) -> Callable[[Handler], Handler]:
        def add(handler: Handler) -> Handler:
            taken = taken_by(handler)

            async def endpoint(request: Request) -> Response:
                return await handler(**taken.read(request))

            route = Route(path, endpoint, methods=[method], name=handler.__name__)
            route.methods = {method}  # not HEAD, which Starlette adds to GET
            self.router.routes.append(route)
            self.operations.append(
                Operation(method=method, path=path, handler=handler, taken=taken, **says)
            )
            return handler

        return add
