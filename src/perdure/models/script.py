"""A model that plays a file: for tests, demonstrations and examples, without network or key.

Where it stands in its file is read off the prompt: every reply carries its number back into the
context, so a session that is resumed by another process, forked or compacted goes on at the right
place. Only how often a scripted error was already given is kept in memory.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from perdure.kernel.errors import ModelError
from perdure.kernel.events import (
    AssistantPart,
    CallId,
    Native,
    RequestId,
    StopReason,
    Text,
    Thinking,
    ToolCall,
)
from perdure.kernel.ports import Emit
from perdure.kernel.prompt import AssistantItem, Item, Prompt, Reply, ResultsItem, UserItem

from .local import Sleep, asks_for_summary, asks_to_read, tell
from .script_file import Expect, Script, ScriptReply, read_script

FORMAT = "script"

_IN_SUMMARY = re.compile(r"\[script: (\d+) replies played\]")


class _Place(msgspec.Struct, frozen=True):
    script: str
    reply: int
    """Counted from 0, and on through repetitions."""


class ScriptModel:
    """Implements `kernel.ports.Model` for one session."""

    def __init__(self, script: Script, *, name: str = "", sleep: Sleep = asyncio.sleep) -> None:
        self._script = script
        self._name = name or f"script:{script.path}"
        self._sleep = sleep
        self._failed: dict[int, int] = {}

    @classmethod
    def load(cls, path: Path, *, name: str = "", sleep: Sleep = asyncio.sleep) -> ScriptModel:
        """Raises ConfigError with file and line."""
        return cls(read_script(path), name=name, sleep=sleep)

    @property
    def name(self) -> str:
        return self._name

    async def call(self, prompt: Prompt, request: RequestId, emit: Emit) -> Reply:
        if asks_to_read(prompt):
            return self._reading(prompt)
        at = self._position(prompt.items)
        if asks_for_summary(prompt):
            text = f"{self._script.summary}\n[script: {at} replies played]"
            return Reply(model=self._name, parts=(Text(text=text),), stop="end", cost_usd=0.0)
        at, reply = self._next(at)
        if reply.expect is not None:
            self._check(reply.expect, prompt)
        await self._sleep(reply.wait)
        parts = _parts(reply, at)
        await tell(parts, request, emit, size=reply.chunk, delay=reply.delay, sleep=self._sleep)
        if reply.error is not None:
            self._failed[at] = self._failed.get(at, 0) + 1
            raise ModelError(
                reply.error.message,
                kind=reply.error.kind,
                status=reply.error.status,
                retry_after=reply.error.retry_after,
                partial=reply.text,
            )
        place = msgspec.json.encode(_Place(self._name, at))
        return Reply(
            model=self._name,
            parts=parts,
            stop=reply.stop or _stop(reply),
            usage=reply.usage,
            cost_usd=reply.cost_usd,
            native=Native(format=FORMAT, body=msgspec.Raw(place)),
        )

    async def close(self) -> None:
        """Nothing is held."""

    def _reading(self, prompt: Prompt) -> Reply:
        """The reader's answer, by how often it has answered already."""
        reads = self._script.reads
        if not reads:
            raise ModelError(
                f"{self._script.path}: `extract` was called, and there are no `reads:`.",
                kind="invalid",
            )
        attempt = sum(isinstance(i, AssistantItem) for i in prompt.items)
        text = reads[min(attempt, len(reads) - 1)]
        return Reply(model=self._name, parts=(Text(text=text),), stop="end", cost_usd=0.0)

    def _position(self, items: Sequence[Item]) -> int:
        """How many replies were played, by what the context still shows of them."""
        unmarked = 0
        for item in reversed(items):
            if isinstance(item, AssistantItem):
                place = _place(item.native)
                if place is not None and place.script == self._name:
                    return place.reply + 1 + unmarked
                # A hook that rewrote a reply took its mark away.
                unmarked += item.native is None and item.model == self._name
            elif (
                isinstance(item, UserItem)
                and item.kind == "summary"
                and (played := _IN_SUMMARY.search(_text(item)))
            ):
                return int(played.group(1)) + unmarked
        return unmarked

    def _next(self, at: int) -> tuple[int, ScriptReply]:
        """The reply to play, past the errors that were already given often enough."""
        replies = self._script.replies
        while True:
            if at >= len(replies) and self._script.at_end == "fail":
                raise ModelError(
                    f"{self._script.path}: the script has ended after {len(replies)} replies.",
                    kind="invalid",
                    hint="Add a reply to it, or set `at_end: repeat`.",
                )
            reply = replies[at % len(replies)]
            if reply.error is None or self._failed.get(at, 0) < reply.error.times:
                return at, reply
            at += 1

    def _check(self, expect: Expect, prompt: Prompt) -> None:
        for what, wanted, found in _comparisons(expect, prompt):
            if wanted not in found:
                raise ModelError(
                    f"{self._script.path}:{expect.line}: expected {what} to contain "
                    f"{wanted!r}, but it is {_short(found)}.",
                    kind="invalid",
                )


def _comparisons(expect: Expect, prompt: Prompt) -> list[tuple[str, str, str]]:
    """(what, text that must be in it, what it is)."""
    last = next(
        (i for i in reversed(prompt.items) if isinstance(i, UserItem) and i.kind == "message"), None
    )
    found = [
        ("the last message", expect.message, _text(last) if last is not None else ""),
        ("the system prompt", expect.system, prompt.prefix.system),
        ("the tail", expect.tail, prompt.tail),
    ]
    if expect.tools is not None:
        found.append(("`tools`", str(expect.tools).lower(), str(prompt.tools).lower()))
    if expect.results or expect.status:
        results = next(
            (i.results for i in reversed(prompt.items) if isinstance(i, ResultsItem)), ()
        )
        for n in range(max(len(expect.results), len(expect.status))):
            result = results[n].result if n < len(results) else None
            if n < len(expect.results):
                text = result.text if result is not None else "(no such result)"
                found.append((f"result {n + 1}", expect.results[n], text))
            if n < len(expect.status):
                status = result.status if result is not None else "(no such result)"
                found.append((f"the status of result {n + 1}", expect.status[n], status))
    return [(what, wanted, text) for what, wanted, text in found if wanted]


def _parts(reply: ScriptReply, at: int) -> tuple[AssistantPart, ...]:
    parts: list[AssistantPart] = []
    if reply.thinking.strip():
        parts.append(Thinking(text=reply.thinking))
    if reply.text.strip():
        parts.append(Text(text=reply.text))
    for n, call in enumerate(reply.calls):
        parts.append(
            ToolCall(
                id=CallId(call.id or f"script_{at}_{n}"),
                name=call.tool,
                arguments=call.arguments,
                unparsed=call.unparsed,
            )
        )
    return tuple(parts)


def _stop(reply: ScriptReply) -> StopReason:
    return "tools" if reply.calls else "end"


def _place(native: Native | None) -> _Place | None:
    if native is None or native.format != FORMAT:
        return None
    try:
        return msgspec.json.decode(native.body, type=_Place)
    except msgspec.DecodeError:
        return None


def _text(item: UserItem) -> str:
    return "\n".join(p.text for p in item.parts if isinstance(p, Text))


def _short(text: str) -> str:
    return repr(text if len(text) <= 200 else f"{text[:199]}…")
