"""The model's steps: one attempt at an answer, or one at a compaction. Every outcome is an event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from . import limits, retry
from .desk import Desk, Interrupted, Setup
from .errors import ModelError, PerdureError, StorageError
from .events import (
    AnyDelta,
    AnyEvent,
    AssistantPart,
    CallId,
    CompactionFailed,
    ContextCompacted,
    ModelFailed,
    ModelInterrupted,
    ModelRequested,
    ModelResponded,
    NoticeAdded,
    RequestId,
    TextDelta,
    ToolCall,
    Usage,
)
from .ports import Emit, Model, Reservation
from .prompt import Prompt, Reply

CHARS_PER_TOKEN = 3
"""On the safe side, for an answer that was cut off."""


class Asking:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._spent: dict[RequestId, tuple[Usage, float | None, int]] = {}
        """What calls cost that are not settled yet."""
        self.setup: Setup | None = None
        """The present turn's; asked for again after a restart in the middle of one."""

    def _models(self) -> Sequence[Model]:
        if self.setup is None:
            self.setup = self._desk.setup()
        return self.setup.models

    async def call(self, *, tools: bool) -> None:
        """Assemble the context and make one attempt."""
        desk, journal = self._desk, self._desk.journal
        turn = journal.state.turn
        assert turn is not None
        try:
            models = self._models()
            events = desk.context.prepare(journal.state)
        except StorageError:
            raise
        except PerdureError as error:
            await self._refused(str(error), "")
            return
        model = models[min(turn.fallback, len(models) - 1)]
        if events:
            journal.append(*events)
        if desk.context.wants_compaction(journal.state):
            await self.compact()
            return
        prompt = desk.context.prompt(journal.state, tools=tools)
        request = RequestId(desk.ids.new("r"))
        room = await self._reserve(request, model, prompt.tokens, last=not tools)
        if room is None:
            return
        try:
            prompt = replace(prompt, max_output=room.max_output, most_calls=room.calls)
            await self._ask(model, prompt, request)
        finally:  # also when a stop or the disk ends it: what was reserved is free again
            await self._settle(request)

    async def _ask(self, model: Model, prompt: Prompt, request: RequestId) -> None:
        desk, journal = self._desk, self._desk.journal
        turn = journal.state.turn
        assert turn is not None
        if desk.hooks.wants("before_model"):
            outcome = await desk.interruptible(desk.hooks.fire("before_model", prompt))
            desk.record(outcome.acts)
            if outcome.block:
                await self._refused(f"A hook blocked the model call: {outcome.block}", model.name)
                return
            prompt = outcome.value
        journal.append(
            ModelRequested(
                request=request,
                model=model.name,
                prefix=prompt.prefix.digest,
                items=len(prompt.items),
                revision=prompt.revision,
                tail=prompt.tail,
                tokens=prompt.tokens,
                tools=prompt.tools,
                most_calls=prompt.most_calls,
                attempt=turn.attempts + 1,
            )
        )
        if not turn.rounds:
            # Who watches must see that the turn has begun; later rounds are shown with their replies.
            await journal.commit()
        await self._attempt(model, prompt, request)

    async def _reserve(
        self, request: RequestId, model: Model, tokens: int, *, last: bool
    ) -> Reservation | None:
        """Room in the budgets for a call; None, with the reason on record, where there is none."""
        desk, budgets = self._desk, self._desk.budgets
        if budgets is None:
            return Reservation()
        state = desk.journal.state
        try:
            room = await budgets.reserve(state, request, model=model.name, tokens=tokens, last=last)
        except StorageError:
            raise  # as for the log: the session goes on when the disk does
        except PerdureError as error:
            await self._refused(f"Nothing can be spent: {error}", model.name)
            return None
        try:
            for text in room.notices:
                desk.tell_owner(text, level="warning")
        except StorageError:
            await self._settle(request)
            raise
        if room.limit is None:
            return room
        if last or state.turn is None or not state.turn.rounds:
            desk.journal.append(msgspec.structs.replace(room.limit, final=True))
        else:
            notice = NoticeAdded(text=limits.sum_up(room.limit), audience="model")
            desk.journal.append(room.limit, notice)
        return None

    def _cut(self, request: RequestId, prompt: Prompt, text: str) -> None:
        """A stream that broke off was paid for, though nobody says how much: an estimate."""
        usage = Usage(input=prompt.tokens, output=len(text) // CHARS_PER_TOKEN)
        self._spent[request] = usage, None, 0

    async def _settle(self, request: RequestId) -> None:
        """What the call came to, by what is on record of it."""
        if self._desk.budgets is not None:
            usage, cost, calls = self._spent.pop(request, (Usage(), None, 0))
            await self._desk.budgets.settle(request, usage, cost, calls=calls)

    async def _attempt(self, model: Model, prompt: Prompt, request: RequestId) -> None:
        desk = self._desk
        began, heard = desk.clock.monotonic(), _Heard(desk.emit)
        try:
            reply = await desk.interruptible(model.call(prompt, request, heard))
        except Interrupted:
            self._cut(request, prompt, heard.text)
            desk.journal.append(ModelInterrupted(request=request, text=heard.text))
            return
        except ModelError as error:
            if error.partial or heard.text:
                self._cut(request, prompt, error.partial or heard.text)
            await self._failed(error, model.name, request, heard.text)
            return
        self._spent[request] = paid = reply.usage, reply.cost_usd, 0
        again = ""
        if desk.hooks.wants("on_model_response"):
            try:
                outcome = await desk.interruptible(desk.hooks.fire("on_model_response", reply))
            except Interrupted:
                cut = ModelInterrupted(request=request, usage=reply.usage, cost_usd=reply.cost_usd)
                desk.journal.append(cut)
                return
            desk.record(outcome.acts)
            if outcome.block:
                why = f"A hook blocked the reply: {outcome.block}"
                await self._refused(why, model.name, request, reply)
                return
            # A reply that a hook changed is no longer what the provider said: no native form.
            changed = outcome.value.parts != reply.parts
            reply, again = outcome.value, outcome.again
            native = None if changed else reply.native
        else:
            native = reply.native
        parts = _distinct(reply.parts)
        desk.journal.append(
            ModelResponded(
                request=request,
                model=model.name,
                parts=parts,
                stop=reply.stop,
                usage=reply.usage,
                cost_usd=reply.cost_usd,
                native=native if parts is reply.parts else None,
                ms=round((desk.clock.monotonic() - began) * 1000),
            )
        )
        calls = desk.journal.state.calls
        self._spent[request] = *paid[:2], len(calls)
        if not calls:
            desk.goes_on(again)

    async def _failed(self, error: ModelError, model: str, request: RequestId, text: str) -> None:
        desk = self._desk
        turn = desk.journal.state.turn
        assert turn is not None
        following = retry.after(
            error,
            attempts=turn.attempts,
            index=turn.fallback,
            models=len(self._models()),
            jitter=desk.ids.jitter(),
            now=desk.clock.now(),
        )
        failed = ModelFailed(
            request=request,
            model=model,
            kind=error.kind,
            message=str(error),
            status=error.status,
            partial=error.partial or text,
            retry_at=following.retry_at,
            fallback=following.fallback,
        )
        if desk.hooks.wants("on_error"):
            desk.record((await desk.hooks.fire("on_error", failed)).acts)
        desk.journal.append(failed)
        await desk.journal.commit()

    async def _refused(
        self, why: str, model: str, request: RequestId | None = None, paid: Reply | None = None
    ) -> None:
        """The call cannot or must not be made, or its reply not be used: the turn ends with this."""
        failed = ModelFailed(
            request=request or RequestId(""),
            model=model,
            kind="refused",
            message=why,
            usage=paid.usage if paid else Usage(),
            cost_usd=paid.cost_usd if paid else None,
        )
        self._desk.journal.append(failed)
        await self._desk.journal.commit()

    async def compact(self) -> None:
        desk, request = self._desk, RequestId(self._desk.ids.new("r"))
        event: AnyEvent
        try:
            models = self._models()
            turn = desk.journal.state.turn
            model = models[min(turn.fallback if turn else 0, len(models) - 1)]
            room = await self._reserve(request, model, desk.context.tokens, last=True)
            if room is None:
                event = CompactionFailed(reason="a budget is used up")
            else:
                work = desk.context.compact(
                    desk.journal.state, model, request, max_output=room.max_output
                )
                event = await desk.interruptible(work)
                if isinstance(event, ContextCompacted | CompactionFailed):
                    self._spent[request] = event.usage, event.cost_usd, 0
        except Interrupted:
            event = CompactionFailed(reason="it was interrupted", interrupted=True)
        except StorageError:
            raise
        except PerdureError as error:
            event = CompactionFailed(reason=str(error))
        finally:
            await self._settle(request)
        desk.journal.append(event)
        await desk.journal.commit()


def _distinct(parts: tuple[AssistantPart, ...]) -> tuple[AssistantPart, ...]:
    """The same parts if no two calls share an id (D3), else with other ids where they do."""
    calls = [p for p in parts if isinstance(p, ToolCall)]
    taken = {c.id for c in calls}
    if len(taken) == len(calls):
        return parts
    seen: set[str] = set()
    kept: list[AssistantPart] = []
    for part in parts:
        if isinstance(part, ToolCall):
            id_, n = part.id, 2
            while id_ in seen or (id_ != part.id and id_ in taken):
                id_, n = CallId(f"{part.id}-{n}"), n + 1
            seen.add(id_)
            part = msgspec.structs.replace(part, id=id_)
        kept.append(part)
    return tuple(kept)


class _Heard:
    """Passes deltas on and remembers the text, for the record of an interruption."""

    __slots__ = ("_emit", "_pieces")

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._pieces: list[str] = []

    def __call__(self, delta: AnyDelta) -> None:
        if isinstance(delta, TextDelta):
            self._pieces.append(delta.text)
        self._emit(delta)

    @property
    def text(self) -> str:
        return "".join(self._pieces)
