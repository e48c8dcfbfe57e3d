from __future__ import annotations

from starlette.responses import Response

from perdure.checkpoints import Changes, Restored
from perdure.kernel.events import Json, SessionId

from .. import bodies
from ..api import RuntimeApi
from ..bodies import answer
from ..documents import fails, returns
from ..routing import App
from .params import API, CheckpointId, Session

CHECKPOINT: dict[str, Json] = {
    "id": "c_01kazh2v6e8m9qrt",
    "session": "s_01kazh2v6e8m9qrt",
    "kind": "turn",
    "at": "2026-11-21T10:00:00Z",
    "seq": 12,
    "turn": "t_01kazh2v6e8m9qrt",
    "workdir": "/home/me/project",
    "tree": "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
    "files": 10000,
    "bytes": 123456789,
    "new_bytes": 4096,
    "skipped": 1,
    "left_out": [{"path": ".env", "why": "secret"}],
    "ms": 95,
}
CHANGES: dict[str, Json] = {
    "checkpoint": "c_01kazh2v6e8m9qrt",
    "workdir": "/home/me/project",
    "changes": [
        {"path": "notes.txt", "action": "change", "kind": "file", "bytes": 120},
        {"path": "made-since.txt", "action": "remove", "kind": "file", "bytes": 7},
    ],
    "kept": [{"path": "new.pem", "why": "secret"}],
}


def add(app: App, runtime: RuntimeApi) -> None:
    @app.get(
        f"{API}/sessions/{{id}}/checkpoints",
        tags=["checkpoints"],
        responses=returns(
            bodies.CheckpointList, "All it has, newest first.", {"checkpoints": [CHECKPOINT]}
        )
        | fails(404, 423, 503),
    )
    async def list_checkpoints(id: Session) -> Response:
        """The working folder as it was before each turn that changed something."""
        found = await runtime.checkpoints(SessionId(id))
        return answer(bodies.CheckpointList(checkpoints=tuple(found)))

    @app.get(
        f"{API}/sessions/{{id}}/checkpoints/{{checkpoint}}/changes",
        tags=["checkpoints"],
        responses=returns(Changes, "What restoring it would do.", CHANGES)
        | fails(404, 409, 423, 503),
    )
    async def checkpoint_changes(id: Session, checkpoint: CheckpointId) -> Response:
        """What restoring the checkpoint would do to the folder as it is now. Changes nothing."""
        return answer(await runtime.checkpoint_changes(SessionId(id), checkpoint))

    @app.post(
        f"{API}/sessions/{{id}}/checkpoints/{{checkpoint}}/restore",
        tags=["checkpoints"],
        responses=returns(
            Restored, "The folder was put back.", {**CHANGES, "undo": "c_01kazh9x2m4k7tpz"}
        )
        | fails(404, 409, 423, 503),
    )
    async def restore_checkpoint(id: Session, checkpoint: CheckpointId) -> Response:
        """Put the folder back as it was. `undo` names a checkpoint, taken just before, that takes this
        back in the same way. 409 while a turn works in the folder."""
        return answer(await runtime.restore_checkpoint(SessionId(id), checkpoint))
