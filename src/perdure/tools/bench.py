"""A session's bench: turns a model's call into one that is checked and ready to run.

Only a gate should hold a bench: whoever has a `Prepared` can run it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from perdure.kernel.errors import PerdureError
from perdure.kernel.events import (
    AnyDelta,
    Json,
    Part,
    SessionId,
    Text,
    ToolCall,
    ToolResult,
)

from .base import FAULTS, Artifacts, Commands, Recovery, Tool, ToolContext, Touch, failed
from .pages import excerpt
from .schema import validate
from .scripts import programs, scripts_of
from .toolbox import Toolbox

MAX_RESULT_CHARS = 30_000
"""What a result may put before the model, in characters; the whole goes into an artifact."""
NOTE_FIRST = 2_000
"""Characters of a preview beyond which a note on it stands before it, where it is not cut off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    toolbox: Toolbox = field(kw_only=False)
    session: SessionId
    workdir: Path
    artifacts: Artifacts
    commands: Commands
    scratch: Path
    """Folder for what interrupted calls leave behind, `.perdure/processes`."""
    max_result_chars: int = MAX_RESULT_CHARS

    def __post_init__(self) -> None:
        # Resolved once: a link swapped later moves no call elsewhere than where it was judged.
        object.__setattr__(self, "workdir", Path(os.path.realpath(self.workdir)))

    def prepare(self, call: ToolCall) -> Prepared | ToolResult:
        """Check name and arguments. A result means: it cannot run, and this tells the model why."""
        tool = self.toolbox.get(call.name)
        if tool is None:
            near = self.toolbox.nearest(call.name)
            hint = f" Did you mean {near}?" if near else ""
            known = ", ".join(self.toolbox.names())
            return failed(f"There is no tool {call.name[:100]!r}.{hint} Tools: {known}.", "invalid")
        if call.unparsed:
            return failed(
                f"{call.name} was not run: its arguments were not a JSON object, or were cut off. "
                f"They began: {call.unparsed[:200]}",
                "invalid",
            )
        try:
            checked = validate(tool, call.arguments)
            if isinstance(checked, ToolResult):
                return checked
            return _prepared(self, call, checked)
        except _Impossible as error:
            return failed(f"{call.name} was not run: the path {error}.", "invalid")
        except FAULTS as error:  # an owner's tool; the call must still get its result
            return failed(f"{call.name} was not run: {_raised(error)}", "error")

    def recovery(self, tool: str) -> Recovery | None:
        """None: there is no such tool any more."""
        found = self.toolbox.get(tool)
        try:
            return found.recovers_by() if found else None
        except FAULTS:
            return "doubt"

    def begun(self, key: str) -> bool:
        """Did an earlier attempt under this key get as far as leaving a trace?"""
        return self._scratch(key).exists() or self.commands.known(key)

    def forget(self, key: str) -> None:
        """The call's result is on record: what its attempts left behind may go."""
        with contextlib.suppress(OSError):
            self._scratch(key).unlink(missing_ok=True)
        self.commands.forget(key)

    def _scratch(self, key: str) -> Path:
        name = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=12).hexdigest()
        return self.scratch / f"call-{name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A call that fits its tool. Nothing has been decided about it."""

    bench: Bench
    call: ToolCall
    tool: Tool
    touches: Sequence[Touch]
    effects: tuple[str, ...]
    """Sorted; empty when it only reads."""
    parallel: bool
    command: str | None

    def preview(self) -> str:
        """For the owner. What cannot be shown is said, never raised. Blocking."""
        try:
            text = str(self.tool.preview(self.bench.workdir))
        except FAULTS as error:  # an owner's tool, or a file that cannot be read
            text = f"(no preview: {_raised(error)})"
        if self.command is not None and (
            note := scripts_of(self.command, self.bench.workdir).note()
        ):
            text = f"{note}\n{text}" if len(text) > NOTE_FIRST else f"{text}\n{note}"
        return text

    def binding(self) -> bytes:
        """The tool's own, and the scripts that its command names. Blocking."""
        try:
            own = bytes(self.tool.binding(self.bench.workdir))
        except FAULTS as error:  # what cannot be read is bound as such
            own = type(error).__name__.encode()
        if self.command is None:
            return own
        return own + b"\0" + programs(self.command, self.bench.workdir)

    async def run(self, *, key: str, emit: Callable[[AnyDelta], None], resumed: bool) -> ToolResult:
        """Never raises but on cancellation."""
        bench, tool = self.bench, self.tool
        context = ToolContext(
            session=bench.session,
            call=self.call.id,
            workdir=bench.workdir,
            key=key,
            resumed=resumed,
            emit=emit,
            artifacts=bench.artifacts,
            commands=bench.commands,
            scratch=bench._scratch(key),
            max_result_chars=bench.max_result_chars,
        )
        limit: asyncio.Timeout | None = None
        try:
            if tool.time_limit is None:
                result = await self._execute(context)
            else:
                limit = asyncio.timeout(tool.time_limit)
                async with limit:
                    result = await self._execute(context)
            return self._fit(result)
        except PerdureError as error:
            return failed(_clean(f"{tool.name}: {error}"))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return failed(f"{tool.name} failed: it was cancelled from within")
        # The boundary where a tool's failure becomes its result.
        except (Exception, SystemExit, KeyboardInterrupt, BaseExceptionGroup) as error:
            if limit is not None and limit.expired():
                text = f"{tool.name} did not finish within {tool.time_limit:g} s and was cancelled."
                return failed(text, "timeout")
            return failed(f"{tool.name} failed: {_raised(error)}")

    async def _execute(self, context: ToolContext) -> ToolResult:
        tool = self.tool
        if tool.cooperative:
            return await tool.execute(context)

        async def work(emit: Callable[[AnyDelta], None]) -> ToolResult:
            return await tool.execute(replace(context, emit=emit))

        return await self.bench.toolbox.isolation.run(tool.name, work, context.emit)

    def _fit(self, result: ToolResult | str | None) -> ToolResult:
        """A result that can be stored, sent and read, whatever the tool returned."""
        if isinstance(result, str):
            result = ToolResult(parts=(Text(text=result),))
        elif not isinstance(result, ToolResult):
            what = type(result).__name__
            return failed(f"{self.tool.name} returned {what} where a ToolResult is expected.")
        parts, limit = result.parts, self.bench.max_result_chars
        if len(parts) == 1 and isinstance(only := parts[0], Text):
            size = len(only.text)
            clean = only.text.isascii() or _clean(only.text) is only.text
        else:
            size, clean = sum(len(p.text) for p in parts if isinstance(p, Text)), False
        if not clean:
            parts = tuple(_clean_part(p) for p in parts)
        artifact = result.artifact
        # A tool that pages by itself may go a little over; only a flood is cut here.
        if size > limit * 5 // 4:
            whole = "\n".join(p.text for p in parts if isinstance(p, Text))
            artifact = artifact or self.bench.artifacts.put(whole.encode("utf-8"), ".txt")
            images: tuple[Part, ...] = tuple(p for p in parts if not isinstance(p, Text))
            parts = (Text(text=excerpt(whole, limit, artifact)), *images)
        data = _finite(result.data) if result.data else result.data
        if parts is result.parts and data is result.data and artifact is result.artifact:
            return result
        return ToolResult(status=result.status, parts=parts, data=data, artifact=artifact)  # type: ignore[arg-type]


class _Impossible(Exception):
    """A path argument that cannot be one."""


def _prepared(bench: Bench, call: ToolCall, tool: Tool) -> Prepared:
    """Everything a gate judges by is asked of the tool once, here. Raises what the tool raises."""
    try:
        touches = tuple(tool.touches(bench.workdir))
    except ValueError as error:
        raise _Impossible(str(error)) from error
    if wrong := [t for t in touches if not isinstance(t, Touch)]:
        raise TypeError(f"touches returned {type(wrong[0]).__name__} where a Touch is expected")
    acts, command = tool.acts(), tool.shell()
    if command is not None and not isinstance(command, str):
        raise TypeError(f"shell returned {type(command).__name__} where a text is expected")
    effects = () if acts <= {"reads"} else tuple(sorted(acts))
    parallel = not effects if tool.parallel is None else tool.parallel
    return Prepared(
        bench=bench, call=call, tool=tool, touches=touches,
        effects=effects, parallel=parallel, command=command,
    )  # fmt: skip


def _raised(error: BaseException) -> str:
    try:
        text = _clean(str(error))
    except FAULTS:
        text = ""
    return f"{type(error).__name__}: {text[:2000]}" if text else type(error).__name__


def _clean(text: str) -> str:
    """Without lone surrogates, which no codec takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def _clean_part(part: Part) -> Part:
    return Text(text=_clean(part.text)) if isinstance(part, Text) else part


def _finite(value: Json) -> Json:
    """JSON that every reader takes: no NaN, no infinity, no lone surrogates, no foreign objects."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, dict):
        return {_clean(str(k)): _finite(v) for k, v in value.items()}
    return _clean(str(value))
