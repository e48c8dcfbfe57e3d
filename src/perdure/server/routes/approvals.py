from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from perdure.kernel.errors import Conflict, NotFound
from perdure.kernel.events import ApprovalId, ApprovalRequested, Json, SessionId

from .. import bodies
from ..api import RuntimeApi
from ..bodies import answer, read
from ..documents import fails, returns, takes
from ..settings import ServerSettings
from .params import API, Approval, Session

PAGE = 500
EXAMPLE: dict[str, Json] = {
    "approvals": [
        {
            "session": "s_01kazh2v6e8m9qrt",
            "at": "2026-11-21T10:00:00Z",
            "request": {
                "type": "approval_requested",
                "approval": "a_01kazh2v6e8m9qrt",
                "call": "toolu_01",
                "tool": "bash",
                "arguments": {"command": "make test"},
                "reason": "commands ask",
                "preview": "make test",
                "offers": ["once", "session", "always"],
                "rule": "bash: make test",
            },
        }
    ]
}


def add(app: FastAPI, runtime: RuntimeApi, settings: ServerSettings) -> None:
    @app.get(
        f"{API}/approvals",
        tags=["approvals"],
        response_class=Response,
        responses=returns(bodies.ApprovalList, "All that are open.", EXAMPLE),
    )
    async def list_approvals() -> Response:
        """What waits for an answer, in all sessions."""
        return answer(bodies.ApprovalList(approvals=tuple(await runtime.approvals())))

    @app.get(
        f"{API}/sessions/{{id}}/approvals",
        tags=["approvals"],
        response_class=Response,
        responses=returns(bodies.ApprovalList, "Those of the session.", EXAMPLE)
        | fails(404, 409, 423),
    )
    async def list_session_approvals(id: Session) -> Response:
        """What waits for an answer in one session."""
        found = await runtime.approvals(SessionId(id))
        return answer(bodies.ApprovalList(approvals=tuple(found)))

    @app.post(
        f"{API}/sessions/{{id}}/approvals/{{approval}}",
        tags=["approvals"],
        response_class=Response,
        responses=returns(
            bodies.Decided,
            "The answer counts.",
            {"approval": "a_01kazh2v6e8m9qrt", "answer": "allow", "scope": "once"},
        )
        | fails(404, 409, 423, 503),
        openapi_extra=takes(bodies.Decide, {"answer": "allow", "scope": "once"}, required=True),
    )
    async def decide_approval(id: Session, approval: Approval, request: Request) -> Response:
        """Allow or deny. Of two answers the first counts; the second is told so with 409."""
        body = await read(request, bodies.Decide, settings.max_body)
        session, wanted = SessionId(id), ApprovalId(approval)
        try:
            await runtime.decide(session, wanted, body.answer, body.scope, by="api", note=body.note)
        except NotFound as error:
            if await _was_asked(runtime, session, wanted):
                raise Conflict(
                    f"approval {wanted} is no longer open",
                    hint="It was answered before, or its turn has ended.",
                ) from None
            raise error
        return answer(bodies.Decided(approval=wanted, answer=body.answer, scope=body.scope))


async def _was_asked(runtime: RuntimeApi, session: SessionId, approval: ApprovalId) -> bool:
    """Whether the session's history knows this approval. Reads it whole, which only the rare second
    answer costs. Raises NotFound when there is no such session."""
    after = 0
    while page := await runtime.records(session, after, PAGE):
        for record in page:
            event = record.event
            if isinstance(event, ApprovalRequested) and event.approval == approval:
                return True
        after = page[-1].seq
    return False
