"""How much a context may hold, and how much a thing in it weighs.

Weights are bytes of UTF-8, which are free to count; tokens are estimated from them by a ratio that
the session learns from its provider's own counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from perdure.kernel.events import AssistantPart, Part, Text, Thinking, ToolCall
from perdure.kernel.prompt import CallResult, Item, Prefix, ResultsItem

BYTES_PER_TOKEN = 4.0
"""Assumed until a provider has counted."""
IMAGE_BYTES = 6_000
"""About 1,500 tokens, what the large providers charge for an image of usual size."""
ITEM_BYTES = 16
"""Role markers and separators."""


class ContextBudget(msgspec.Struct, frozen=True, kw_only=True):
    """All in tokens, or shares of the window."""

    window: int = 128_000
    """What the model can take, answer included."""
    answer: int = 8_000
    """Kept free for the model's answer."""
    max_result_tokens: int = 10_000
    """A longer tool result enters as its head and tail."""
    clear_at: float = 0.5
    """Share of the window from which old results are cleared."""
    keep_results: int = 8
    """The newest results, which are never cleared."""
    compact_at: float = 0.8
    """Share of the window from which the conversation is compacted."""
    keep_tokens: int = 20_000
    """The end of the conversation, which compaction leaves as it is."""
    owner_share: float = 0.25
    """Share of the window that the owner's own messages keep verbatim through a compaction."""

    @property
    def usable(self) -> int:
        """Tokens a request may have. Small windows keep at most a quarter for the answer."""
        return self.window - min(self.answer, self.window // 4)


def weigh_text(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def weigh_parts(parts: Iterable[Part | AssistantPart]) -> int:
    total = 0
    for part in parts:
        if isinstance(part, Text) or isinstance(part, Thinking):  # noqa: SIM101 - a third of the time
            text = part.text
            total += len(text) if text.isascii() else weigh_text(text)
        elif isinstance(part, ToolCall):
            total += len(part.name) + len(part.unparsed) + 8
            total += len(msgspec.json.encode(part.arguments))
        else:
            total += IMAGE_BYTES
    return total


def weigh(item: Item) -> int:
    if isinstance(item, ResultsItem):
        return weigh_results(item.results)
    return ITEM_BYTES + weigh_parts(item.parts)


def weigh_results(results: Sequence[CallResult]) -> int:
    total = ITEM_BYTES * len(results)
    for result in results:
        total += weigh_parts(result.result.parts)
    return total


def weigh_prefix(prefix: Prefix) -> int:
    return weigh_text(prefix.system) + (
        len(msgspec.json.encode(prefix.tools)) if prefix.tools else 0
    )
