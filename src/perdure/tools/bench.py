"""A session's bench: turns a model's call into one that is checked and ready to run.

Only a gate should hold a bench: whoever has a `Prepared` can run it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from perdure.kernel.errors import PerdureError
from perdure.kernel.events import (
    AnyDelta,
    Json,
    Part,
    SessionId,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from perdure.kernel.labels import SELF, UNKNOWN, Label

from .base import (
    FAULTS,
    Artifacts,
    Commands,
    CriticalKind,
    Labels,
    Process,
    Reader,
    Recovery,
    Refusals,
    Sink,
    Tool,
    ToolContext,
    Touch,
    failed,
)
from .critical import critical_values, defaults_of, selecting, sink_of, used
from .labelling import ONLINE, elsewhere, read_label, result_label, seal, worth_keeping
from .metering import Metered, beyond
from .outside import Doors, Egress, Search
from .pages import excerpt
from .schema import validate
from .screening import Screen, Showing, cleaned, refusal
from .toolbox import Toolbox

MAX_RESULT_CHARS = 30_000
"""What a result may put before the model, in characters; the whole goes into an artifact."""
LISTENER_CHARS = 1_000
"""Of the command that a text goes to, shown with the text."""


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
    labels: Labels | None = None
    """Of files. None: nothing is known of any, and all counts as a third party's."""
    context: Callable[[], Label] = lambda: UNKNOWN
    """The label of the conversation, as it is now."""
    reader: Reader | None = None
    screen: Screen | None = None
    """Keeps the owner's secrets out of results. None: there are none to keep out."""
    doors: Doors | None = None
    """Ways out of this machine. None: there is none."""
    search: Callable[[], Search | None] = lambda: None
    """The owner's search engine, as it is configured now."""
    refusals: Refusals | None = None
    spent: Callable[[Usage, float | None], None] = lambda usage, cost_usd: None
    """Told what a tool says it has paid models by itself; a cost of None is not known."""

    def __post_init__(self) -> None:
        # Resolved once: a link swapped later moves no call elsewhere than where it was judged.
        object.__setattr__(self, "workdir", Path(os.path.realpath(self.workdir)))

    def prepare(self, call: ToolCall) -> Prepared | ToolResult:
        """Check name and arguments. A result means: it cannot run, and this tells the model why."""
        prepared = self._prepare(call)
        if isinstance(prepared, ToolResult):
            # It repeats what the model wrote.
            context = self.context()
            label = SELF.join(context) if context.tainted else SELF
            return msgspec.structs.replace(prepared, label=label)
        return prepared

    def _prepare(self, call: ToolCall) -> Prepared | ToolResult:
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
            if why := self._in_vain(checked):
                return failed(f"{call.name} was not run: {why}", "denied")
            return _prepared(self, call, checked)
        except _Impossible as error:
            return failed(f"{call.name} was not run: the path {error}.", "invalid")
        except FAULTS as error:  # an owner's tool; the call must still get its result
            return failed(f"{call.name} was not run: {_raised(error)}", "error")

    def _in_vain(self, tool: Tool) -> str:
        """Why nobody needs to be asked about what it would send; empty: they may be."""
        asked = tool.asks_outside()
        if asked is None or self.doors is None:
            return ""
        try:
            self.doors.by(tool.name).foresee(*asked)
        except PerdureError as error:
            return _clean(str(error))
        return ""

    def recovery(self, tool: str) -> Recovery | None:
        """None: there is no such tool any more."""
        found = self.toolbox.get(tool)
        try:
            return found.recovers_by() if found else None
        except FAULTS:
            return "doubt"

    def begun(self, key: str) -> bool:
        """Did an earlier attempt under this key get as far as leaving a trace?"""
        return os.path.exists(self._trace(key)) or self.commands.known(key)  # noqa: PTH110

    def forget(self, key: str) -> None:
        """The call's result is on record: what its attempts left behind may go."""
        with contextlib.suppress(OSError):
            os.unlink(self._trace(key))  # noqa: PTH108
        self.commands.forget(key)

    def _trace(self, key: str) -> str:
        """As text: this stands before every call that has effects."""
        return f"{self.scratch}/{_scratch_name(key)}"


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
            text = f"(no preview: {_raised(error)})"
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
            result = await self._run(said, key=key, emit=emit, resumed=resumed)
            heard = labels.running(key) if labels is not None and tracked else None
            read = read.join(heard) if heard is not None and heard.tainted else read
        finally:
            if tracked:
                await self._ended(key)
        if not self.effects and result.label is None:  # after: it may have been written meanwhile
            read = read_label(self.touches, self.command, bench)
        outside = () if self.command is not None else self.effects
        label = result_label(result, self.tool, outside, read, said)
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
        self, said: Label, *, key: str, emit: Callable[[AnyDelta], None], resumed: bool
    ) -> ToolResult:
        screen = self.bench.screen
        if screen is None:
            return await self._attempt(said, key=key, emit=emit, resumed=resumed)
        if why := refusal(screen, self.touches, self.call.arguments):
            return failed(f"{self.tool.name}: {why}", "denied")
        showing = Showing(screen, emit)
        try:
            return await self._attempt(said, key=key, emit=showing, resumed=resumed)
        finally:
            showing.flush()

    async def _attempt(
        self, said: Label, *, key: str, emit: Callable[[AnyDelta], None], resumed: bool
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
            refusals=bench.refusals,
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
            return self._screened(failed(_clean(f"{tool.name}: {error}")))
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
            return self._screened(failed(f"{tool.name} failed: {_raised(error)}"))

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
        return msgspec.structs.replace(result, parts=parts, data=data, artifact=artifact)


@functools.lru_cache(64)
def _scratch_name(key: str) -> str:
    name = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=12).hexdigest()
    return f"call-{name}"


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
