"""One adapter in conversation with aimock: the same checks for every protocol."""

from __future__ import annotations

import pytest

from perdure.kernel.errors import ModelError, ModelErrorKind
from perdure.kernel.events import AnyDelta, CallDelta, Text, TextDelta, ToolCall
from perdure.kernel.ports import Model
from perdure.kernel.prompt import AssistantItem, Item, Reply, ResultsItem

from ..openai_help import REQUEST, prompt, result, user


async def ask(model: Model, items: list[Item]) -> tuple[Reply, list[AnyDelta]]:
    deltas: list[AnyDelta] = []
    return await model.call(prompt(items), REQUEST, deltas.append), deltas


async def rounds_of_tools(model: Model) -> tuple[list[Item], list[Reply]]:
    """Talk until the model calls no more tools."""
    items: list[Item] = [user(1, "Please tidy this folder.")]
    replies: list[Reply] = []
    while True:
        reply, deltas = await ask(model, items)
        replies.append(reply)
        text = "".join(p.text for p in reply.parts if isinstance(p, Text))
        calls = [p for p in reply.parts if isinstance(p, ToolCall)]
        assert "".join(d.text for d in deltas if isinstance(d, TextDelta)) == text
        assert [d.name for d in deltas if isinstance(d, CallDelta) and d.name] == [
            c.name for c in calls
        ]
        items.append(AssistantItem(seq=len(items), parts=reply.parts, native=reply.native))
        if not calls:
            return items, replies
        results = tuple(result(c.id, len(items), f"12 bytes of {c.id}") for c in calls)
        items.append(ResultsItem(seq=len(items), results=results))


async def fails(model: Model, words: str) -> ModelError:
    with pytest.raises(ModelError) as failed:
        await ask(model, [user(1, words)])
    return failed.value


FAILURES: list[tuple[str, ModelErrorKind, int]] = [
    ("hurry", "rate_limited", 429),
    ("break", "server", 500),
    ("crowd", "overloaded", 529),
]
