"""What the models share that need no server: a reply that is known beforehand, told piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec

from perdure.kernel.events import (
    AssistantPart,
    CallDelta,
    RequestId,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
)
from perdure.kernel.ports import Emit
from perdure.kernel.prompt import READER, Prompt

Sleep = Callable[[float], Awaitable[None]]

COMPACTION = "Compact this conversation."
"""How the runtime's request for a summary begins; it comes at the tail, with the tools withdrawn."""


def asks_for_summary(prompt: Prompt) -> bool:
    """Is this the runtime's request to compact, rather than a step of a turn?"""
    return not prompt.tools and COMPACTION in prompt.tail


def asks_to_read(prompt: Prompt) -> bool:
    """Are values to be read out of a text, as the tool `extract` wants it, apart from any conversation?"""
    return prompt.prefix.digest == READER


def pieces(text: str, size: int) -> Iterator[str]:
    """The text in pieces of about `size` characters, cut after blanks where there are any."""
    at = 0
    while at < len(text):
        end = at + size
        if end < len(text):
            blank = max(text.rfind(" ", at + 1, end), text.rfind("\n", at + 1, end))
            end = blank + 1 if blank > at else end
        yield text[at:end]
        at = end


async def tell(
    parts: Sequence[AssistantPart],
    request: RequestId,
    emit: Emit,
    *,
    size: int = 24,
    delay: float = 0.0,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Emit the parts as deltas of about `size` characters, `delay` seconds apart."""
    await sleep(0)  # a stop that was asked for before the first word arrives here
    calls = 0
    for part in parts:
        if isinstance(part, Text | Thinking):
            delta = TextDelta if isinstance(part, Text) else ThinkingDelta
            for piece in pieces(part.text, size):
                emit(delta(request=request, text=piece))
                if delay:
                    await sleep(delay)
        else:
            arguments = part.unparsed or msgspec.json.encode(part.arguments).decode()
            emit(CallDelta(request=request, index=calls, name=part.name, arguments=arguments))
            calls += 1
            if delay:
                await sleep(delay)
