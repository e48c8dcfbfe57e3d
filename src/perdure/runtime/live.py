"""One open session: its log, state and context, the task that runs it, and those who watch it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import msgspec

from perdure.context import SessionContext
from perdure.kernel.desk import Desk
from perdure.kernel.errors import StorageError
from perdure.kernel.events import (
    AnyDelta,
    AnyEvent,
    ApprovalDecided,
    ApprovalRequested,
    DeliveryId,
    Json,
    MessageId,
    MessageMode,
    NoticeAdded,
    Part,
    Record,
    SessionId,
)
from perdure.kernel.inbox import Inbox, Receipt
from perdure.kernel.journal import Journal
from perdure.kernel.labels import Label
from perdure.kernel.ports import Budgets, Checkpointer, Gate, Hooks, Outbox
from perdure.kernel.runner import Runner
from perdure.kernel.state import State
from perdure.storage import OpenedSession

from .broadcast import Broadcast
from .cast import Cast
from .listing import view_of
from .outcomes import Outcomes
from .saving import pack
from .services import Services
from .views import OpenApproval, OpenDoubt, SessionStatus, SessionView, TurnOutcome
from .vouching import with_vouched
from .warned import RECENT, Warned

SNAPSHOT_EVERY, SNAPSHOT_SHARE = 256, 4
"""While a session is in use: records since the last snapshot, at least, and a fourth of the log, so that
writing them stays cheap. When it is closed, an eighth of those records will do."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What stands behind the ports of one session."""

    context: SessionContext
    cast: Cast
    gate: Gate
    hooks: Hooks
    outbox: Outbox
    checkpointer: Checkpointer
    budgets: Budgets
    screen: Callable[[AnyEvent], AnyEvent]
    """See `Journal`."""


class Live:
    """Made by `Team.live`. Closed by `close`, after which it must not be used."""

    def __init__(
        self,
        opened: OpenedSession,
        state: State,
        parts: Parts,
        services: Services,
        rested: Callable[[Live], None],
    ) -> None:
        self.id: SessionId = opened.id
        self.opened = opened
        self.error = ""
        """Why the session cannot go on now."""
        self.held = ""
        """Why it does not go on by itself."""
        self._warned = Warned(lambda: opened.log.read(after=max(0, opened.log.last - RECENT)))
        self.progressed: Callable[[], None] | None = None
        """Called once, when the session has made a first step after a restart."""
        self._services, self._rested, self._cast = services, rested, parts.cast
        self._context, self._screen = parts.context, parts.screen
        self._broadcast = Broadcast(opened.log.last)
        self.outcomes = Outcomes()
        if state.turn is not None:
            self.outcomes.catch_up(opened.log.read(after=state.turn.seq - 1))
        self._journal = Journal(
            log=opened.log,
            state=state,
            context=parts.context,
            clock=services.clock,
            publish=self._publish,
            observe=parts.gate.feed,
            screen=parts.screen,
        )
        self._inbox = Inbox(self._journal, services.ids)
        self._runner = Runner(
            Desk(
                journal=self._journal,
                context=parts.context,
                gate=parts.gate,
                hooks=parts.hooks,
                clock=services.clock,
                ids=services.ids,
                setup=lambda: parts.cast.setup(self.state.model, parts.context),
                emit=self._broadcast.delta,
                outbox=parts.outbox,
                checkpointer=parts.checkpointer,
                budgets=parts.budgets,
                boot=services.boot,
            )
        )
        self._task: asyncio.Task[None] | None = None
        self._saving: asyncio.Task[None] | None = None
        self._snapshot_at = opened.snapshot.seq if opened.snapshot else 0
        self.used = services.clock.monotonic()
        """When somebody last asked for it."""

    # What is true -------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self._journal.state

    @property
    def running(self) -> bool:
        return self._task is not None

    @property
    def idle(self) -> bool:
        return not self.running and not self._broadcast.watched and self._saving is None

    @property
    def status(self) -> SessionStatus:
        if self.error or self.opened.log.damage:
            return "failed"
        return "held" if self.held else view_of(self.state, self._services.clock.now()).status

    def view(self) -> SessionView:
        state = self.state
        return msgspec.structs.replace(
            view_of(state, self._services.clock.now()),
            id=self.id,
            model=state.model or self._cast.name,
            status=self.status,
            error=self._trouble or state.failed,
            label=state.label,
        )

    @property
    def _trouble(self) -> str:
        damage = self.opened.log.damage
        return self.error or self.held or (str(damage) if damage else "")

    def approvals(self) -> list[OpenApproval]:
        state = self.state
        at = (state.turn and state.turn.waiting_since) or self._services.clock.now()
        return [OpenApproval(session=self.id, at=at, request=r) for r in state.approvals.values()]

    @asynccontextmanager
    async def watch(self, after: int) -> AsyncIterator[AsyncIterator[Record | AnyDelta]]:
        stream = self._broadcast.watch(after, self.opened.log.read)
        try:
            yield stream
        finally:
            await stream.aclose()  # type: ignore[attr-defined]

    async def wait(self, message: MessageId, timeout: float) -> TurnOutcome | None:
        if self.outcomes.of(message) is None and not self.state.busy:
            self.outcomes.catch_up(self.opened.log.read())
        return await self.outcomes.wait(message, timeout)

    def report(self, build: Callable[..., dict[str, Json]], request: str | None) -> dict[str, Json]:
        """What a model call contained. Reads the whole log; not for the event loop."""
        return build(
            list(self.opened.log.read()),
            request,
            read=self.opened.artifacts.read,
            budget=self._context.budget,
        )

    # What is done to it -------------------------------------------------------------------------

    async def begin(self, *events: AnyEvent) -> None:
        """First events of a new session."""
        self._journal.append(*events)
        await self._committed()

    async def submit(
        self,
        parts: tuple[Part, ...],
        *,
        mode: MessageMode,
        source: str,
        sender: str,
        key: str,
        deliver: str = "",
        label: Label | None = None,
        release: bool = False,
    ) -> Receipt:
        """`release`: the owner says it, so that a held session goes on."""
        self._usable()
        if release:
            self.held = ""
        # Durable with the same commit as the message: a restart must know whom to resume.
        self._services.store.unfinished.mark(self.id)
        with self._breaking():
            receipt = await self._inbox.submit(
                parts,
                mode=mode,
                source=source,
                sender=sender,
                key=key,
                deliver=deliver,
                label=label,
            )
        self.poke(interrupt=mode == "interrupt" and not receipt.duplicate)
        return receipt

    async def decide(self, answers: Sequence[ApprovalDecided]) -> list[ApprovalRequested]:
        """The requests that were answered: all, or none. Raises NotFound or Conflict."""
        self._usable()
        open_ones = dict(self.state.approvals)
        try:
            with self._breaking():
                await self._inbox.decide(
                    with_vouched(answers, self.state, self._services.clock.now())
                )
        finally:
            self.poke()  # one that expired is closed by now, whatever a clock that stood still says
        return [open_ones[a.approval] for a in answers]

    def doubts(self) -> list[OpenDoubt]:
        return [
            OpenDoubt(session=self.id, key=d.key, tool=d.tool, arguments=d.arguments, at=d.at)
            for d in self.state.doubts.values()
        ]

    async def settle(self, key: str, answer: Literal["happened", "again"], *, by: str) -> Receipt:
        """Raises NotFound."""
        self._usable()
        self._services.store.unfinished.mark(self.id)
        with self._breaking():
            receipt = await self._inbox.settle(key, answer, by=by)
        self.poke()
        return receipt

    async def redeliver(self, delivery: DeliveryId, *, by: str) -> None:
        """Raises NotFound or Conflict."""
        self._usable()
        self._services.store.unfinished.mark(self.id)
        with self._breaking():
            await self._inbox.redeliver(delivery, by=by)
        self.poke()

    def let_go(self) -> None:
        """The owner wants a held session to go on."""
        self.held = ""
        self.resume()

    async def stop(self, *, by: str, reason: str) -> bool:
        self._usable()
        with self._breaking():
            stopping = await self._inbox.stop(by=by, reason=reason)
        if stopping:
            self.poke(interrupt=True)
            await self._committed()
        return stopping

    async def compact(self, focus: str) -> None:
        self._usable()
        with self._breaking():
            await self._inbox.compact(by="owner", focus=focus)
        self.poke()

    async def configure(self, *, model: str | None, title: str | None) -> None:
        self._usable()
        if model:
            self._cast.check(model)
        with self._breaking():
            await self._inbox.configure(model=model, title=title)
        self._rested(self)

    async def tell_model(self, text: str) -> None:
        """Something that it will read before it answers next."""
        self._usable()
        self._journal.append(NoticeAdded(text=text, audience="model"))
        await self._committed()

    async def warn(self, trouble: str) -> None:
        """Show the owner what is wrong with the files of the workspace, once until it changes, with
        what is appended next."""
        if self.opened.log.damage:
            return
        notice: AnyEvent = NoticeAdded(text=trouble, audience="user", level="warning")
        if trouble:
            notice = self._screen(notice)
        if isinstance(notice, NoticeAdded) and await self._warned.news(notice):
            self._journal.append(notice)

    async def settled(self) -> None:
        """All that was appended so far is on disk."""
        await self._committed()

    async def at_rest(self, seconds: float) -> None:
        """Wait until nothing runs, at most so long."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)

    def touch(self) -> None:
        self.used = self._services.clock.monotonic()

    def _usable(self) -> None:
        self.used = self._services.clock.monotonic()
        if damage := self.opened.log.damage:
            raise damage

    async def _committed(self) -> None:
        with self._breaking():
            await self._journal.commit()

    @contextlib.contextmanager
    def _breaking(self) -> Iterator[None]:
        """A log that failed takes nothing more: note it, so that the session is reopened."""
        try:
            yield
        except StorageError as error:
            self._break(error)
            raise

    @property
    def _keys(self) -> str:
        """How the keys of this session's calls begin."""
        return f"{self.id}."

    def _break(self, error: StorageError) -> None:
        if not self.error:
            self.error = str(error)
            if self._task is not None:
                # A command outlives this: once the session is reopened it is joined again (D4).
                self._services.commands.release(self._keys)
                self._task.cancel()
            else:
                self._rested(self)

    # Running ------------------------------------------------------------------------------------

    def resume(self, held: str = "") -> None:
        """After opening: go on where the log ends, and tell the owner what was found in it.
        `held`: why it must wait for the owner instead."""
        self.held = held
        if (torn := self.opened.log.torn) is not None:
            text = (
                f"The log ended in the middle of a record; those bytes were moved to {torn.name}."
            )
            self._journal.append(NoticeAdded(text=text, audience="user", level="warning"))
        if self.state.busy or self.state.compaction_due or self._journal.dirty:
            self.poke()

    def poke(self, *, interrupt: bool = False) -> None:
        """Something changed: go on, or begin."""
        self._runner.wake(interrupt=interrupt)
        if self._task is None and not (self.error or self.held or self.opened.log.damage):
            self._task = asyncio.create_task(self._drive(), name=f"session {self.id}")

    async def _drive(self) -> None:
        try:
            await self._runner.run()
        except StorageError as error:
            self.error = self.error or str(error)
        except asyncio.CancelledError:
            if not self.error:
                raise
        except Exception as error:  # the task's boundary: this session fails, no other (D12)
            told = NoticeAdded(text=f"internal error: {type(error).__name__}: {error}")
            clean = self._screen(told)
            self.error = clean.text if isinstance(clean, NoticeAdded) else told.text
        finally:
            # Invariant: no await between the runner's end and this, so that no wake-up is lost.
            self._task = None
            self.used = self._services.clock.monotonic()
        if not self.error:
            self._services.store.unfinished.clear(self.id)
            self._save(SNAPSHOT_EVERY, SNAPSHOT_SHARE)
        self._rested(self)

    def _publish(self, record: Record) -> None:
        if (progressed := self.progressed) is not None:
            self.progressed = None
            progressed()
        self.outcomes.record(record)
        self._broadcast.record(record)

    def _save(self, least: int, share: int = 0) -> None:
        """Write a snapshot if it would spare the next opening enough: so many records, and so large a
        part of those that the last one holds."""
        new = self.state.seq - self._snapshot_at
        if self._saving is None and new >= max(least, share and self._snapshot_at // share):
            payload = pack(self.state, self._context, self._cast)
            self._snapshot_at = self.state.seq
            # Invariant: tied to the log as it is now, before anything else is appended.
            self._saving = asyncio.create_task(self._write(self.opened.write_snapshot(payload)))

    async def _write(self, snapshot: Coroutine[None, None, None]) -> None:
        try:
            await snapshot
        except StorageError:
            pass  # derived: the log says the same
        finally:
            self._saving = None

    async def close(self) -> None:
        """Leave it as it is: a running turn goes on at the next start. Never raises."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._services.commands.hold(self._keys)
        if not self.error and not self.state.busy:
            self._save(SNAPSHOT_EVERY // 8)
        if self._saving is not None:
            await asyncio.gather(self._saving, return_exceptions=True)
        self._broadcast.close()
        self.outcomes.close()
        await self._cast.close()
        await self.opened.log.close()
