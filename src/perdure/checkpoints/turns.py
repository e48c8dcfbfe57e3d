"""Checkpoints for the turns of one session."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from perdure.kernel.errors import PerdureError
from perdure.kernel.events import CheckpointTaken, SessionId, TurnId

from .records import Checkpoint
from .store import Checkpoints


class TurnCheckpoints:
    """Implements kernel.ports.Checkpointer."""

    def __init__(self, checkpoints: Checkpoints, session: SessionId, workdir: Path) -> None:
        self._checkpoints, self._session, self._workdir = checkpoints, session, workdir

    async def take(self, turn: TurnId, seq: int) -> CheckpointTaken:
        """Never raises but on cancellation, by when the work has ended."""
        stopping = threading.Event()

        def stop() -> None:
            if stopping.is_set():
                raise _Stopped

        def work() -> Checkpoint:
            return self._checkpoints.take(
                self._session, self._workdir, turn=turn, seq=seq, stop=stop
            )

        task = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            taken = await asyncio.shield(task)
        except asyncio.CancelledError:
            stopping.set()
            await asyncio.wait([task])
            task.exception()
            raise
        except PerdureError as error:
            return CheckpointTaken(checkpoint="", error=error.message)
        except Exception as error:  # the owner's turn does not fail with it
            return CheckpointTaken(checkpoint="", error=f"{type(error).__name__}: {error}")
        return CheckpointTaken(
            checkpoint=taken.id,
            files=taken.files,
            bytes=taken.bytes,
            skipped=taken.skipped,
            ms=taken.ms,
        )


class _Stopped(Exception):
    """The turn was stopped meanwhile."""
