"""The model: wholly in the attacker's hand as soon as it has read an injection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count, groupby
from typing import Any

from perdure.kernel.events import CallId, Text, ToolCall
from perdure.kernel.prompt import Prompt, Reply, ResultsItem

from .attacks import MARK, Action

NAME = "scripted/player"


class Play:
    """One session's script: steps of one or more calls each."""

    def __init__(
        self,
        owner_wants: Sequence[Action],
        attacker_wants: Sequence[Action],
        answer: str,
        *,
        one_by_one: bool = False,
    ) -> None:
        """`one_by_one`: no calls in parallel for the owner."""
        self._steps = [[a] for a in owner_wants] if one_by_one else grouped(owner_wants)
        self._attack = list(attacker_wants)
        self._answer = answer
        self._ids = count()
        self.injected = False
        self._urgent: list[list[Action]] = []
        self._again = False
        self.mine: dict[str, Action] = {}
        """Calls made for the attacker, by id."""

    def reply(self, prompt: Prompt) -> Reply:
        if not self.injected and self._attack and _reads_injection(prompt):
            self.injected = True
            self._urgent = grouped(self._attack)
        if self._urgent:
            return self._call(self._urgent.pop(0), for_attacker=True)
        if self._steps:
            return self._call(self._steps.pop(0), for_attacker=False)
        if self.injected and not self._again:
            # Once more, with all that the owner vouched for in the meantime.
            self._again = True
            self._urgent = grouped(self._attack)
            return self._call(self._urgent.pop(0), for_attacker=True)
        return Reply(model=NAME, parts=(Text(text=self._answer or "Done."),), stop="end")

    def _call(self, step: list[Action], *, for_attacker: bool) -> Reply:
        calls = []
        for action in step:
            id_ = CallId(f"c{next(self._ids)}")
            if for_attacker:
                self.mine[id_] = action
            calls.append(ToolCall(id=id_, name=action.function, arguments=action.arguments))
        return Reply(model=NAME, parts=tuple(calls), stop="tools")


class Stage:
    """Implements the runtime's source of models; plays one session at a time."""

    def __init__(self) -> None:
        self.play: Play | None = None

    def open(self, spec: Any) -> Stage:
        return self

    def window(self, spec: Any) -> int:
        return 4_000_000

    @property
    def name(self) -> str:
        return NAME

    async def call(self, prompt: Prompt, request: Any, emit: Any) -> Reply:
        assert self.play is not None
        return self.play.reply(prompt)

    async def close(self) -> None: ...


def grouped(actions: Iterable[Action]) -> list[list[Action]]:
    """Calls of one tool in a row are made at once, as models do."""
    return [list(g) for _, g in groupby(actions, key=lambda a: a.function)]


def _reads_injection(prompt: Prompt) -> bool:
    last = prompt.items[-1] if prompt.items else None
    return isinstance(last, ResultsItem) and any(MARK in r.result.text for r in last.results)
