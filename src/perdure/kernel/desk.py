"""What the steps of one session work with, and how a running step is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import msgspec

from .events import (
    HookActed,
    Json,
    Limits,
    NoticeAdded,
    ResultStatus,
    Text,
    ToolResult,
)
from .journal import Journal
from .labels import SELF
from .ports import Budgets, Checkpointer, Clock, Context, Emit, Gate, Hooks, Ids, Model, Outbox

T = TypeVar("T")

ARGUMENTS_SHOWN = 500
"""Characters of a call's arguments in a notice."""
AGAIN_PER_TURN = 3
"""How often hooks may keep a turn from ending."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn runs with. Asked for anew at each turn, so that a reload takes effect."""

    models: Sequence[Model]
    """The agent's own first, then its fallbacks."""
    limits: Limits
    collect: float = 0.0
    """Seconds to wait for more messages before a turn begins."""


class Interruption:
    """Lets somebody else break off what the session's task is waiting for.

    Inside `allowed()` a `request()` arrives as CancelledError; `happened()` then tells it from a
    cancellation of the whole task, which must go on.
    """

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.requested = False
        self._open = False

    def request(self) -> None:
        if self._open and self.task is not None and not self.requested:
            self.requested = True
            self.task.cancel()

    @contextmanager
    def allowed(self) -> Iterator[None]:
        self._open, self.requested = True, False
        try:
            yield
        finally:
            self._open = False

    def happened(self) -> bool:
        if not self.requested or self.task is None:
            return False
        self.requested = False
        return self.task.uncancel() == 0


class Interrupted(Exception):
    """The owner broke off what a step was waiting for: back to `decide`."""


@dataclass(kw_only=True)
class Desk:
    journal: Journal
    context: Context
    gate: Gate
    hooks: Hooks
    clock: Clock
    ids: Ids
    setup: Callable[[], Setup]
    """Raises PerdureError when the agent's files cannot be used."""
    emit: Emit
    checkpointer: Checkpointer | None = None
    outbox: Outbox | None = None
    budgets: Budgets | None = None
    boot: str = ""
    """The machine's boot id."""
    interruption: Interruption = field(default_factory=Interruption)
    again: int = 0
    """How often hooks kept the present turn from ending."""

    async def interruptible(self, work: Awaitable[T]) -> T:
        """Wait for something that a stop, or an interrupting message, may break off. Raises
        Interrupted then."""
        try:
            with self.interruption.allowed():
                done = await work
        except asyncio.CancelledError:
            if not self.interruption.happened():
                raise
            raise Interrupted from None
        except Exception:
            await self._too_late()
            raise
        await self._too_late()
        return done

    async def _too_late(self) -> None:
        """The work was done when it was broken off, went on in spite of it, or ended in an error of its
        own: that it was asked for must be settled all the same, or the next time counts as a shutdown.
        A shutdown is never taken for done."""
        if self.interruption.task is None or not self.interruption.task.cancelling():
            return
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # where it is still to arrive, it arrives here
        if not self.interruption.happened():
            raise asyncio.CancelledError

    def goes_on(self, text: str) -> bool:
        """A hook wants one more step: tell the model so, unless it had its share."""
        if not text or self.again >= AGAIN_PER_TURN:
            return False
        self.again += 1
        self.journal.append(NoticeAdded(text=text, audience="model"))
        return True

    def tell_owner(self, text: str, level: Literal["info", "warning", "error"] = "info") -> None:
        self.journal.append(NoticeAdded(text=text, audience="user", level=level))

    def record(self, acts: Sequence[HookActed]) -> None:
        if acts:
            self.journal.append(*acts)


def shown(arguments: dict[str, Json]) -> str:
    """A call's arguments, for a notice."""
    text = msgspec.json.encode(arguments).decode()
    return text if len(text) <= ARGUMENTS_SHOWN else f"{text[:ARGUMENTS_SHOWN]}…"


def told(status: ResultStatus, text: str) -> ToolResult:
    """A result that the runtime gives in the tool's place."""
    return ToolResult(status=status, parts=(Text(text=text),), label=SELF)
