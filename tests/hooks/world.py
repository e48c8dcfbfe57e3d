"""A hook set over files that a test writes, and the values that come by."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from perdure.hooks import CommandHook, HookRunner, HookSet
from perdure.kernel.events import (
    CallId,
    MessageId,
    MessageReceived,
    ModelFailed,
    RequestId,
    SessionId,
    Text,
    ToolCall,
    ToolResult,
    TurnEnded,
    TurnId,
)
from perdure.kernel.prompt import CallResult, Prefix, Prompt, Reply, UserItem

SESSION = SessionId("s_1")


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".perdure" / "hooks"
        self.own = root / ".perdure" / "agents" / "main" / "hooks"
        self.folder.mkdir(parents=True)
        self.own.mkdir(parents=True)
        self.now = 0.0
        self.commands: Sequence[CommandHook] = ()
        self.set = HookSet(
            (self.folder, self.own), lambda: self.commands, monotonic=lambda: self.now
        )
        self.runner = HookRunner(self.set, SESSION)

    def write(self, name: str, source: str, folder: Path | None = None) -> Path:
        path = (folder or self.folder) / name
        path.write_text("from perdure.hooks import *\n" + textwrap.dedent(source))
        self.now += 10.0
        return path

    def script(self, name: str, source: str) -> str:
        path = self.root / name
        path.write_text("#!/bin/sh\n" + textwrap.dedent(source))
        path.chmod(0o755)
        return f"./{name}"


def message(text: str = "hello") -> MessageReceived:
    return MessageReceived(message=MessageId("m1"), parts=(Text(text=text),), key="k")


def call(name: str = "bash", **arguments: str) -> ToolCall:
    return ToolCall(id=CallId("c1"), name=name, arguments=dict(arguments))


def result(text: str = "out", tool: str = "bash") -> CallResult:
    done = ToolResult(parts=(Text(text=text),), data={"exit_code": 0})
    return CallResult(call="c1", tool=tool, seq=0, result=done)


def reply(*parts: Text | ToolCall) -> Reply:
    stop = "tools" if any(isinstance(part, ToolCall) for part in parts) else "end"
    return Reply(model="m", parts=parts or (Text(text="done"),), stop=stop)  # type: ignore[arg-type]


def prompt(tail: str = "It is Monday.") -> Prompt:
    items = [UserItem(seq=1, parts=(Text(text="hi"),))]
    return Prompt(prefix=Prefix(system="s"), items=items, tail=tail, tokens=10)


def ended() -> TurnEnded:
    return TurnEnded(turn=TurnId("t1"), reason="done")


def failed() -> ModelFailed:
    return ModelFailed(request=RequestId("r1"), model="m", kind="server", message="500")
