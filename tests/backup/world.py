"""A workspace with sessions, artifacts and checkpoints, without a runtime."""

from __future__ import annotations

from pathlib import Path

from perdure.agents import scaffold
from perdure.checkpoints import Checkpoints
from perdure.kernel import events as e
from perdure.storage import Committer, RealDisk, SessionStore, SystemClock, TimeIds

S = e.SessionId("s_1")


def tree(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


async def fill(root: Path) -> None:
    scaffold(root)
    private = root / ".perdure"
    committer = Committer(RealDisk())
    store = SessionStore(private, committer, SystemClock())
    opened = await store.create(S)
    artifact = opened.artifacts.put(b"a long output", ".txt")
    started = e.SessionStarted(session=S, agent="default", workdir=str(root))
    opened.log.append(
        [
            e.Record(seq=1, at=SystemClock().now(), event=started),
            e.Record(seq=2, at=SystemClock().now(), event=e.NoticeAdded(text="hello")),
            e.Record(
                seq=3,
                at=SystemClock().now(),
                event=e.ToolFinished(
                    call=e.CallId("c"), tool="bash", result=e.ToolResult(artifact=artifact)
                ),
            ),
        ]
    )
    await opened.log.commit()
    await opened.log.close()
    committer.close()
    work = root / "work"
    work.mkdir()
    (work / "f").write_text("in a checkpoint")
    checkpoints = Checkpoints(private / "checkpoints", SystemClock(), TimeIds())
    checkpoints.take(S, work, turn=e.TurnId("t_1"), seq=3)
    (private / "run").mkdir(exist_ok=True)
    (private / "run" / "server.json").write_text('{"token": "secret"}')
    (private / "processes" / "p1").mkdir(parents=True)
    (private / "processes" / "p1" / "output").write_text("running")
    (private / "index.sqlite").write_bytes(b"derived")
    (private / "secrets.age").write_bytes(b"age-encryption.org/v1\n...")
    (private / "agents" / "default" / "memory").mkdir(exist_ok=True)
    (private / "agents" / "default" / "memory" / "MEMORY.md").write_text("likes tea\n")
