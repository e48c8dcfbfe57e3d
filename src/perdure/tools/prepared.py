"""A call that fits its tool: what a gate judges it by, and how it is run once it may."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from perdure.kernel.errors import PerdureError
from perdure.kernel.events import (
    AnyDelta,
    Json,
    Part,
    Text,
    ToolCall,
    ToolResult,
)
from perdure.kernel.labels import SELF, Label

from .base import FAULTS, CriticalKind, Sink, Tool, ToolContext, Touch, failed
from .critical import critical_values, defaults_of, selecting, sink_of, used
from .labelling import ONLINE, elsewhere, read_label, result_label, seal, worth_keeping
from .metering import Metered, beyond
from .outside import Egress
from .pages import excerpt
from .screening import Showing, cleaned, refusal
from .seams import Process
from .storable import clean, clean_part, finite, raised
from .told import Told

if TYPE_CHECKING:
    from .bench import Bench

LISTENER_CHARS = 1_000
"""Of the command that a text goes to, shown with the text."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A call that fits its tool. Nothing has been decided about it."""

    bench: Bench
    call: ToolCall
    tool: Tool
    touches: Sequence[Touch]
    effects: tuple[str, ...]
    """Sorted; empty when it only reads."""
    parallel: bool
    command: str | None

    @property
    def sink(self) -> Sink | None:
        """How this very call acts outside; undeclared where it may, every argument is critical."""
        return sink_of(self.tool, self.effects)

    @property
    def declared(self) -> bool:
        return type(self.tool).sink is not None

    @property
    def defaults(self) -> dict[str, Json]:
        """Of arguments that the model did not give, those that are one text, number or truth value."""
        return defaults_of(self.tool)

    @property
    def selects(self) -> tuple[str, ...]:
        """Arguments that choose what the call does."""
        return selecting(type(self.tool))

    def used(self) -> Mapping[str, Json]:
        """The arguments that the model gave, as the tool will use them: `yes` for a truth value is true."""
        return used(self.tool, self.call.arguments)

    def values(self) -> list[tuple[str, CriticalKind, str]]:
        """Path, kind and value of each critical argument that the model gave, lists taken apart."""
        return critical_values(self.tool, self.sink, self.call.arguments)

    @property
    def origin(self) -> str:
        return type(self.tool).origin

    @property
    def marks(self) -> bool:
        return type(self.tool).marks

    @property
    def creates(self) -> str:
        return type(self.tool).creates

    @property
    def speaks_to(self) -> str:
        """The background process that `command` is typed into; empty: a shell runs it."""
        return self.tool.speaks_to()

    def preview(self) -> str:
        """For the owner. What cannot be shown is said, never raised. Blocking."""
        try:
            text = str(self.tool.preview(self.bench.workdir))
            if self.speaks_to:
                text = f"{_listener(self._hearing(), self.speaks_to)}\n{text}"
        except FAULTS as error:  # an owner's tool, or a file that cannot be read
            text = f"(no preview: {raised(error)})"
        return text

    def binding(self) -> bytes:
        """The tool's own, and to whom it speaks. Blocking."""
        try:
            own = bytes(self.tool.binding(self.bench.workdir))
            if self.speaks_to:
                own += _identity(self._hearing())
        except FAULTS as error:  # what cannot be read is bound as such
            own = type(error).__name__.encode()
        return own

    def _hearing(self) -> Process | None:
        """Who would get what is sent. Blocking."""
        bench = self.bench
        found: Process | None = bench.commands.background.called(bench.session, self.speaks_to)
        return found

    async def run(self, *, key: str, emit: Callable[[AnyDelta], None], resumed: bool) -> ToolResult:
        """Never raises but on cancellation. The result always has its label."""
        bench, labels = self.bench, self.bench.labels
        said, read = bench.context(), SELF
        told = None if bench.refusals is None else Told(bench.refusals)
        if self.effects:
            read = read_label(self.touches, self.command, bench)
        if self.command is not None:
            # What it prints may be what the conversation put into it.
            read = read.join(said) if said.tainted else read
        tracked = labels is not None and bool(self.effects) and not self.tool.tracks
        if tracked:
            try:
                read = await self._begin(key, said, read, resumed)
            except PerdureError as error:
                result = failed(f"{self.tool.name} was not run: {error}")
                return msgspec.structs.replace(result, label=SELF.join(said))
        try:
            result = await self._run(said, told, key=key, emit=emit, resumed=resumed)
            heard = labels.running(key) if labels is not None and tracked else None
            read = read.join(heard) if heard is not None and heard.tainted else read
        finally:
            if tracked:
                await self._ended(key)
        if not self.effects and result.label is None:  # after: it may have been written meanwhile
            read = read_label(self.touches, self.command, bench)
        outside = () if self.command is not None else self.effects
        label = result_label(result, self.tool, outside, read, said)
        label = label if told is None else label.join(told.label)
        seal(result, label, bench.artifacts, labels)
        return msgspec.structs.replace(result, label=label)

    async def _begin(self, key: str, said: Label, read: Label, resumed: bool) -> Label:
        """From now on, what changes in the folders may be this call's work. What it can have read."""
        bench, labels = self.bench, self.bench.labels
        assert labels is not None
        also = elsewhere(bench)
        if self.command is None and "writes" not in self.effects:
            # Its commands may hear something all the same.
            labels.begin(key, bench.workdir, SELF, also=also)
            return read
        if resumed and self.command is not None and labels.running(key) is None:
            read = read.join(ONLINE)  # what it heard before a crash, nobody knows any more
        whole = said.join(read)
        if worth_keeping(whole):
            await asyncio.to_thread(labels.begin, key, bench.workdir, whole, also=also)
        else:
            labels.begin(key, bench.workdir, whole, also=also)
        return read

    async def _ended(self, key: str) -> None:
        """A command is over: what it has written gets its label, whatever else happens now."""
        labels = self.bench.labels
        if labels is None or labels.running(key) is None or self.bench.commands.running(key):
            return
        if labels.end_quiet(key):
            return
        ending = asyncio.ensure_future(asyncio.to_thread(labels.end, key))
        # What cannot be noted stays open in the book: then all that is changed there counts as its work.
        with contextlib.suppress(PerdureError):
            await asyncio.shield(ending)

    async def _run(
        self,
        said: Label,
        told: Told | None,
        *,
        key: str,
        emit: Callable[[AnyDelta], None],
        resumed: bool,
    ) -> ToolResult:
        screen = self.bench.screen
        if screen is None:
            return await self._attempt(said, told, key=key, emit=emit, resumed=resumed)
        if why := refusal(screen, self.touches, self.call.arguments):
            return failed(f"{self.tool.name}: {why}", "denied")
        showing = Showing(screen, emit)
        try:
            return await self._attempt(said, told, key=key, emit=showing, resumed=resumed)
        finally:
            showing.flush()

    async def _attempt(
        self,
        said: Label,
        told: Told | None,
        *,
        key: str,
        emit: Callable[[AnyDelta], None],
        resumed: bool,
    ) -> ToolResult:
        bench, tool = self.bench, self.tool
        reader = None if bench.reader is None else Metered(bench.reader)
        context = ToolContext(
            session=bench.session,
            call=self.call.id,
            workdir=bench.workdir,
            key=key,
            resumed=resumed,
            emit=emit,
            artifacts=bench.artifacts,
            commands=bench.commands,
            scratch=Path(bench._trace(key)),
            max_result_chars=bench.max_result_chars,
            labels=bench.labels,
            label=said,
            reader=reader,
            egress=self._way_out(),
            search=bench.search(),
            refusals=told,
        )
        limit: asyncio.Timeout | None = None
        try:
            if tool.time_limit is None:
                result = await self._execute(context)
            else:
                limit = asyncio.timeout(tool.time_limit)
                async with limit:
                    result = await self._execute(context)
            fit = self._fit(result)
            if (more := beyond(fit, reader)) is not None:
                bench.spent(*more)
            return fit
        except PerdureError as error:
            return self._screened(failed(clean(f"{tool.name}: {error}")))
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
            return self._screened(failed(f"{tool.name} failed: {raised(error)}"))

    def _screened(self, result: ToolResult) -> ToolResult:
        screen = self.bench.screen
        return result if screen is None else cleaned(screen, result)

    def _way_out(self) -> Egress | None:
        """For this call, which the gate has judged by where it goes."""
        if self.bench.doors is None:
            return None
        judged = [value for _, kind, value in self.values() if kind in ("url", "host")]
        return self.bench.doors.by(self.tool.name, judged)

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
        result = self._screened(result)
        parts, limit = result.parts, self.bench.max_result_chars
        if len(parts) == 1 and isinstance(only := parts[0], Text):
            size = len(only.text)
            fits = only.text.isascii() or clean(only.text) is only.text
        else:
            size, fits = sum(len(p.text) for p in parts if isinstance(p, Text)), False
        if not fits:
            parts = tuple(clean_part(p) for p in parts)
        artifact = result.artifact
        # A tool that pages by itself may go a little over; only a flood is cut here.
        if size > limit * 5 // 4:
            whole = "\n".join(p.text for p in parts if isinstance(p, Text))
            artifact = artifact or self.bench.artifacts.put(whole.encode("utf-8"), ".txt")
            images: tuple[Part, ...] = tuple(p for p in parts if not isinstance(p, Text))
            parts = (Text(text=excerpt(whole, limit, artifact)), *images)
        data = finite(result.data) if result.data else result.data
        if parts is result.parts and data is result.data and artifact is result.artifact:
            return result
        return msgspec.structs.replace(result, parts=parts, data=data, artifact=artifact)


def _listener(process: Process | None, name: str) -> str:
    if process is None:
        return f"There is no process {name[:100]!r} now."
    named = f"{process.id} ({process.name})" if process.name else process.id
    command = " ".join(process.command.split())
    left = len(command) - LISTENER_CHARS
    more = f" [… {left:,} more characters]" if left > 0 else ""
    return f"{named} runs: {command[:LISTENER_CHARS]}{more}"


def _identity(process: Process | None) -> bytes:
    """Of the process that an approval was given for."""
    if process is None:
        return b"\0nobody"
    facts = (process.id, process.key, process.command)
    return b"\0" + hashlib.sha256(repr(facts).encode("utf-8", "backslashreplace")).digest()
