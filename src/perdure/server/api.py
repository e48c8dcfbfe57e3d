"""What the server needs of the runtime: one façade, implemented by `perdure.runtime.Runtime`.

Every method raises from the PerdureError tree only: NotFound for an unknown session, agent, approval or
artifact, Conflict for what cannot hold now, StorageError when the disk refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal, Protocol

from perdure.checkpoints import Changes, Checkpoint, Restored
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
from perdure.kernel.labels import Label
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


class RuntimeApi(Protocol):
    async def create_session(
        self,
        *,
        agent: str | None = None,
        workdir: str | None = None,
        title: str = "",
        model: str = "",
    ) -> SessionView: ...

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
        """Returns once the message is on disk (D1). A known `key` returns the first receipt. `label`:
        whose words these are; by default told from source and sender. A session that is held goes on if
        they are the owner's; else the receipt says that it is `held`."""

    def subscribe(
        self, session: SessionId, after: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[Record | AnyDelta]]:
        """Records with seq > `after`, without gap or repeat: history first, then live, with deltas
        between them. Ends when the session is deleted or the runtime closes."""

    async def records(
        self, session: SessionId, after: int = 0, limit: int = 500
    ) -> list[Record]: ...

    async def session(self, session: SessionId) -> SessionView: ...

    async def sessions(
        self, limit: int = 50, before: str | None = None, agent: str | None = None
    ) -> list[SessionView]:
        """Newest first; `before` is the id the page before ended with."""

    async def store_image(self, session: SessionId, media_type: str, data: bytes) -> Image: ...

    async def fork(self, session: SessionId, at: int | None = None) -> SessionView: ...

    async def delete(self, session: SessionId) -> None: ...

    async def configure(
        self, session: SessionId, *, model: str | None = None, title: str | None = None
    ) -> SessionView:
        """None leaves as it is; an empty `model` returns to the agent's own."""

    async def stop(self, session: SessionId, *, by: str = "owner", reason: str = "") -> bool:
        """False when no turn was running."""

    async def compact(self, session: SessionId, focus: str = "") -> None: ...

    async def approvals(self, session: SessionId | None = None) -> list[OpenApproval]: ...

    async def decide(
        self,
        session: SessionId,
        approval: ApprovalId,
        answer: ApprovalAnswer,
        scope: ApprovalScope = "once",
        by: str = "owner",
        note: str = "",
    ) -> None: ...

    async def decide_all(self, session: SessionId, answers: Sequence[ApprovalDecided]) -> None:
        """All of them count, or none."""

    async def doubts(self, session: SessionId) -> list[OpenDoubt]: ...

    async def settle(
        self, session: SessionId, key: str, answer: Literal["happened", "again"], by: str = "owner"
    ) -> Accepted:
        """Say what became of a call in doubt. Raises NotFound when it is in none."""

    async def letters(self) -> list[Letter]:
        """Answers that have not arrived at their channel; oldest first."""

    async def redeliver(self, delivery: DeliveryId, by: str = "owner") -> None:
        """Send a dead letter again. Raises NotFound, or Conflict when it is on its way."""

    async def resume(self, session: SessionId) -> SessionView:
        """Let a held session go on. Raises Conflict when it is not held."""

    async def context(self, session: SessionId, request: str | None = None) -> dict[str, Json]: ...

    async def artifact_path(self, session: SessionId, artifact: ArtifactId) -> Path: ...

    async def checkpoints(self, session: SessionId) -> list[Checkpoint]:
        """Of its working folder, newest first."""

    async def checkpoint_changes(self, session: SessionId, checkpoint: str) -> Changes:
        """What restoring it now would do to the folder."""

    async def restore_checkpoint(self, session: SessionId, checkpoint: str) -> Restored:
        """Put the folder back, after a checkpoint of how it is now. Raises Conflict while a turn works
        in that folder."""

    async def spending(self) -> SpendingView:
        """What was spent today and this month, and what may be."""

    def agents(self) -> Sequence[AgentView]: ...

    async def reload(self) -> ReloadReport: ...

    async def wait(
        self, session: SessionId, message: MessageId, timeout: float
    ) -> TurnOutcome | None:
        """How the turn that took the message ended; None when `timeout` seconds ran out first."""

    def status(self) -> RuntimeStatus: ...

    async def close(self) -> None: ...
