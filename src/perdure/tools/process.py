"""The process tool: commands that go on after the call, and after the turn."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field, model_validator

from perdure.kernel.events import Json, ToolResult
from perdure.kernel.labels import SELF, Label

from .base import Effect, Sink, Tool, ToolContext, failed, ok
from .bash import MAX_COMMAND, live, plain
from .labelling import command_label, elsewhere, printed_label
from .seams import Process as Running

MAX_WAIT = 600
MAX_TEXT = 64 << 10
CONTROLS = "\n\r\x03\x04\x1a\x1c"
"""Input that ends with none of these is a line that wants its end."""
REQUIRED: dict[str, tuple[str, ...]] = {
    "start": ("command",),
    "list": (),
    "output": ("id",),
    "wait": ("id",),
    "send": ("id", "text"),
    "stop": ("id",),
}


class Process(Tool):
    """Commands that run on after the call: servers, builds, REPLs. start returns an id.
    output, wait: what is new; send types a line."""

    name = "process"
    effects = frozenset({"reads", "writes", "network"})
    recovery = "rejoin"
    time_limit = None  # `wait` keeps its own, the rest is quick
    cooperative = True
    marks = True  # output that was shown is not shown again
    tracks = True
    selects = ("action",)
    sink = Sink(kind="execute", critical={"command": "command", "text": "command"})

    action: Literal["start", "list", "output", "wait", "send", "stop"]
    id: str = ""
    command: Annotated[str, Field(max_length=MAX_COMMAND)] = ""
    label: Annotated[str, Field(alias="name", max_length=60)] = ""
    terminal: bool = False
    notify: Annotated[
        str, Field(description='Be told at its "end", or when output matches this regex')
    ] = ""
    seconds: Annotated[int, Field(ge=0, le=MAX_WAIT)] = 30
    until: Annotated[str, Field(description="Regex that ends the wait")] = ""
    offset: Annotated[int | None, Field(ge=0, description="Byte")] = None
    limit: Annotated[int | None, Field(ge=1)] = None
    text: Annotated[str, Field(max_length=MAX_TEXT)] = ""

    @model_validator(mode="after")
    def _fits(self) -> Process:
        for name in REQUIRED[self.action]:
            if not getattr(self, name):
                raise ValueError(f"{self.action} needs {name}")
        if "\0" in self.command:
            raise ValueError("a command cannot contain NUL characters")
        for name in ("until", "notify"):
            try:
                re.compile(getattr(self, name))
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"{name} is no regular expression: {error}") from None
        return self

    def acts(self) -> frozenset[Effect]:
        """Looking at what it started itself, and ending it, needs nobody's leave."""
        return self.effects if self.action in ("start", "send") else frozenset({"reads"})

    def shell(self) -> str | None:
        """What is sent may be a command as well: what it is sent to may be a shell."""
        if self.action == "send":
            return self.text
        return self.command if self.action == "start" else None

    def speaks_to(self) -> str:
        return self.id if self.action == "send" else ""

    def preview(self, workdir: Path) -> str:
        if self.action == "send":
            return f"to {self.id}: {self.text}"
        return self.command if self.action == "start" else f"{self.action} {self.id}"

    async def execute(self, context: ToolContext) -> ToolResult:
        result = await self._act(context)
        if result.label is None and context.label.tainted:  # it repeats what the model wrote
            return msgspec.structs.replace(result, label=SELF.join(context.label))
        return result

    async def _act(self, context: ToolContext) -> ToolResult:
        if self.action == "start":
            return await self._start(context)
        if self.action == "list":
            return self._list(await context.commands.background.all(context.session))
        process = await context.commands.background.find(context.session, self.id)
        match self.action:
            case "wait":
                return await self._wait(process, context)
            case "send":
                return await self._send(process, context)
            case "stop":
                process = await context.commands.background.stop(process)
        return await self._shown(process, context)

    async def _start(self, context: ToolContext) -> ToolResult:
        if not context.workdir.is_dir():
            return failed(f"The working directory {context.workdir} is gone.")
        label = await self._begin(self.command, context.key, context)
        try:
            process = await context.commands.background.start(
                context.session,
                self.command,
                key=context.key,
                cwd=context.workdir,
                name=self.label,
                notify=self.notify,
                terminal=self.terminal,
            )
        except OSError as error:
            return failed(f"It could not be started: {error.strerror or error}.")
        if context.labels is not None:
            context.labels.seal(process.output, label)
        return await self._shown(process, context)

    def _list(self, processes: Sequence[Running]) -> ToolResult:
        lines = [f"{_named(p)}  {_state(p)}  {_short(p.command)}" for p in processes]
        facts: list[Json] = [{**_facts(p), "command": p.command, "name": p.name} for p in processes]
        return ok("\n".join(lines) or "No processes.", processes=facts)

    async def _wait(self, process: Running, context: ToolContext) -> ToolResult:
        background = context.commands.background
        begin, _ = await background.unseen(process, key=context.key, advance=False)
        process, matched = await background.wait(
            process,
            float(self.seconds),
            until=self.until,
            after=begin,
            show=lambda stream, text: context.output(live(text), stream),
        )
        note = "matched" if matched else f"not matched in {self.seconds} s" if self.until else ""
        return await self._shown(process, context, note, matched=matched)

    async def _send(self, process: Running, context: ToolContext) -> ToolResult:
        if context.resumed and context.scratch.exists():
            text = f"It may or may not have been sent to {process.id}; look at its output."
            return failed(text, "in_doubt")
        context.scratch.touch()
        label = await self._begin(self.text, process.key, context)
        if context.labels is not None:
            context.labels.seal(process.output, label)
        text = self.text if self.text.endswith(tuple(CONTROLS)) else self.text + "\n"
        background = context.commands.background
        await background.send(process, text)
        process, _ = await background.wait(process, 0.2)
        return await self._shown(process, context)

    async def _begin(self, command: str, key: str, context: ToolContext) -> Label:
        """From now on, what is changed in its folders may be its work. The label of what it prints."""
        label = command_label(command, context)
        if context.label.tainted:
            label = label.join(context.label)
        if context.labels is not None:
            whole = label.join(context.label)
            begin, also = context.labels.begin, elsewhere(context)
            await asyncio.to_thread(begin, key, context.workdir, whole, also=also, lasting=True)
        return label

    async def _shown(
        self, process: Running, context: ToolContext, note: str = "", **facts: Json
    ) -> ToolResult:
        """Its state, and what is new of its output, or what was asked for."""
        begin, end = await context.commands.background.unseen(
            process, key=context.key, advance=self.offset is None
        )
        limit = min(self.limit or context.max_result_chars, context.max_result_chars)
        if self.offset is not None:
            begin, end = self.offset, min(self.offset + limit, process.size)
        text = await asyncio.to_thread(_excerpt, process, begin, max(begin, end), limit)
        notes = [_named(process), _state(process), *([note] if note else [])]
        if process.dropped:
            notes.append(f"{process.dropped:,} bytes beyond the limit were not kept")
        if self.offset is not None and end < process.size:
            notes.append(f"more: offset={end}")
        shown = f"{text.rstrip(chr(10))}\n[{'; '.join(notes)}]".lstrip("\n")
        broken = self.action == "start" and process.state in ("unstarted", "lost")
        result = failed(shown) if broken else ok(shown)
        data: dict[str, Json] = {**_facts(process), "offset": begin, "next": end, **facts}
        label = printed_label(process, context.labels, context.label)
        if context.labels is not None and process.state != "running":
            await asyncio.to_thread(context.labels.end, process.key)
        return ToolResult(status=result.status, parts=result.parts, data=data, label=label)


def _facts(process: Running) -> dict[str, Json]:
    return {
        "id": process.id,
        "state": process.state,
        "exit_code": process.exit_code,
        "seconds": round(process.seconds, 3),
        "bytes": process.size,
    }


def _named(process: Running) -> str:
    return f"{process.id} ({process.name})" if process.name else process.id


def _short(command: str) -> str:
    line = " ".join(command.split())
    return line if len(line) <= 80 else f"{line[:79]}…"


def _state(process: Running) -> str:
    took = f"{process.seconds:.3g} s"
    match process.state:
        case "running":
            return f"running, {took}"
        case "exited":
            return f"exit code {process.exit_code}, {took}"
        case "stopped":
            return f"stopped after {took}"
        case "unstarted":
            return f"not started: {process.error or 'nobody came to start it'}"
        case "lost":
            return f"lost: {process.error}"


def _excerpt(process: Any, begin: int, end: int, limit: int) -> str:
    """A part of its output; of one that is too long, both ends. Blocking."""
    if begin >= end:
        return ""
    with process.output.open("rb") as file:
        file.seek(begin)
        if end - begin <= limit:
            data, tail = file.read(end - begin), None
        else:
            data = file.read(limit * 2 // 5)
            file.seek(end - limit * 3 // 5)
            tail = file.read(limit * 3 // 5)
    if b"\0" in data:
        return f"[binary output, {end - begin:,} bytes]"
    text = plain(data.decode("utf-8", "replace"))
    if tail is None:
        return text
    left = end - begin - len(data) - len(tail)
    where = f"process action=output id={process.id} offset={begin + len(data)}"
    return (
        f"{text}\n[… {left:,} bytes left out: {where} …]\n{plain(tail.decode('utf-8', 'replace'))}"
    )
