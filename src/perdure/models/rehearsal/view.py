"""What the rehearsal model sees of a prompt: what is asked of it now, and what was done about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from perdure.kernel.events import AssistantPart, Image, Part, Text, ToolCall, ToolResult
from perdure.kernel.prompt import AssistantItem, Item, Prompt, ResultsItem, UserItem

_ENDED = ("interrupted", "skipped")
"""A call with such a result was broken off by the owner or a limit: what it was for is over."""

_LINE = r"^{}: *(.+?) *$"
_MEMORY = re.compile(_LINE.format("Memory"), re.MULTILINE)
_WORKDIR = re.compile(_LINE.format("Working directory"), re.MULTILINE)
_NOW = re.compile(_LINE.format("Now"), re.MULTILINE)
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")


@dataclass(frozen=True, slots=True)
class Exchange:
    """The calls of one reply, with their results in the same order."""

    calls: tuple[ToolCall, ...]
    results: tuple[ToolResult, ...]


@dataclass(slots=True)
class Request:
    """Something the owner asked for, and what came of it."""

    text: str
    exchanges: list[Exchange] = field(default_factory=list)
    answer: str = ""
    """The last thing said about it; empty while it is being worked on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    asked: tuple[str, ...]
    """Messages not yet answered, oldest first. Several where the owner steered."""
    past: tuple[Exchange, ...]
    """What was done about them so far."""
    notice: str
    """What the runtime said last, where no message is open."""
    image: bool
    """The newest message holds an image."""
    items: Sequence[Item]
    system: str
    tail: str
    tools: frozenset[str]
    """Names of the tools offered."""

    @property
    def memory(self) -> str:
        """Path of the agent's memory file; empty if it has none."""
        return _group(_MEMORY, self.system)

    @property
    def workdir(self) -> str:
        return _group(_WORKDIR, self.system)

    @property
    def now(self) -> str:
        """Day and time as the runtime tells them; empty if it does not."""
        return _group(_NOW, self.tail)

    @property
    def date(self) -> str:
        """`YYYY-MM-DD`, or empty."""
        found = _DATE.search(self.now)
        return found.group() if found else ""

    def earlier(self) -> Iterator[str]:
        """The owner's last messages before those that are open, newest first."""
        messages = (
            i for i in reversed(self.items) if isinstance(i, UserItem) and i.kind == "message"
        )
        yield from (plain(i.parts) for i in islice(messages, len(self.asked), len(self.asked) + 10))


def see(prompt: Prompt) -> View:
    """Looks back only as far as the newest message that was answered."""
    asked: list[str] = []
    past: list[Exchange] = []
    items = prompt.items
    index = len(items)
    newest: UserItem | None = None
    while index:
        item = items[index - 1]
        if isinstance(item, ResultsItem):
            if any(r.result.status in _ENDED for r in item.results):
                break
            if index > 1 and isinstance(calls := items[index - 2], AssistantItem):
                past.append(_exchange(calls, item))
                index -= 1
        elif isinstance(item, AssistantItem) or item.kind == "summary":
            break
        elif item.kind == "message":
            newest = newest or item
            asked.append(plain(item.parts))
        index -= 1
    last = items[-1] if items else None
    if not asked and (past or (isinstance(last, UserItem) and last.kind == "summary")):
        # The request itself stands before a summary, and the work on it goes on after it.
        earlier = (i for i in reversed(items[:index]) if isinstance(i, UserItem))
        newest = next((i for i in earlier if i.kind == "message"), None)
        asked = [plain(newest.parts)] if newest is not None else []
    notice = plain(last.parts) if isinstance(last, UserItem) and last.kind == "notice" else ""
    return View(
        asked=tuple(reversed(asked)),
        past=tuple(reversed(past)),
        notice="" if asked else notice,
        image=newest is not None and any(isinstance(p, Image) for p in newest.parts),
        items=items,
        system=prompt.prefix.system,
        tail=prompt.tail,
        tools=frozenset(t.name for t in prompt.prefix.tools) if prompt.tools else frozenset(),
    )


def history(items: Sequence[Item]) -> list[Request]:
    """Everything the owner asked in what the context still holds, oldest first."""
    requests: list[Request] = []
    for index, item in enumerate(items):
        if isinstance(item, UserItem):
            if item.kind == "message":
                requests.append(Request(plain(item.parts)))
        elif isinstance(item, AssistantItem) and requests:
            if any(isinstance(p, ToolCall) for p in item.parts):
                results = items[index + 1] if index + 1 < len(items) else None
                if isinstance(results, ResultsItem):
                    requests[-1].exchanges.append(_exchange(item, results))
            else:
                requests[-1].answer = plain(item.parts)
    return requests


def summaries(items: Sequence[Item]) -> list[str]:
    """What compactions left of earlier parts of the conversation."""
    return [plain(i.parts) for i in items if isinstance(i, UserItem) and i.kind == "summary"]


def plain(parts: Sequence[Part | AssistantPart]) -> str:
    return "\n".join(p.text for p in parts if isinstance(p, Text)).strip()


def _exchange(calls: AssistantItem, results: ResultsItem) -> Exchange:
    return Exchange(
        tuple(p for p in calls.parts if isinstance(p, ToolCall)),
        tuple(r.result for r in results.results),
    )


def _group(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found.group(1) if found else ""
