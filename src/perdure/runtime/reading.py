"""The quarantined reader behind `extract`: the session's model, with a prompt that holds nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from perdure.kernel.errors import ModelError, PerdureError
from perdure.kernel.events import AnyDelta, RequestId, Text, Usage
from perdure.kernel.limits import told
from perdure.kernel.ports import Ids, Model
from perdure.kernel.prompt import READER, AssistantItem, Item, Prefix, Prompt, Reply, UserItem
from perdure.kernel.state import State
from perdure.tools import Answer

if TYPE_CHECKING:
    from perdure.budgets import SessionBudgets

CHARS_PER_TOKEN = 3


class SessionReader:
    """Implements tools.Reader. Every question goes to a model of its own, which has seen nothing."""

    def __init__(
        self,
        model: Callable[[], Model],
        ids: Ids,
        budgets: SessionBudgets | None = None,
        state: Callable[[], State] = State,
    ) -> None:
        """`model`: opens one; raises PerdureError. `state`: of the session whose budgets pay for it."""
        self._model, self._ids, self._budgets, self._state = model, ids, budgets, state

    async def __call__(
        self, instructions: str, content: str, rejected: Sequence[tuple[str, str]] = (), /
    ) -> Answer:
        items: list[Item] = [UserItem(seq=1, parts=(Text(text=content),))]
        for n, (answer, problem) in enumerate(rejected):
            said = answer if answer.strip() else "(nothing)"
            items.append(AssistantItem(seq=2 + 2 * n, parts=(Text(text=said),)))
            again = f"That cannot be used: {problem}. Answer again, with the JSON object only."
            items.append(UserItem(seq=3 + 2 * n, parts=(Text(text=again),), kind="notice"))
        prompt = Prompt(
            prefix=Prefix(system=instructions, digest=READER),
            items=items,
            tools=False,
            tokens=(len(instructions) + sum(map(_size, items))) // CHARS_PER_TOKEN,
        )
        model = self._model()
        try:
            reply = await self._ask(model, prompt)
        finally:
            await model.close()
        text = "".join(p.text for p in reply.parts if isinstance(p, Text))
        return Answer(text=text, usage=reply.usage, cost_usd=reply.cost_usd)

    async def _ask(self, model: Model, prompt: Prompt) -> Reply:
        """Raises PerdureError where no room is left in the budgets."""
        request, budgets = RequestId(self._ids.new("r")), self._budgets
        if budgets is None:
            return await model.call(prompt, request, _unheard)
        room = await budgets.reserve(
            self._state(), request, model=model.name, tokens=prompt.tokens, last=False, aside=True
        )
        if room.limit is not None:
            raise PerdureError(
                f"{told(room.limit)} Nothing was asked.",
                hint="Go on without it, or wait until the budget has room again.",
            )
        if room.max_output is not None:
            prompt = replace(prompt, max_output=room.max_output)
        usage, cost = Usage(), None
        try:
            reply = await model.call(prompt, request, _unheard)
            usage, cost = reply.usage, reply.cost_usd
        except asyncio.CancelledError:
            usage = Usage(input=prompt.tokens)  # paid for, though nobody says how much
            raise
        except ModelError as error:
            if error.partial:
                output = len(error.partial) // CHARS_PER_TOKEN
                usage = Usage(input=prompt.tokens, output=output)
            raise
        finally:
            await budgets.settle(request, usage, cost, calls=0)
        return reply


def _size(item: Item) -> int:
    parts = item.parts if isinstance(item, UserItem | AssistantItem) else ()
    return sum(len(p.text) for p in parts if isinstance(p, Text))


def _unheard(delta: AnyDelta) -> None:
    """What a stranger's text makes a model say is shown to nobody."""
