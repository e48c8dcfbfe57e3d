"""The terminal's own small client of the HTTP API. Every failure comes out as a PerdureError or a
Problem that a person can act on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from perdure.cli.problems import SERVER, Problem
from perdure.cli.sse import events_of
from perdure.cli.view.answers import Given
from perdure.cli.view.story import OWN_SENDER
from perdure.kernel.errors import ConfigError, Conflict, InvalidInput, NotFound, PerdureError
from perdure.kernel.events import (
    AnyDelta,
    ApprovalAnswer,
    ApprovalId,
    ApprovalScope,
    Json,
    MessageMode,
    Record,
    SessionId,
)
from perdure.outbox import Letter
from perdure.runtime.views import (
    Accepted,
    AgentView,
    OpenApproval,
    OpenDoubt,
    ReloadReport,
    RuntimeStatus,
    SessionView,
    SpendingView,
)

if TYPE_CHECKING:
    import aiohttp

    from perdure.checkpoints import Changes, Checkpoint, Restored

T = TypeVar("T")
_records = msgspec.json.Decoder(Record)
_deltas = msgspec.json.Decoder(AnyDelta)
PAGE = 500
"""Records asked for at a time."""


class Disconnected(PerdureError):
    """The server cannot be reached."""

    code = "disconnected"

    def __init__(self, message: str = "", *, hint: str = "", sent: bool = True) -> None:
        super().__init__(message, hint=hint)
        self.sent = sent
        """False: the request surely never reached the server."""


class Connected:
    """The server follows the session for us from now on."""

    __slots__ = ()


class EventsPage(msgspec.Struct, frozen=True, kw_only=True):
    events: tuple[Record, ...]
    last: int = 0
    """Sequence number of the last record of the session, or of the page."""


class Waited(msgspec.Struct, frozen=True, kw_only=True):
    """What a long-polled message came to. `reason` is a TurnEndReason, or `approval`, or `pending`
    when the time ran out."""

    message: str = ""
    turn: str = ""
    reason: str = "pending"
    text: str = ""
    error: str = ""
    cost_usd: float = 0.0
    approvals: tuple[OpenApproval, ...] = ()


class _ProblemBody(msgspec.Struct, kw_only=True):
    title: str = ""
    detail: str = ""
    code: str = ""
    hint: str = ""


class Client:
    """One connection pool to one server. Use as an async context manager."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        import aiohttp

        self._http = aiohttp.ClientSession(
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    # Agents and sessions ----------------------------------------------------------------------

    async def agents(self) -> list[AgentView]:
        return _list(await self._call("GET", "/agents"), "agents", AgentView)

    async def create_session(
        self,
        *,
        agent: str | None = None,
        workdir: str | None = None,
        title: str = "",
        model: str = "",
    ) -> SessionView:
        body = {"agent": agent, "workdir": workdir, "title": title, "model": model}
        return _one(await self._call("POST", "/sessions", body=_filled(body)), SessionView)

    async def sessions(
        self, *, limit: int = 50, before: str | None = None, agent: str | None = None
    ) -> list[SessionView]:
        query = _filled({"limit": str(limit), "before": before, "agent": agent})
        return _list(await self._call("GET", "/sessions", query=query), "sessions", SessionView)

    async def session(self, session: str) -> SessionView:
        return _one(await self._call("GET", f"/sessions/{session}"), SessionView)

    async def configure(
        self, session: str, *, model: str | None = None, title: str | None = None
    ) -> SessionView:
        body = {k: v for k, v in (("model", model), ("title", title)) if v is not None}
        return _one(await self._call("PATCH", f"/sessions/{session}", body=body), SessionView)

    async def delete(self, session: str) -> None:
        await self._call("DELETE", f"/sessions/{session}")

    async def fork(self, session: str, at: int | None = None) -> SessionView:
        body = {} if at is None else {"at": at}
        return _one(await self._call("POST", f"/sessions/{session}/fork", body=body), SessionView)

    async def stop(self, session: str, reason: str = "") -> bool:
        """False when no turn was running."""
        data = await self._call("POST", f"/sessions/{session}/stop", body={"reason": reason})
        return bool(_one(data, dict[str, bool]).get("stopped", True))

    async def compact(self, session: str, focus: str = "") -> None:
        await self._call("POST", f"/sessions/{session}/compact", body={"focus": focus})

    async def context(self, session: str, request: str | None = None) -> dict[str, Json]:
        query = _filled({"request": request})
        return _one(await self._call("GET", f"/sessions/{session}/context", query=query), dict)

    async def artifact(self, session: str, artifact: str, *, limit: int) -> bytes:
        return await self._call(
            "GET", f"/sessions/{session}/artifacts/{artifact}", query={"limit": str(limit)}
        )

    # Messages and events ----------------------------------------------------------------------

    async def send(
        self,
        session: str,
        parts: Sequence[Mapping[str, str]],
        *,
        mode: MessageMode = "steer",
        key: str = "",
        deliver: str = "",
    ) -> Accepted:
        body = {"parts": list(parts), "mode": mode, "sender": OWN_SENDER}
        data = await self._call(
            "POST",
            f"/sessions/{session}/messages",
            body=body | {"deliver": deliver} if deliver else body,
            headers={"Idempotency-Key": key} if key else None,
        )
        return _one(data, Accepted)

    async def page(self, session: str, after: int = 0, limit: int = PAGE) -> EventsPage:
        data = await self._call(
            "GET",
            f"/sessions/{session}/events",
            query={"after": str(after), "limit": str(limit)},
            headers={"Accept": "application/json"},
        )
        return _one(data, EventsPage)

    async def records(self, session: str, after: int = 0) -> AsyncIterator[Record]:
        """All records after `after`, page by page."""
        while True:
            page = await self.page(session, after)
            for record in page.events:
                yield record
            if not page.events:
                return
            after = page.events[-1].seq

    async def follow(
        self, session: str, after: int = 0
    ) -> AsyncIterator[Record | AnyDelta | Connected]:
        """History after `after`, then what happens, until the connection ends: raises Disconnected
        then, always. Deltas of unknown type are skipped."""
        import aiohttp

        url = f"{self.url}/api/v1/sessions/{session}/events"
        try:
            async with self._session.get(
                url,
                params={"after": str(after), "follow": "true"},
                headers={"Accept": "text/event-stream"},
            ) as response:
                if response.status >= 400:
                    raise _error(response.status, await response.read())
                yield Connected()
                async for kind, data in events_of(response.content.iter_any()):
                    if kind == "delta":
                        try:
                            yield _deltas.decode(data)
                        except msgspec.ValidationError:
                            continue
                    elif kind not in ("", "reset"):
                        yield _records.decode(data)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Disconnected(f"the connection to the server was lost ({_brief(error)})") from None
        raise Disconnected("the server closed the connection")

    # Approvals ----------------------------------------------------------------------------------

    async def approvals(self, session: str | None = None) -> list[OpenApproval]:
        path = f"/sessions/{session}/approvals" if session else "/approvals"
        return _list(await self._call("GET", path), "approvals", OpenApproval)

    async def decide(
        self,
        session: SessionId | str,
        approval: ApprovalId | str,
        answer: ApprovalAnswer,
        scope: ApprovalScope = "once",
        note: str = "",
    ) -> None:
        await self._call(
            "POST",
            f"/sessions/{session}/approvals/{approval}",
            body={"answer": answer, "scope": scope, "note": note},
        )

    async def decide_all(self, session: SessionId | str, answers: Sequence[Given]) -> None:
        """All of these count, or none."""
        await self._call(
            "POST",
            f"/sessions/{session}/approvals",
            body={
                "answers": [
                    {"approval": a.approval, "answer": a.answer, "scope": a.scope, "note": a.note}
                    for a in answers
                ]
            },
        )

    # Doubts -------------------------------------------------------------------------------------

    async def doubts(self, session: str) -> list[OpenDoubt]:
        return _list(await self._call("GET", f"/sessions/{session}/doubts"), "doubts", OpenDoubt)

    async def settle(self, session: str, key: str, answer: str) -> Accepted:
        body = {"key": key, "answer": answer}
        return _one(await self._call("POST", f"/sessions/{session}/doubts", body=body), Accepted)

    async def spending(self) -> SpendingView:
        return _one(await self._call("GET", "/budget"), SpendingView)

    async def letters(self) -> list[Letter]:
        return _list(await self._call("GET", "/outbox"), "letters", Letter)

    async def redeliver(self, delivery: str) -> None:
        await self._call("POST", f"/outbox/{delivery}/retry")

    async def resume(self, session: str) -> SessionView:
        return _one(await self._call("POST", f"/sessions/{session}/resume"), SessionView)

    # Checkpoints --------------------------------------------------------------------------------

    async def checkpoints(self, session: str) -> list[Checkpoint]:
        from perdure.checkpoints import Checkpoint

        data = await self._call("GET", f"/sessions/{session}/checkpoints")
        return _list(data, "checkpoints", Checkpoint)

    async def checkpoint_changes(self, session: str, checkpoint: str) -> Changes:
        from perdure.checkpoints import Changes

        path = f"/sessions/{session}/checkpoints/{checkpoint}/changes"
        return _one(await self._call("GET", path), Changes)

    async def restore_checkpoint(self, session: str, checkpoint: str) -> Restored:
        from perdure.checkpoints import Restored

        path = f"/sessions/{session}/checkpoints/{checkpoint}/restore"
        return _one(await self._call("POST", path), Restored)

    # The server itself --------------------------------------------------------------------------

    async def status(self) -> RuntimeStatus:
        return _one(await self._call("GET", "/admin/status"), RuntimeStatus)

    async def reload(self) -> ReloadReport:
        return _one(await self._call("POST", "/admin/reload"), ReloadReport)

    async def shutdown(self) -> None:
        await self._call("POST", "/admin/shutdown")

    # ----------------------------------------------------------------------------------------------

    @property
    def _session(self) -> aiohttp.ClientSession:
        assert self._http is not None, "use `async with Client(…)`"
        return self._http

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        import aiohttp

        sent = dict(headers or {})
        data: bytes | None = None
        if body is not None:
            data = msgspec.json.encode(body)
            sent["Content-Type"] = "application/json"
        url = f"{self.url}/api/v1{path}"
        try:
            async with self._session.request(
                method, url, data=data, params=query, headers=sent
            ) as response:
                answer = await response.read()
                if response.status >= 400:
                    raise _error(response.status, answer)
                return answer
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Disconnected(
                f"the server at {self.url} does not answer ({_brief(error)})",
                hint="See: perdure serve status",
                sent=not isinstance(error, aiohttp.ClientConnectorError),
            ) from None


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, "")}


def _one(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise Problem(
            f"the server's answer was not understood ({error}).",
            hint="Server and command may be of different versions: perdure serve stop",
            code=SERVER,
        ) from None


def _list(data: bytes, key: str, kind: type[T]) -> list[T]:
    envelope = _one(data, dict[str, msgspec.Raw])
    return _one(bytes(envelope.get(key, b"[]")), list[kind])  # type: ignore[valid-type]


_PART = re.compile(r"(?:^|(?<=; ))(?:body|query|path)\.(?=[\w.\[\]]+: )")
"""Where in a request something is wrong: what a person typed has no such parts."""


def _error(status: int, body: bytes) -> Exception:
    try:
        problem = msgspec.json.decode(body, type=_ProblemBody)
    except msgspec.DecodeError:
        problem = _ProblemBody()
    text = problem.detail or problem.title or f"the server answered HTTP {status}"
    text = _PART.sub("", text)
    if problem.code == ConfigError.code:
        return ConfigError(text, hint=problem.hint)
    if status in (401, 403):
        return Problem(
            f"the server refused: {text}",
            hint=problem.hint or "Its token may have changed: perdure serve stop, then try again.",
            code=SERVER,
        )
    if status == 404:
        return NotFound(text, hint=problem.hint)
    if status == 409:
        return Conflict(text, hint=problem.hint)
    if status < 500:
        return InvalidInput(text, hint=problem.hint)
    return Problem(text, hint=problem.hint or "See: perdure serve status", code=SERVER)


def _brief(error: BaseException) -> str:
    import aiohttp

    if isinstance(error, asyncio.TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or "no connection"
    return type(error).__name__ if not str(error) else str(error).split("\n")[0][:200]
