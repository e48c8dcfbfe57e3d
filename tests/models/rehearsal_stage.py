"""A stage for the rehearsal model: a conversation, and tools that do what the real ones do, in small."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from perdure.kernel.events import AnyDelta, Json, RequestId, Text, ToolCall, ToolResult
from perdure.kernel.prompt import (
    AssistantItem,
    CallResult,
    Item,
    Prefix,
    Prompt,
    Reply,
    ResultsItem,
    ToolSchema,
    UserItem,
)
from perdure.models.rehearsal import RehearsalModel

TOOLS = ("read", "write", "edit", "bash")
Tool = Callable[[ToolCall], ToolResult | None]
"""None: let the usual tool run."""


@dataclass
class Stage:
    folder: Path
    memory: str = ""
    tail: str = "<runtime>\nNow: Saturday 2026-11-21 10:00 UTC\n</runtime>"
    items: list[Item] = field(default_factory=list)
    deltas: list[AnyDelta] = field(default_factory=list)
    tools: tuple[str, ...] = TOOLS
    offered: bool = True
    intercept: Tool | None = None
    calls: list[ToolCall] = field(default_factory=list)

    def prompt(self) -> Prompt:
        system = f"Agent: main\nWorking directory: {self.folder}\n"
        if self.memory:
            system += f"Memory: {self.memory}\n"
        schemas = tuple(ToolSchema(name=n, description="", parameters={}) for n in self.tools)
        prefix = Prefix(system=system, tools=schemas, digest="d")
        return Prompt(prefix=prefix, items=self.items, tail=self.tail, tools=self.offered)

    def say(self, text: str) -> None:
        self.items.append(UserItem(seq=self._seq(), parts=(Text(text=text),)))

    async def reply(self) -> Reply:
        """One call of a fresh model, as after a restart."""
        model = RehearsalModel()
        return await model.call(self.prompt(), RequestId("r"), self.deltas.append)

    async def step(self) -> Reply:
        """One reply, and its calls carried out."""
        reply = await self.reply()
        self.items.append(AssistantItem(seq=self._seq(), parts=reply.parts))
        calls = [p for p in reply.parts if isinstance(p, ToolCall)]
        if calls:
            results = tuple(
                CallResult(call=c.id, tool=c.name, seq=self._seq(), result=self.perform(c))
                for c in calls
            )
            self.items.append(ResultsItem(seq=self._seq(), results=results))
        return reply

    async def ask(self, text: str) -> str:
        """A message, and what is said in the end."""
        self.say(text)
        return await self.finish()

    async def finish(self) -> str:
        for _ in range(30):
            reply = await self.step()
            if not any(isinstance(p, ToolCall) for p in reply.parts):
                return "".join(p.text for p in reply.parts if isinstance(p, Text))
        raise AssertionError("the turn does not end")

    def perform(self, call: ToolCall) -> ToolResult:
        self.calls.append(call)
        if self.intercept is not None and (result := self.intercept(call)) is not None:
            return result
        run = {"read": self._read, "write": self._write, "edit": self._edit, "bash": self._bash}
        return run[call.name](call.arguments)

    @property
    def commands(self) -> list[str]:
        return [str(c.arguments["command"]) for c in self.calls if c.name == "bash"]

    def _seq(self) -> int:
        return len(self.items) + 1

    def _path(self, arguments: dict[str, Json]) -> Path:
        return self.folder / str(arguments["path"])

    def _read(self, arguments: dict[str, Json]) -> ToolResult:
        path = self._path(arguments)
        if path.is_dir():
            names = sorted(p.name + "/" * p.is_dir() for p in path.iterdir())
            text = f"{arguments['path']} is a folder with {len(names)} entries:\n" + "\n".join(
                names
            )
            return _ok(text, entries=len(names))
        if not path.exists():
            return _failed(f"There is no {arguments['path']}.")
        text = path.read_text()
        if not text:
            return _ok(f"{arguments['path']} is empty.", lines=0, total=0)
        lines = text.removesuffix("\n").split("\n")
        body = "\n".join(f"{n}\t{line}" for n, line in enumerate(lines, 1))
        return _ok(body, first=1, lines=len(lines), total=len(lines))

    def _write(self, arguments: dict[str, Json]) -> ToolResult:
        path = self._path(arguments)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(arguments["content"]))
        return _ok(f"Created {arguments['path']}.", diff="+")

    def _edit(self, arguments: dict[str, Json]) -> ToolResult:
        path, old = self._path(arguments), str(arguments["old_string"])
        if not path.exists():
            return _failed(f"There is no {arguments['path']}.")
        text = path.read_text()
        count = text.count(old)
        if count == 0 or (count > 1 and not arguments.get("replace_all")):
            return _failed(f"{arguments['path']} was not changed: it occurs {count} times.")
        path.write_text(text.replace(old, str(arguments["new_string"])))
        return _ok(f"Changed {arguments['path']}.", diff="+", replaced=count)

    def _bash(self, arguments: dict[str, Json]) -> ToolResult:
        bash = shutil.which("bash")
        assert bash is not None
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"}
        done = subprocess.run(
            [bash, "-c", str(arguments["command"])],
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", done.stdout.decode("utf-8", "replace"))
        if done.returncode:
            text += f"[exit code {done.returncode}, 0.01 s]"
        return ToolResult(
            status="ok" if done.returncode == 0 else "error",
            parts=(Text(text=text or "(no output)"),),
            data={"exit_code": done.returncode, "lines": done.stdout.count(b"\n")},
        )


def _ok(text: str, **data: Json) -> ToolResult:
    return ToolResult(parts=(Text(text=text),), data=data)


def _failed(text: str) -> ToolResult:
    return ToolResult(status="error", parts=(Text(text=text),))


def denied(note: str = "") -> ToolResult:
    return ToolResult(status="denied", parts=(Text(text=note or "The user said no."),))
