from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from perdure.kernel.events import Json, SessionId
from perdure.runtime.views import Accepted, SessionView

from .. import bodies
from ..api import RuntimeApi
from ..bodies import answer, read
from ..documents import fails, returns, takes
from ..routing import App
from ..settings import ServerSettings
from .params import API, Session
from .sessions import EXAMPLE as SESSION

EXAMPLE: dict[str, Json] = {
    "doubts": [
        {
            "session": "s_01kazh2v6e8m9qrt",
            "key": "s_01kazh2v6e8m9qrt.12.toolu_01",
            "tool": "send_mail",
            "arguments": {"to": "mum@example.org"},
            "at": "2026-11-21T10:00:00Z",
        }
    ]
}


def add(app: App, runtime: RuntimeApi, settings: ServerSettings) -> None:
    @app.get(
        f"{API}/sessions/{{id}}/doubts",
        tags=["doubts"],
        responses=returns(bodies.DoubtList, "Those that nobody has settled.", EXAMPLE)
        | fails(404, 409, 423),
    )
    async def list_doubts(id: Session) -> Response:
        """Calls that were under way when the process died, and may or may not have happened."""
        return answer(bodies.DoubtList(doubts=tuple(await runtime.doubts(SessionId(id)))))

    @app.post(
        f"{API}/sessions/{{id}}/doubts",
        status_code=202,
        tags=["doubts"],
        responses=returns(
            Accepted, "The agent will be told.", {"message": "m_01kazh2v6e8m9qrt", "seq": 40}, 202
        )
        | fails(404, 409, 423, 503),
        openapi_extra=takes(
            bodies.SettleDoubt,
            {"key": "s_01kazh2v6e8m9qrt.12.toolu_01", "answer": "happened"},
            required=True,
        ),
    )
    async def settle_doubt(id: Session, request: Request) -> Response:
        """Say what became of it: it happened, or it is to be done again."""
        body = await read(request, bodies.SettleDoubt, settings.max_body)
        accepted = await runtime.settle(SessionId(id), body.key, body.answer, by="api")
        return answer(accepted, 202)

    @app.post(
        f"{API}/sessions/{{id}}/resume",
        tags=["sessions"],
        responses=returns(SessionView, "It goes on.", SESSION) | fails(404, 409, 423, 503),
    )
    async def resume_session(id: Session) -> Response:
        """Let a session go on that is held: the process died twice at it, or it was restored."""
        return answer(await runtime.resume(SessionId(id)))
