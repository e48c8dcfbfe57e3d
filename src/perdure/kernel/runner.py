"""The loop: ask what is next, do it, append what happened.

One runner drives one session. It is the only appender of what the session does; the inbox is the only
appender of what is done to it. A crash between any two awaits loses nothing but work that `decide`
will name again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from .acting import Acting
from .asking import Asking
from .decide import (
    Await,
    CallModel,
    CloseCalls,
    Compact,
    Deliver,
    EndTurn,
    Execute,
    Pause,
    Rest,
    StartTurn,
    Step,
    TakeMessages,
    Withdraw,
    decide,
)
from .delivering import Delivering
from .desk import Desk, Interrupted
from .errors import PerdureError, StorageError
from .events import (
    Limits,
    MessageId,
    MessageReceived,
    MessagesTaken,
    NoticeAdded,
    Part,
    TurnEnded,
    TurnId,
    TurnStarted,
)
from .limits import sum_up

LONGEST_SLEEP = 600.0
"""Seconds."""


class Runner:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._asking, self._acting = Asking(desk), Acting(desk)
        self._delivering = Delivering(desk)
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Go on until there is nothing to do. Raises StorageError; other failures end the turn."""
        journal, clock = self._desk.journal, self._desk.clock
        self._desk.interruption.task = asyncio.current_task()
        while True:
            self._changed.clear()
            step = decide(journal.state, clock.now())
            if not isinstance(step, Rest):
                await self._perform(step)
            elif journal.dirty:
                await journal.commit()
            else:
                return

    def wake(self, *, interrupt: bool = False) -> None:
        """The state changed. `interrupt`: leave the model call or the tools that are running."""
        self._changed.set()
        if interrupt:
            self._desk.interruption.request()

    async def _perform(self, step: Step) -> None:
        try:
            match step:
                case StartTurn():
                    await self._start_turn(step.messages)
                case TakeMessages():
                    rewritten, blocked = await self._screen(step.messages)
                    self._desk.journal.append(
                        MessagesTaken(messages=step.messages, rewritten=rewritten, blocked=blocked)
                    )
                case Execute():
                    await self._acting.execute(step.calls)
                case CloseCalls():
                    self._acting.close(step.calls, step.status, step.why)
                case CallModel():
                    await self._asking.call(tools=step.tools)
                case Compact():
                    await self._asking.compact()
                case Withdraw():
                    notice = NoticeAdded(text=sum_up(step.limit), audience="model")
                    self._desk.journal.append(step.limit, notice)
                case Await() | Pause():
                    await self._await_change(step.until)
                case Deliver():
                    await self._delivering.send(step.delivery)
                case EndTurn():
                    await self._end_turn(step)
        except StorageError:
            raise
        except Interrupted:
            pass  # what broke it off is in the state
        except Exception as error:
            await self._give_up(error)

    async def _start_turn(self, messages: tuple[MessageId, ...]) -> None:
        desk, limits = self._desk, Limits()
        desk.again, self._asking.setup = 0, None
        try:
            self._asking.setup = setup = desk.setup()
            limits = setup.limits
            if setup.collect:
                await desk.clock.sleep(setup.collect)
                step = decide(desk.journal.state, desk.clock.now())
                messages = step.messages if isinstance(step, StartTurn) else messages
        except StorageError:
            raise
        except PerdureError:
            pass  # the turn begins, and ends with this error at its first model call
        rewritten, blocked = await self._screen(messages)
        desk.journal.append(
            TurnStarted(
                turn=TurnId(desk.ids.new("t")),
                messages=messages,
                limits=limits,
                rewritten=rewritten,
                blocked=blocked,
            )
        )

    async def _screen(
        self, messages: Sequence[MessageId]
    ) -> tuple[dict[str, tuple[Part, ...]], tuple[MessageId, ...]]:
        """Show messages to the owner's hooks before the model sees them."""
        desk = self._desk
        rewritten: dict[str, tuple[Part, ...]] = {}
        blocked: list[MessageId] = []
        if desk.hooks.wants("on_user_message"):
            places = {w.message: w.seq for w in desk.journal.state.inbox}
            for id_ in messages:
                message = desk.journal.record(places[id_]).event
                assert isinstance(message, MessageReceived)
                outcome = await desk.hooks.fire("on_user_message", message)
                desk.record(outcome.acts)
                if outcome.block:
                    blocked.append(id_)
                    desk.tell_owner(f"A hook kept your message from the model: {outcome.block}")
                elif outcome.value.parts != message.parts:
                    rewritten[id_] = outcome.value.parts
        return rewritten, tuple(blocked)

    async def _end_turn(self, step: EndTurn) -> None:
        desk, turn = self._desk, self._desk.journal.state.turn
        assert turn is not None
        ended = TurnEnded(turn=turn.turn, reason=step.reason, error=step.error)
        if desk.hooks.wants("on_turn_end"):
            with contextlib.suppress(Interrupted):
                outcome = await desk.interruptible(desk.hooks.fire("on_turn_end", ended))
                desk.record(outcome.acts)
                if step.reason == "done" and desk.goes_on(outcome.again):
                    return
        desk.journal.append(*self._delivering.queue(turn, step.error), ended)
        await desk.journal.commit()

    async def _await_change(self, until: datetime | None) -> None:
        journal, clock = self._desk.journal, self._desk.clock
        if journal.dirty:
            await journal.commit()
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._changed.wait())]
        if until is not None:
            # Looked at again now and then: a machine that slept, or was set right, knows better.
            seconds = min((until - clock.now()).total_seconds(), LONGEST_SLEEP)
            tasks.append(asyncio.ensure_future(clock.sleep(max(0.0, seconds))))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _give_up(self, error: Exception) -> None:
        """A defect in a step ends this turn, with every call answered, and not the session (D12)."""
        journal, why = self._desk.journal, f"internal error: {type(error).__name__}: {error}"
        self._acting.close(journal.state.open_calls(), "error", why)
        if (turn := journal.state.turn) is None:
            raise error
        ended = TurnEnded(turn=turn.turn, reason="failed", error=why)
        journal.append(*self._delivering.queue(turn, why), ended)
        await journal.commit()
