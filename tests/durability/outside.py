"""What is outside the process and outlives it: tools' effects, commands, the model's provider."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perdure.context.compaction import TASK
from perdure.kernel.errors import Conflict, ModelError
from perdure.kernel.events import CallId, Text, TextDelta, ToolCall, ToolResult
from perdure.kernel.prompt import AssistantItem, Prompt, Reply, ResultsItem, UserItem
from perdure.sandbox.following import Outcome
from perdure.tools import Tool, ToolContext, ok

from ..kernel.world import check_pairing

MODEL = "fake/model"
TOOLS = ("look", "flood", "pay", "post", "sign", "slow", "bash", "wait", "nonsense")
"""What a message may ask for. `wait` is a command that lasts; `fail` and `hang` are the model's."""
ONCE = ("pay", "sign", "slow", "bash", "wait")
"""Effects that must not happen twice under one key."""


class Outside:
    def __init__(self, stored: Callable[[bytes], bool]) -> None:
        """`stored`: is this on stable storage, so that a power loss now would leave it?"""
        self.stored = stored
        self.effects: Counter[str] = Counter()
        """By idempotency key."""
        self.posted: set[str] = set()
        self.commands: dict[str, str] = {}
        """Key to `running`, `exited`, `stopped` or `lost`."""
        self.failed: Counter[str] = Counter()
        self.boot = 1
        self._doors: dict[asyncio.Event, None] = {}
        """What hangs until `go_on`."""
        self.tools = self._tools()

    def go_on(self) -> None:
        """Commands that last come to their end, and what hung goes on."""
        for key, how in self.commands.items():
            if how == "running":
                self.commands[key] = "exited"
        for door in list(self._doors):
            door.set()

    @property
    def hangs(self) -> bool:
        return bool(self._doors)

    def machine_went_down(self) -> None:
        self.boot += 1
        self.commands = {k: "lost" if v == "running" else v for k, v in self.commands.items()}

    async def hang(self) -> None:
        with self._door() as door:
            await door.wait()

    @contextmanager
    def _door(self) -> Iterator[asyncio.Event]:
        door = asyncio.Event()
        self._doors[door] = None
        try:
            yield door
        finally:
            self._doors.pop(door, None)

    def happen(self, key: str) -> None:
        """An effect. D2: the intent is on disk by now."""
        assert self.stored(key.encode()), f"{key} happened before its intent was stored"
        self.effects[key] += 1

    def _tools(self) -> list[type[Tool]]:
        outside = self

        class Look(Tool):
            """Read something."""

            effects = frozenset({"reads"})
            cooperative = True

            async def execute(self, context: ToolContext) -> ToolResult:
                await asyncio.sleep(0)
                return ok("seen")

        class Flood(Tool):
            """Read much."""

            effects = frozenset({"reads"})
            cooperative = True

            async def execute(self, context: ToolContext) -> ToolResult:
                return ok(f"{context.key} " + "much " * 2_000)

        class Pay(Tool):
            """Something that must not happen twice."""

            cooperative = True

            async def execute(self, context: ToolContext) -> ToolResult:
                await asyncio.sleep(0)
                outside.happen(context.key)
                await asyncio.sleep(0)
                return ok("paid")

        class Sign(Pay):
            """The same, but asks the owner first."""

        class Slow(Tool):
            """The same, and goes on for long."""

            cooperative = True

            async def execute(self, context: ToolContext) -> ToolResult:
                outside.happen(context.key)
                await outside.hang()
                return ok("at last")

        class Post(Tool):
            """May be repeated: the other side knows the key."""

            idempotent = True
            cooperative = True

            async def execute(self, context: ToolContext) -> ToolResult:
                if context.key not in outside.posted:
                    outside.posted.add(context.key)
                    outside.happen(context.key)
                await asyncio.sleep(0)
                return ok("posted")

        return [Look, Flood, Pay, Sign, Slow, Post]


class OutsideCommands:
    """Implements tools.Commands: processes that do not care whether the runtime lives."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._released: set[str] = set()
        self.environment: Mapping[str, str] = {"PATH": os.defpath}
        self.online = False
        self.writable: tuple[Path, ...] = ()

    def within(self, containment: object, confines: object = None) -> OutsideCommands:
        """They are outside anyway."""
        return self

    def known(self, key: str) -> bool:
        return key in self._outside.commands

    def running(self, key: str) -> bool:
        return self._outside.commands.get(key) == "running"

    def forget(self, key: str) -> None:
        if self._outside.commands.get(key) != "running":
            self._outside.commands.pop(key, None)

    def release(self, prefix: str = "") -> None:
        self._released.add(prefix)

    def hold(self, prefix: str) -> None:
        self._released.discard(prefix)

    async def close(self) -> None: ...

    async def run(
        self,
        command: str | Sequence[str],
        *,
        key: str,
        cwd: Path,
        timeout: float,
        on_output: Any = None,
        resumed: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Outcome:
        outside, known = self._outside, key in self._outside.commands
        if known and not resumed:
            raise Conflict(f"a command was already run under the key {key}")
        if not known:
            outside.happen(key)
            outside.commands[key] = "running" if command == "wait" else "exited"
        try:
            await asyncio.sleep(0)
            while outside.commands[key] == "running":
                await outside.hang()
        except asyncio.CancelledError:
            left = key.startswith(tuple(self._released))
            if not left and outside.commands[key] == "running":
                outside.commands[key] = "stopped"
            raise
        how: Any = outside.commands[key]
        code = 0 if how == "exited" else None
        return Outcome(state=how, output=Path("/dev/null"), exit_code=code)


class Provider:
    """The model's side. What it answers depends on the prompt alone: a message `m1|pay,look;bash` wants
    two rounds of calls, and then an answer that names it."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def open(self, spec: Any) -> OneModel:
        return OneModel(self._outside)

    def window(self, spec: Any) -> int:
        return 20_000

    async def close(self) -> None: ...


class OneModel:
    name = MODEL

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    async def close(self) -> None: ...

    async def call(self, prompt: Prompt, request: Any, emit: Any) -> Reply:
        check_pairing(prompt.items)  # D3
        await asyncio.sleep(0)
        if TASK[:60] in prompt.tail:
            return _reply("a summary")
        asked, rounds = _asked(prompt)
        plan = [part for _, parts in asked for part in parts]
        calls = plan[rounds] if rounds < len(plan) else ()
        emit(TextDelta(request=request, text="I "))
        for special in calls:
            if special == "hang":
                await self._outside.hang()
            elif special == "fail":
                nth = f"{asked[-1][0]}.{rounds}"
                self._outside.failed[nth] += 1
                if self._outside.failed[nth] == 1:
                    raise ModelError("try again", kind="overloaded", status=529)
        calls = tuple(c for c in calls if c not in ("hang", "fail"))
        if rounds < len(plan) and prompt.tools:
            return _reply("I act.", *(_call(n, c) for n, c in enumerate(calls or ("look",))))
        return _reply("Answer: " + " ".join(name for name, _ in asked))


def _asked(prompt: Prompt) -> tuple[list[tuple[str, list[tuple[str, ...]]]], int]:
    """Messages not yet answered, with what each wants, and how many rounds were made for them."""
    asked: list[tuple[str, list[tuple[str, ...]]]] = []
    rounds = 0
    for item in prompt.items:
        if isinstance(item, AssistantItem):
            if any(isinstance(part, ToolCall) for part in item.parts):
                rounds += 1
            else:
                asked, rounds = [], 0
        elif isinstance(item, UserItem) and item.kind == "message":
            for part in item.parts:
                if isinstance(part, Text) and "|" in part.text:
                    name, _, wishes = part.text.partition("|")
                    rows = [tuple(r.split(",")) for r in wishes.split(";") if r]
                    asked.append((name, rows))
        else:
            assert isinstance(item, ResultsItem | UserItem)
    return asked, rounds


def _call(n: int, name: str) -> ToolCall:
    arguments = {"command": name} if name in ("bash", "wait") else {}
    tool = "bash" if name == "wait" else name
    return ToolCall(id=CallId(f"c{n}"), name=tool, arguments=arguments)


def _reply(text: str, *calls: ToolCall) -> Reply:
    return Reply(model=MODEL, parts=(Text(text=text), *calls), stop="tools" if calls else "end")
