"""A runtime in memory, for tests of the server: sessions are lists of records, and the test plays what
the agent would do by appending events."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from perdure.checkpoints import Change, Changes, Checkpoint, Restored
from perdure.kernel.errors import Conflict, NotFound, PerdureError
from perdure.kernel.events import (
    AnyDelta,
    AnyEvent,
    ApprovalAnswer,
    ApprovalDecided,
    ApprovalId,
    ApprovalRequested,
    ApprovalScope,
    ArtifactId,
    Image,
    Json,
    MessageId,
    MessageMode,
    MessageReceived,
    ModelResponded,
    Part,
    Record,
    SessionConfigured,
    SessionId,
    SessionRenamed,
    SessionStarted,
    TurnEnded,
    TurnStarted,
)
from perdure.kernel.labels import Label
from perdure.kernel.state import State, evolve
from perdure.runtime.views import (
    Accepted,
    AgentView,
    OpenApproval,
    ReloadReport,
    RuntimeStatus,
    SessionView,
    SpendingView,
    TurnOutcome,
)

BEGINNING = datetime(2026, 11, 21, 10, tzinfo=UTC)


class FakeSession:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.state = State()
        self.listeners: list[asyncio.Queue[Record | AnyDelta | None]] = []
        self.messages: dict[MessageId, int] = {}


class FakeRuntime:
    """Implements RuntimeApi."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.closed = False
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.all: dict[str, FakeSession] = {}
        self.fails: PerdureError | Exception | None = None
        """Raised by the next call that reads or changes a session."""
        self.reads = 0
        """How many pages of records were read."""
        self._count = 0

    # What a test plays ------------------------------------------------------------------------

    def happens(self, session: str, *events: AnyEvent) -> int:
        found = self._find(session)
        for event in events:
            seq = len(found.records) + 1
            record = Record(seq=seq, at=BEGINNING + timedelta(seconds=seq), event=event)
            found.records.append(record)
            evolve(found.state, record)
            for listener in found.listeners:
                listener.put_nowait(record)
        return len(found.records)

    def streams(self, session: str, *deltas: AnyDelta) -> None:
        for listener in self._find(session).listeners:
            for delta in deltas:
                listener.put_nowait(delta)

    def listeners(self, session: str) -> int:
        return len(self._find(session).listeners)

    # RuntimeApi -----------------------------------------------------------------------------------

    async def create_session(
        self,
        *,
        agent: str | None = None,
        workdir: str | None = None,
        title: str = "",
        model: str = "",
    ) -> SessionView:
        if agent not in (None, "main"):
            raise NotFound(f"there is no agent {agent}", hint="There are: main.")
        id_ = SessionId(self._id("s"))
        self.all[id_] = FakeSession()
        where = workdir or str(self.folder)
        self.happens(id_, SessionStarted(session=id_, agent="main", workdir=where, title=title))
        if model:
            self.happens(id_, SessionConfigured(model=model))
        return self._view(id_)

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
        found = self._find(session)
        if key in found.state.keys:
            known = found.state.keys[key][0]
            return Accepted(message=known, seq=found.state.seq, duplicate=True)
        message = MessageId(self._id("m"))
        seq = self.happens(
            session,
            MessageReceived(
                message=message,
                parts=parts,
                mode=mode,
                source=source,
                sender=sender,
                key=key,
                label=label,
            ),
        )
        return Accepted(message=message, seq=seq)

    @asynccontextmanager
    async def subscribe(
        self, session: SessionId, after: int = 0
    ) -> AsyncIterator[AsyncIterator[Record | AnyDelta]]:
        found = self._find(session)
        queue: asyncio.Queue[Record | AnyDelta | None] = asyncio.Queue()
        for record in found.records[after:]:
            queue.put_nowait(record)
        found.listeners.append(queue)

        async def items() -> AsyncIterator[Record | AnyDelta]:
            while (item := await queue.get()) is not None:
                yield item

        try:
            yield items()
        finally:
            found.listeners.remove(queue)

    async def records(self, session: SessionId, after: int = 0, limit: int = 500) -> list[Record]:
        self.reads += 1
        return self._find(session).records[after : after + limit]

    async def session(self, session: SessionId) -> SessionView:
        self._find(session)
        return self._view(session)

    async def sessions(
        self, limit: int = 50, before: str | None = None, agent: str | None = None
    ) -> list[SessionView]:
        ids = sorted(self.all, reverse=True)
        ids = [id_ for id_ in ids if before is None or id_ < before]
        return [self._view(id_) for id_ in ids][:limit] if agent in (None, "main") else []

    async def store_image(self, session: SessionId, media_type: str, data: bytes) -> Image:
        name = ArtifactId(hashlib.sha256(data).hexdigest() + "." + media_type.partition("/")[2])
        (self.folder / name).write_bytes(data)
        return Image(media_type=media_type, artifact=name)

    async def fork(self, session: SessionId, at: int | None = None) -> SessionView:
        found = self._find(session)
        if at is not None and at > len(found.records):
            raise Conflict(f"session {session} has only {len(found.records)} records")
        return await self.create_session()

    async def delete(self, session: SessionId) -> None:
        found = self._find(session)
        del self.all[session]
        for listener in found.listeners:
            listener.put_nowait(None)

    async def configure(
        self, session: SessionId, *, model: str | None = None, title: str | None = None
    ) -> SessionView:
        self._find(session)
        if model is not None:
            self.happens(session, SessionConfigured(model=model))
        if title is not None:
            self.happens(session, SessionRenamed(title=title))
        return self._view(session)

    async def stop(self, session: SessionId, *, by: str = "owner", reason: str = "") -> bool:
        turn = self._find(session).state.turn
        if turn is None:
            return False
        self.happens(session, TurnEnded(turn=turn.turn, reason="stopped"))
        return True

    async def compact(self, session: SessionId, focus: str = "") -> None:
        self._find(session)

    async def approvals(self, session: SessionId | None = None) -> list[OpenApproval]:
        chosen = [SessionId(id_) for id_ in self.all] if session is None else [session]
        return [
            OpenApproval(session=id_, at=BEGINNING, request=request)
            for id_ in chosen
            for request in self._find(id_).state.approvals.values()
        ]

    async def decide(
        self,
        session: SessionId,
        approval: ApprovalId,
        answer: ApprovalAnswer,
        scope: ApprovalScope = "once",
        by: str = "owner",
        note: str = "",
    ) -> None:
        given = ApprovalDecided(approval=approval, answer=answer, scope=scope, by=by, note=note)
        await self.decide_all(session, [given])

    async def decide_all(self, session: SessionId, answers: Sequence[ApprovalDecided]) -> None:
        for given in answers:
            if given.approval not in self._find(session).state.approvals:
                raise NotFound(f"approval {given.approval} is not open")
        for given in answers:
            self.happens(session, given)

    async def context(self, session: SessionId, request: str | None = None) -> dict[str, Json]:
        self._find(session)
        if request is not None:
            raise NotFound(f"there is no request {request}")
        return {"items": []}

    async def artifact_path(self, session: SessionId, artifact: ArtifactId) -> Path:
        self._find(session)
        return self.folder / artifact

    async def checkpoints(self, session: SessionId) -> list[Checkpoint]:
        self._find(session)
        return [checkpoint(session)]

    async def checkpoint_changes(self, session: SessionId, checkpoint: str) -> Changes:
        self._checkpoint(session, checkpoint)
        return Changes(checkpoint=checkpoint, workdir="/w", changes=(CHANGE,))

    async def restore_checkpoint(self, session: SessionId, checkpoint: str) -> Restored:
        self._checkpoint(session, checkpoint)
        if self._find(session).state.turn is not None:
            raise Conflict(f"session {session} is in the middle of a turn")
        return Restored(checkpoint=checkpoint, undo="c_2", workdir="/w", changes=(CHANGE,))

    def _checkpoint(self, session: SessionId, checkpoint: str) -> None:
        self._find(session)
        if checkpoint != "c_1":
            raise NotFound(f"session {session} has no checkpoint {checkpoint}")

    async def spending(self) -> SpendingView:
        return SpendingView(day="2026-11-21", month="2026-11", workspace=(), agents=(), unsettled=0)

    def agents(self) -> list[AgentView]:
        return [
            AgentView(name="main", description="Helps.", model="rehearsal"),
            AgentView(
                name="broken", error="agent.yaml:3: unknown key `modle`, did you mean `model`?"
            ),
        ]

    async def reload(self) -> ReloadReport:
        return ReloadReport(agents=("main",), errors=("agent.yaml:3: unknown key",))

    async def wait(
        self, session: SessionId, message: MessageId, timeout: float
    ) -> TurnOutcome | None:
        try:
            async with asyncio.timeout(timeout), self.subscribe(session) as items:
                return await self._outcome(message, items)
        except TimeoutError:
            return None

    async def _outcome(
        self, message: MessageId, items: AsyncIterator[Record | AnyDelta]
    ) -> TurnOutcome | None:
        mine, text = False, ""
        async for item in items:
            event = item.event if isinstance(item, Record) else None
            if isinstance(event, TurnStarted):
                mine = message in event.messages
            elif isinstance(event, ModelResponded):
                text = event.text
            elif isinstance(event, TurnEnded) and mine:
                return TurnOutcome(
                    message=message,
                    turn=event.turn,
                    reason=event.reason,
                    text=text,
                    error=event.error,
                )
        return None

    def status(self) -> RuntimeStatus:
        return RuntimeStatus(
            version="0",
            workspace=str(self.folder),
            pid=1,
            started=BEGINNING,
            sessions_open=len(self.all),
            sessions_running=0,
            memory_mb=1.0,
        )

    async def close(self) -> None:
        self.closed = True
        for found in self.all.values():
            for listener in found.listeners:
                listener.put_nowait(None)

    # ----------------------------------------------------------------------------------------------

    def _id(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count:012d}"

    def _find(self, session: str) -> FakeSession:
        if self.fails is not None:
            error, self.fails = self.fails, None
            raise error
        if session not in self.all:
            raise NotFound(f"there is no session {session}")
        return self.all[session]

    def _view(self, session: str) -> SessionView:
        state = self.all[session].state
        status = "waiting" if state.approvals else "running" if state.turn else "idle"
        return SessionView(
            id=SessionId(session),
            agent="main",
            title=state.title,
            workdir=state.workdir,
            model=state.model,
            created=state.created or BEGINNING,
            updated=state.updated or BEGINNING,
            seq=state.seq,
            status=status,  # type: ignore[arg-type]
            messages=state.messages,
            turns=state.turns,
        )


CHANGE = Change(path="a.txt", action="change", kind="file", bytes=3)


def checkpoint(session: SessionId) -> Checkpoint:
    return Checkpoint(
        id="c_1", session=session, kind="turn", at=BEGINNING, seq=3, workdir="/w", tree="0" * 64
    )


def asks(approval: str, call: str = "c1") -> ApprovalRequested:
    return ApprovalRequested(
        approval=ApprovalId(approval),
        call=call,  # type: ignore[arg-type]
        tool="bash",
        arguments={"command": "make"},
        reason="commands ask",
        preview="make",
    )
