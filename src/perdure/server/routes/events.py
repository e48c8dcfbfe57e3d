from __future__ import annotations

from typing import Annotated

from starlette.requests import Request
from starlette.responses import Response

from perdure.kernel.events import Json, SessionId

from .. import bodies
from ..api import RuntimeApi
from ..bodies import answer
from ..documents import fails, returns
from ..parameters import Header, Query
from ..routing import App
from ..site import Site
from ..stream import EventStream
from .params import API, After, Session

PAGE: dict[str, Json] = {
    "events": [
        {
            "seq": 1,
            "at": "2026-11-21T10:00:00Z",
            "event": {
                "type": "session_started",
                "session": "s_01kazh2v6e8m9qrt",
                "agent": "main",
                "workdir": "/home/me",
            },
        }
    ],
    "last": 1,
    "more": False,
}
EVENT: dict[str, Json] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "The record's sequence number; deltas have none."},
        "event": {"type": "string", "description": "The record's type, or `delta`."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "A Record, or one of the deltas.",
        },
        "retry": {"type": "integer"},
    },
}
STREAM = """\
retry: 1000

id: 7
event: message_received
data: {"seq":7,"at":"2026-11-21T10:00:00Z","event":{"type":"message_received","message":"m_1","parts":[]}}

event: delta
data: {"type":"text_delta","request":"r_1","text":"Hel"}

"""


def add(app: App, runtime: RuntimeApi, site: Site) -> None:
    responses = returns(bodies.EventPage, "A page of records, or a stream of them.", PAGE)
    responses[200]["content"]["text/event-stream"] = {
        "itemSchema": EVENT,
        "example": STREAM,
    }

    @app.get(
        f"{API}/sessions/{{id}}/events",
        tags=["events"],
        responses=responses | fails(404, 409, 422, 423, 503),
    )
    async def list_events(
        id: Session,
        request: Request,
        after: After = 0,
        limit: Annotated[int, Query(ge=1, le=1_000, description="Of a page.")] = 500,
        follow: Annotated[
            bool | None,
            Query(
                description="true: a stream that goes on live, also without the Accept header. "
                "false: a stream that ends with what there is."
            ),
        ] = None,
        last_event_id: Annotated[
            str,
            Header(
                alias="Last-Event-ID",
                pattern=r"^[0-9]{0,15}$",
                description="Counts more than `after`: sent by clients that reconnect.",
            ),
        ] = "",
    ) -> Response:
        """What happened, record by record.

        With `Accept: text/event-stream` it is a stream: each record is an event with its sequence
        number as id and its type as name; live pieces of what is still running come between them as
        `delta` events without id. Whoever reconnects with the id seen last misses and repeats no
        record."""
        session = SessionId(id)
        if last_event_id:
            after = int(last_event_id)
        if follow or "text/event-stream" in request.headers.get("accept", ""):
            await runtime.session(session)  # an unknown one must be a 404, not an empty stream
            return EventStream(site.streams, session, after, follow=follow is not False)
        # One more than asked for tells whether there are more.
        found = await runtime.records(session, after, limit + 1)
        page = tuple(found[:limit])
        last = page[-1].seq if page else after
        return answer(bodies.EventPage(events=page, last=last, more=len(found) > limit))
