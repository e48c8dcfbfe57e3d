from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from perdure.kernel.errors import Conflict, NotFound
from perdure.kernel.events import (
    ApprovalDecided,
    ApprovalId,
    ApprovalRequested,
    Json,
    SessionId,
)

from .. import bodies
from ..api import RuntimeApi
from ..bodies import answer, read
from ..documents import fails, returns, takes
from ..grants import current
from ..routing import App
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
                "reason": "it runs a command",
                "preview": "make test",
                "offers": ["once", "session", "always"],
                "rule": "{tool: bash, exactly: 'make test'}",
                "expires": "2026-11-28T10:00:00Z",
            },
        }
    ]
}


def add(app: App, runtime: RuntimeApi, settings: ServerSettings) -> None:
    @app.get(
        f"{API}/approvals",
        tags=["approvals"],
        responses=returns(bodies.ApprovalList, "All that are open.", EXAMPLE),
    )
    async def list_approvals() -> Response:
        """What waits for an answer, in all sessions."""
        return answer(bodies.ApprovalList(approvals=tuple(await runtime.approvals())))

    @app.get(
        f"{API}/sessions/{{id}}/approvals",
        tags=["approvals"],
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
        one = bodies.Answer(
            approval=ApprovalId(approval), answer=body.answer, scope=body.scope, note=body.note
        )
        return answer((await decide(SessionId(id), request, [one]))[0])

    @app.post(
        f"{API}/sessions/{{id}}/approvals",
        tags=["approvals"],
        responses=returns(
            bodies.DecidedAll,
            "All answers count.",
            {"decided": [{"approval": "a_01kazh2v6e8m9qrt", "answer": "allow", "scope": "once"}]},
        )
        | fails(404, 409, 423, 503),
        openapi_extra=takes(
            bodies.DecideAll,
            {"answers": [{"approval": "a_01kazh2v6e8m9qrt", "answer": "allow", "scope": "once"}]},
            required=True,
        ),
    )
    async def decide_approvals(id: Session, request: Request) -> Response:
        """Answer several of a session's approvals: all answers count, or none does."""
        body = await read(request, bodies.DecideAll, settings.max_body)
        decided = await decide(SessionId(id), request, body.answers)
        return answer(bodies.DecidedAll(decided=decided))

    async def decide(
        session: SessionId, request: Request, answers: Sequence[bodies.Answer]
    ) -> tuple[bodies.Decided, ...]:
        # Who answers is told by the token that let them in, never by what they send.
        by = caller()
        given = [
            ApprovalDecided(
                approval=a.approval,
                answer=a.answer,
                scope=a.scope,
                by=by,
                note=a.note,
            )
            for a in answers
        ]
        try:
            await runtime.decide_all(session, given)
        except NotFound as error:
            open_ones = {one.request.approval for one in await runtime.approvals(session)}
            for a in given:
                if a.approval in open_ones:
                    continue
                if not await _was_asked(runtime, session, a.approval):
                    raise error
                raise Conflict(
                    f"approval {a.approval} is no longer open",
                    hint="It was answered before or has expired, or its turn has ended.",
                ) from None
            raise error
        return tuple(
            bodies.Decided(approval=a.approval, answer=a.answer, scope=a.scope) for a in given
        )


def caller() -> str:
    """Whose token it was."""
    return current().name


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
