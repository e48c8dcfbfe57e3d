"""The runtime as the caller of the present request may use it: every method asks what its token gives.

The routes have this and nothing else, so that no route can forget to ask. What belongs to an agent that a
token is not for does not exist for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Literal

import msgspec

from perdure.checkpoints import Changes, Checkpoint, Restored
from perdure.kernel.errors import Conflict, NotFound
from perdure.kernel.events import (
    AnyDelta,
    ApprovalAnswer,
    ApprovalDecided,
    ApprovalId,
    ApprovalScope,
    ArtifactId,
    DeliveryId,
    Image,
    Json,
    MessageId,
    MessageMode,
    Part,
    Record,
    SessionId,
)
from perdure.kernel.labels import OWNER, Label
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
    TurnOutcome,
)

from .api import RuntimeApi
from .grants import Grant, Scope, need, need_agent
from .problems import Refusal


class Authorized:
    """Implements RuntimeApi over another."""

    def __init__(self, runtime: RuntimeApi) -> None:
        self._runtime = runtime

    async def _may(self, scope: Scope, session: SessionId) -> Grant:
        grant = need(scope)
        if grant.agents is not None:
            need_agent(grant, (await self._runtime.session(session)).agent)
        return grant

    async def create_session(
        self,
        *,
        agent: str | None = None,
        workdir: str | None = None,
        title: str = "",
        model: str = "",
    ) -> SessionView:
        grant = need("chat")
        if grant.agents is not None:
            if agent is None and len(grant.agents) == 1:
                (agent,) = grant.agents
            need_agent(grant, agent or "")
        if workdir is not None:
            need("admin")  # where an agent works decides what it can read and change
        if model:
            _own_words(grant)
        return await self._runtime.create_session(
            agent=agent, workdir=workdir, title=title, model=model
        )

    async def submit(
        self,
        session: SessionId,
        parts: tuple[Part, ...],
        *,
        mode: MessageMode = "steer",
        source: str = "api",
        sender: str = "",
        key: str = "",
        deliver: str = "",
        label: Label | None = None,
    ) -> Accepted:
        grant = await self._may("chat", session)
        own = sender in ("", grant.name)
        if grant.trust != "owner":
            # Whose words these are is told by the token; who passes on another's vouches for nothing.
            sender = sender or grant.name
            trust = grant.trust if own else "third_party"
            label = Label(trust=trust, origins=(f"token:{grant.name}",)).join(label or OWNER)
        accepted = await self._runtime.submit(
            session,
            parts,
            mode=mode,
            source=source,
            sender=sender,
            key=key,
            deliver=deliver,
            label=label,
        )
        # Whose token may call `resume` means it to go on.
        if accepted.held and own and grant.may("approve"):
            with contextlib.suppress(Conflict):  # it does already
                await self._runtime.resume(session)
            return msgspec.structs.replace(accepted, held="")
        return accepted

    @asynccontextmanager
    async def _watched(
        self, session: SessionId, after: int
    ) -> AsyncIterator[AsyncIterator[Record | AnyDelta]]:
        await self._may("read", session)
        async with self._runtime.subscribe(session, after) as items:
            yield items

    def subscribe(
        self, session: SessionId, after: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[Record | AnyDelta]]:
        return self._watched(session, after)

    async def records(self, session: SessionId, after: int = 0, limit: int = 500) -> list[Record]:
        await self._may("read", session)
        return await self._runtime.records(session, after, limit)

    async def session(self, session: SessionId) -> SessionView:
        grant = need("read")
        found = await self._runtime.session(session)
        need_agent(grant, found.agent)
        return found

    async def sessions(
        self, limit: int = 50, before: str | None = None, agent: str | None = None
    ) -> list[SessionView]:
        grant = need("read")
        if grant.agents is None:
            return await self._runtime.sessions(limit, before, agent)
        if agent is not None:
            need_agent(grant, agent)
            return await self._runtime.sessions(limit, before, agent)
        found: list[SessionView] = []
        for name in sorted(grant.agents):
            found += await self._runtime.sessions(limit, before, name)
        return sorted(found, key=lambda view: view.id, reverse=True)[:limit]

    async def store_image(self, session: SessionId, media_type: str, data: bytes) -> Image:
        await self._may("chat", session)
        return await self._runtime.store_image(session, media_type, data)

    async def fork(self, session: SessionId, at: int | None = None) -> SessionView:
        await self._may("chat", session)
        return await self._runtime.fork(session, at)

    async def delete(self, session: SessionId) -> None:
        await self._may("admin", session)
        await self._runtime.delete(session)

    async def configure(
        self, session: SessionId, *, model: str | None = None, title: str | None = None
    ) -> SessionView:
        grant = await self._may("chat", session)
        if model is not None:
            _own_words(grant)
        return await self._runtime.configure(session, model=model, title=title)

    async def stop(self, session: SessionId, *, by: str = "owner", reason: str = "") -> bool:
        grant = await self._may("chat", session)
        return await self._runtime.stop(session, by=grant.name, reason=reason)

    async def compact(self, session: SessionId, focus: str = "") -> None:
        await self._may("chat", session)
        await self._runtime.compact(session, focus)

    async def approvals(self, session: SessionId | None = None) -> list[OpenApproval]:
        if session is not None:
            await self._may("read", session)
            return await self._runtime.approvals(session)
        grant = need("read")
        found = await self._runtime.approvals(None)
        return [a for a in found if await self._seen(grant, a.session)]

    async def _seen(self, grant: Grant, session: SessionId) -> bool:
        if grant.agents is None:
            return True
        try:
            return grant.sees((await self._runtime.session(session)).agent)
        except NotFound:
            return False

    async def decide(
        self,
        session: SessionId,
        approval: ApprovalId,
        answer: ApprovalAnswer,
        scope: ApprovalScope = "once",
        by: str = "owner",
        note: str = "",
    ) -> None:
        grant = await self._may("approve", session)
        _no_rule_for_all(grant, scope)
        await self._runtime.decide(session, approval, answer, scope, by=grant.name, note=note)

    async def decide_all(self, session: SessionId, answers: Sequence[ApprovalDecided]) -> None:
        grant = await self._may("approve", session)
        for one in answers:
            _no_rule_for_all(grant, one.scope)
        named = [msgspec.structs.replace(a, by=grant.name) for a in answers]
        await self._runtime.decide_all(session, named)

    async def doubts(self, session: SessionId) -> list[OpenDoubt]:
        await self._may("read", session)
        return await self._runtime.doubts(session)

    async def settle(
        self, session: SessionId, key: str, answer: Literal["happened", "again"], by: str = "owner"
    ) -> Accepted:
        grant = await self._may("approve", session)
        return await self._runtime.settle(session, key, answer, by=grant.name)

    async def letters(self) -> list[Letter]:
        grant = need("read")
        found = await self._runtime.letters()
        return [x for x in found if await self._seen(grant, x.session)]

    async def redeliver(self, delivery: DeliveryId, by: str = "owner") -> None:
        grant = need("approve")
        if grant.agents is not None:
            mine = {x.delivery for x in await self.letters()}
            if delivery not in mine:
                raise NotFound(f"there is no delivery {delivery}")
        await self._runtime.redeliver(delivery, by=grant.name)

    async def resume(self, session: SessionId) -> SessionView:
        await self._may("approve", session)
        return await self._runtime.resume(session)

    async def context(self, session: SessionId, request: str | None = None) -> dict[str, Json]:
        await self._may("read", session)
        return await self._runtime.context(session, request)

    async def artifact_path(self, session: SessionId, artifact: ArtifactId) -> Path:
        await self._may("read", session)
        return await self._runtime.artifact_path(session, artifact)

    async def checkpoints(self, session: SessionId) -> list[Checkpoint]:
        await self._may("read", session)
        return await self._runtime.checkpoints(session)

    async def checkpoint_changes(self, session: SessionId, checkpoint: str) -> Changes:
        await self._may("read", session)
        return await self._runtime.checkpoint_changes(session, checkpoint)

    async def restore_checkpoint(self, session: SessionId, checkpoint: str) -> Restored:
        await self._may("approve", session)
        return await self._runtime.restore_checkpoint(session, checkpoint)

    async def spending(self) -> SpendingView:
        grant = need("read")
        found = await self._runtime.spending()
        if grant.agents is None:
            return found
        return msgspec.structs.replace(
            found, agents=tuple(a for a in found.agents if grant.sees(a.agent)), workspace=()
        )

    def agents(self) -> Sequence[AgentView]:
        grant = need("read")
        return [a for a in self._runtime.agents() if grant.sees(a.name)]

    async def reload(self) -> ReloadReport:
        need("admin")
        return await self._runtime.reload()

    async def wait(
        self, session: SessionId, message: MessageId, timeout: float
    ) -> TurnOutcome | None:
        await self._may("read", session)
        return await self._runtime.wait(session, message, timeout)

    def status(self) -> RuntimeStatus:
        need("admin")
        return self._runtime.status()

    async def close(self) -> None:
        """Not a request's to do."""
        raise Refusal(403, "scope", "No request closes the runtime; the server does.")


def _own_words(grant: Grant) -> None:
    """Who chooses the model chooses who thinks for the owner. Raises Refusal."""
    if grant.trust != "owner":
        raise Refusal(
            403,
            "trust",
            "This token may not choose the model: its words are not the owner's.",
            hint="The owner can: perdure token create NAME --scope chat --trust owner",
        )


def _no_rule_for_all(grant: Grant, scope: ApprovalScope) -> None:
    """`always` stores a rule for the whole workspace. Raises Refusal."""
    if scope == "always" and grant.agents is not None:
        raise Refusal(
            403,
            "scope",
            "A token for some agents alone may not answer `always`: the rule would hold for all.",
            hint="Answer `once` or `session`.",
        )
