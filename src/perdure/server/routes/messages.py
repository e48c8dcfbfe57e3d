from __future__ import annotations

from typing import Annotated

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from perdure.kernel.events import Json, Part, SessionId, Text
from perdure.runtime.views import Accepted, OpenApproval, TurnOutcome

from .. import bodies
from ..api import RuntimeApi
from ..bodies import answer, read
from ..documents import fails, returns, takes
from ..grants import current
from ..intake import free
from ..parameters import Header, Query
from ..problems import Fault, Refusal
from ..routing import App
from ..settings import ServerSettings
from ..site import Site
from ..stream import left
from ..waiting import settle
from .params import API, Session

LONGEST_WAIT = 3_600.0
ACCEPTED: dict[str, Json] = {
    "message": "m_01kazh2v6e8m9qrt",
    "seq": 12,
    "duplicate": False,
    "held": "",
}
WAITED: dict[str, Json] = {
    "message": "m_01kazh2v6e8m9qrt",
    "turn": "t_01kazh2v6e8m9qrv",
    "reason": "done",
    "text": "Your downloads are sorted by type.",
    "error": "",
    "cost_usd": 0.0041,
    "approvals": [],
}


def add(app: App, runtime: RuntimeApi, settings: ServerSettings, site: Site) -> None:
    @app.post(
        f"{API}/sessions/{{id}}/messages",
        status_code=202,
        tags=["messages"],
        responses=returns(Accepted, "It is on disk and will be answered.", ACCEPTED, 202)
        | returns(bodies.Waited, "With `wait`: what came of it.", WAITED)
        | fails(404, 409, 423, 503),
        openapi_extra=takes(
            bodies.PostMessage, {"text": "Tidy this folder.", "mode": "steer"}, required=True
        ),
    )
    async def post_message(
        id: Session,
        request: Request,
        wait: Annotated[
            float,
            Query(
                ge=0,
                le=LONGEST_WAIT,
                description="Answer only when the turn that took the message has ended, waits for "
                "an approval, or so many seconds have passed (then with 202; at once when the session is "
                "held and this message does not let it go on: `held` says why).",
            ),
        ] = 0.0,
        key: Annotated[
            str,
            Header(
                alias="Idempotency-Key",
                max_length=255,
                pattern=r"^[\x20-\x7e]*$",
                description="Your own id for this message: sent twice, it counts once.",
            ),
        ] = "",
    ) -> Response:
        """Say something. While a turn runs, `mode` says what it does to it: `steer` enters it at the
        next step, `queue` waits for its end, `interrupt` breaks into it."""
        body = await read(request, bodies.PostMessage, settings.max_body)
        session = SessionId(id)
        parts = await _parts(runtime, session, body)
        accepted = await runtime.submit(
            session,
            parts,
            mode=body.mode,
            source="api",
            sender=body.sender,
            deliver=body.deliver,
            key=key,
        )
        if not wait or accepted.held:
            return answer(accepted, 202)
        del body, parts
        free(request.scope)
        settled = await settle(
            runtime,
            session,
            accepted,
            wait,
            give_up=(left(request.receive), site.stopping.wait(), site.revoked(current().id)),
        )
        if settled is None:
            return answer(accepted, 202)
        return answer(_waited(accepted, settled))


async def _parts(
    runtime: RuntimeApi, session: SessionId, body: bodies.PostMessage
) -> tuple[Part, ...]:
    if body.text is not UNSET and body.parts is UNSET:
        return (Text(text=body.text),)
    if body.text is not UNSET or body.parts is UNSET:
        what = "Expected either `text` or `parts`"
        fault = Fault(where="body", what=what)
        raise Refusal(422, "invalid_input", what, errors=(fault,))
    await runtime.session(session)  # so that no image is stored for a session there is not
    return tuple(
        [
            Text(text=part.text)
            if isinstance(part, bodies.TextPart)
            else await runtime.store_image(session, part.media_type, part.data)
            for part in body.parts
        ]
    )


def _waited(accepted: Accepted, settled: TurnOutcome | tuple[OpenApproval, ...]) -> bodies.Waited:
    if isinstance(settled, TurnOutcome):
        return bodies.Waited(
            message=settled.message,
            turn=settled.turn,
            reason=settled.reason,
            text=settled.text,
            error=settled.error,
            cost_usd=settled.cost_usd,
        )
    return bodies.Waited(message=accepted.message, reason="approval", approvals=settled)
