"""The rehearsal model as a port: from a prompt to a reply, with nothing kept in between."""

from __future__ import annotations

import asyncio
import re

import msgspec

from perdure.kernel.events import AssistantPart, CallId, RequestId, Text, ToolCall
from perdure.kernel.ports import Emit
from perdure.kernel.prompt import Prompt, Reply

from ..local import Sleep, asks_for_summary, asks_to_read, tell
from . import file_rules, memory, reading, recall, talk, tidy, web
from .plan import Move, Plan, next_move, only
from .rules import understand
from .view import View, see

RULES = (
    *memory.RULES,
    *recall.RULES,
    *talk.RULES,
    *web.RULES,
    *tidy.RULES,
    *file_rules.RULES,
)

_CANCEL = re.compile(
    r"\W*(?:stop|cancel|never ?mind|forget it|abort|wait)\b[^\n]{0,40}", re.IGNORECASE
)
_AGAIN = re.compile(
    r"\W*(?:please\s+)?(?:(?:try|do|run)(?:\s+(?:it|that))?\s+(?:again|once more)|again|retry"
    r"|repeat(?:\s+(?:it|that))?)"
    r"(?:\W+please)?\W*",
    re.IGNORECASE,
)


class RehearsalModel:
    """Implements `kernel.ports.Model`. Free of charge, and counts no tokens, since it reads none."""

    def __init__(self, *, name: str = "rehearsal", sleep: Sleep = asyncio.sleep) -> None:
        self._name = name
        self._sleep = sleep

    @property
    def name(self) -> str:
        return self._name

    async def call(self, prompt: Prompt, request: RequestId, emit: Emit) -> Reply:
        if asks_for_summary(prompt):
            parts: tuple[AssistantPart, ...] = (Text(text=recall.compacted(prompt)),)
        elif asks_to_read(prompt):
            parts = (Text(text=reading.values(prompt)),)
        else:
            parts = _parts(answer(see(prompt), tools=prompt.tools), prompt)
        await tell(parts, request, emit, sleep=self._sleep)
        calls = any(isinstance(p, ToolCall) for p in parts)
        return Reply(model=self._name, parts=parts, stop="tools" if calls else "end", cost_usd=0.0)

    async def close(self) -> None:
        """Nothing is held."""


def answer(view: View, *, tools: bool = True) -> Move:
    """What to say and do next."""
    if not tools and view.asked:
        return Move(recall.withdrawn(view))
    return next_move(_plans(view), view.past, view.tools)


def _plans(view: View) -> list[Plan]:
    """Of all open messages, in order. One that says stop drops those before it."""
    messages = list(view.asked) or [view.notice]
    for index in range(len(messages) - 1, 0, -1):
        if _CANCEL.fullmatch(messages[index].strip()):
            messages = messages[index:]
            break
    plans: list[Plan] = []
    for text in messages:
        plans += _plans_of(text, view)
    return plans


def _plans_of(text: str, view: View) -> list[Plan]:
    if _AGAIN.fullmatch(text):
        text = next((t for t in view.earlier() if not _AGAIN.fullmatch(t)), text)
    found = understand(text, RULES, view) if text.strip() else None
    if found is not None:
        return found
    if not view.asked:
        return [only(f"I have nothing to add. {talk.WHAT_I_AM}")]
    return [only(talk.not_understood(text, view))]


def _parts(move: Move, prompt: Prompt) -> tuple[AssistantPart, ...]:
    # Unique in the session: no two replies follow the same record.
    seq = prompt.items[-1].seq if prompt.items else 0
    calls = [
        ToolCall(
            id=CallId(f"rehearsal_{seq}_{index}"),
            name=call.tool,
            arguments=msgspec.json.decode(msgspec.json.encode(call.arguments)),
        )
        for index, call in enumerate(move.calls)
    ]
    text = move.say or ("" if calls else "Done.")
    return (*((Text(text=text),) if text else ()), *calls)
