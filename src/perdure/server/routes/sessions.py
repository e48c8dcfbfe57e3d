from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from perdure.kernel.errors import ConfigError, NotFound
from perdure.kernel.events import ArtifactId, Json, SessionId
from perdure.runtime.views import SessionView

from .. import bodies
from ..api import RuntimeApi
from ..bodies import answer, read
from ..documents import fails, returns, takes
from ..parameters import Query
from ..problems import Fault, Refusal
from ..routing import App, Responses
from ..settings import ServerSettings
from .params import API, SESSION, Artifact, Session

EXAMPLE: dict[str, Json] = {
    "id": "s_01kazh2v6e8m9qrt",
    "agent": "main",
    "title": "Tidy my downloads",
    "workdir": "/home/me/Downloads",
    "model": "anthropic/claude-sonnet-5-5",
    "created": "2026-11-21T10:00:00Z",
    "updated": "2026-11-21T10:01:30Z",
    "seq": 42,
    "status": "idle",
    "messages": 2,
    "turns": 2,
    "cost_usd": 0.0123,
    "unpriced": False,
    "usage": {"input": 5120, "cache_read": 4096, "output": 310},
    "parent": None,
    "error": "",
}
CONTEXT: Responses = {
    200: {
        "description": "What a model call contained, and why.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}
BYTES: Responses = {
    200: {
        "description": "The bytes asked for.",
        "headers": {
            "X-Artifact-Size": {
                "description": "Size of the whole artifact in bytes.",
                "schema": {"type": "integer"},
            }
        },
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}
PIECE = 256 * 1024
"""Bytes of an artifact read at a time."""
_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".log": "text/plain; charset=utf-8",
    ".diff": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}
"""Nothing a browser would run: artifacts hold what tools and strangers wrote."""


def add(app: App, runtime: RuntimeApi, settings: ServerSettings) -> None:
    @app.post(
        f"{API}/sessions",
        status_code=201,
        tags=["sessions"],
        responses=returns(SessionView, "The new session.", EXAMPLE, 201) | fails(404, 409, 503),
        openapi_extra=takes(bodies.CreateSession, {"agent": "main", "workdir": "/home/me"}),
    )
    async def create_session(request: Request) -> Response:
        """Start a conversation."""
        body = await read(request, bodies.CreateSession, settings.max_body)
        with _asked_for(body.model):
            view = await runtime.create_session(
                agent=body.agent, workdir=body.workdir, title=body.title, model=body.model
            )
        return _created(view)

    @app.get(
        f"{API}/sessions",
        tags=["sessions"],
        responses=returns(
            bodies.SessionList, "A page of sessions.", {"sessions": [EXAMPLE], "before": None}
        )
        | fails(404, 422),
    )
    async def list_sessions(
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        before: Annotated[
            str | None,
            Query(
                pattern=SESSION,
                description="The `before` of the page before.",
            ),
        ] = None,
        agent: Annotated[
            str | None,
            Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$", description="Only this agent's."),
        ] = None,
    ) -> Response:
        """Newest first."""
        found = await runtime.sessions(limit=limit, before=before, agent=agent)
        following = found[-1].id if len(found) >= limit else None
        return answer(bodies.SessionList(sessions=tuple(found), before=following))

    @app.get(
        f"{API}/sessions/{{id}}",
        tags=["sessions"],
        responses=returns(SessionView, "The session.", EXAMPLE) | fails(404, 409, 423),
    )
    async def show_session(id: Session) -> Response:
        """One session, as it is now."""
        return answer(await runtime.session(SessionId(id)))

    @app.patch(
        f"{API}/sessions/{{id}}",
        tags=["sessions"],
        responses=returns(SessionView, "The session.", EXAMPLE) | fails(404, 409, 423, 503),
        openapi_extra=takes(bodies.ChangeSession, {"title": "Tidy up", "model": ""}),
    )
    async def change_session(id: Session, request: Request) -> Response:
        """Give it another title, or another model from its next turn on."""
        body = await read(request, bodies.ChangeSession, settings.max_body)
        model = None if body.model is UNSET else body.model
        title = None if body.title is UNSET else body.title
        with _asked_for(model or ""):
            view = await runtime.configure(SessionId(id), model=model, title=title)
        return answer(view)

    @app.delete(
        f"{API}/sessions/{{id}}",
        status_code=204,
        tags=["sessions"],
        response_description="It is gone.",
        responses=fails(404, 409, 423, 503),
    )
    async def delete_session(id: Session) -> Response:
        """Stop it and remove all its files. There is no way back."""
        await runtime.delete(SessionId(id))
        return Response(status_code=204)

    @app.post(
        f"{API}/sessions/{{id}}/fork",
        status_code=201,
        tags=["sessions"],
        responses=returns(SessionView, "The new session.", EXAMPLE, 201)
        | fails(404, 409, 423, 503),
        openapi_extra=takes(bodies.ForkSession, {"at": 17}),
    )
    async def fork_session(id: Session, request: Request) -> Response:
        """A new session that shares this one's history up to a record."""
        body = await read(request, bodies.ForkSession, settings.max_body)
        at = None if body.at is None else int(body.at)
        return _created(await runtime.fork(SessionId(id), at))

    @app.post(
        f"{API}/sessions/{{id}}/stop",
        tags=["sessions"],
        responses=returns(bodies.Stopped, "Whether a turn was running.", {"stopped": True})
        | fails(404, 409, 423, 503),
        openapi_extra=takes(bodies.Stop, {"reason": "wrong folder"}),
    )
    async def stop_session(id: Session, request: Request) -> Response:
        """Stop the running turn: its model stream is closed, its commands are killed."""
        body = await read(request, bodies.Stop, settings.max_body)
        stopped = await runtime.stop(SessionId(id), by="api", reason=body.reason)
        return answer(bodies.Stopped(stopped=stopped))

    @app.post(
        f"{API}/sessions/{{id}}/compact",
        status_code=202,
        tags=["sessions"],
        responses=returns(bodies.Done, "It will be done next.", {"accepted": True}, 202)
        | fails(404, 409, 423, 503),
        openapi_extra=takes(bodies.Compact, {"focus": "the decisions about the database"}),
    )
    async def compact_session(id: Session, request: Request) -> Response:
        """Summarise the older part of the context. Nothing of the history is lost."""
        body = await read(request, bodies.Compact, settings.max_body)
        await runtime.compact(SessionId(id), body.focus)
        return answer(bodies.Done(), 202)

    @app.get(
        f"{API}/sessions/{{id}}/context",
        tags=["sessions"],
        responses=CONTEXT | fails(404, 409, 422, 423),
    )
    async def show_context(
        id: Session,
        request: Annotated[
            str | None,
            Query(
                pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$",
                description="Id of a model request; the last one, when left out.",
            ),
        ] = None,
    ) -> Response:
        """What went into a model call."""
        return answer(await runtime.context(SessionId(id), request))

    @app.get(
        f"{API}/sessions/{{id}}/artifacts/{{artifact}}",
        tags=["sessions"],
        responses=BYTES | fails(404, 422),
    )
    async def read_artifact(
        id: Session,
        artifact: Artifact,
        offset: Annotated[int, Query(ge=0, le=2**53, description="First byte.")] = 0,
        limit: Annotated[int, Query(ge=1, le=2**53, description="At most so many bytes.")] = 2**53,
    ) -> Response:
        """A long output, an image, or another file a session kept."""
        path = await runtime.artifact_path(SessionId(id), ArtifactId(artifact))
        try:
            size = (await asyncio.to_thread(path.stat)).st_size
        except OSError:
            raise NotFound(f"there is no artifact {artifact} in session {id}") from None
        count = max(0, min(limit, size - offset))
        return StreamingResponse(
            _pieces(path, offset, count),
            headers={
                "Content-Length": str(count),
                "Content-Security-Policy": "sandbox; default-src 'none'",
                "X-Artifact-Size": str(size),
                "X-Content-Type-Options": "nosniff",
            },
            media_type=_TYPES.get(path.suffix, "application/octet-stream"),
        )


@contextlib.contextmanager
def _asked_for(model: str) -> Iterator[None]:
    """A model that cannot be used is the fault of the request that named it, not of the workspace's
    files: those name themselves in their errors, and so does a script."""
    try:
        yield
    except ConfigError as error:
        if not model or (error.file and not model.startswith("script:")):
            raise
        fault = Fault(where="body.model", what=error.message)
        raise Refusal(
            422, "invalid_input", f"body.model: {error.message}", hint=error.hint, errors=(fault,)
        ) from None


def _created(view: SessionView) -> Response:
    response = answer(view, 201)
    response.headers["Location"] = f"{API}/sessions/{view.id}"
    return response


async def _pieces(path: Path, offset: int, count: int) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        file.seek(offset)
        while count > 0 and (piece := await asyncio.to_thread(file.read, min(PIECE, count))):
            count -= len(piece)
            yield piece
    finally:
        file.close()
