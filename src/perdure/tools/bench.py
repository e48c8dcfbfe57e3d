"""A session's bench: turns a model's call into one that is checked and ready to run.

Only a gate should hold a bench: whoever has a `Prepared` can run it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from perdure.kernel.errors import PerdureError
from perdure.kernel.events import (
    SessionId,
    ToolCall,
    ToolResult,
    Usage,
)
from perdure.kernel.labels import SELF, UNKNOWN, Label

from .base import FAULTS, Recovery, Tool, Touch, failed
from .outside import Doors, Search
from .prepared import Prepared
from .schema import validate
from .screening import Screen
from .seams import Artifacts, Commands, Labels, Reader, Refusals
from .storable import clean, raised
from .toolbox import Toolbox

MAX_RESULT_CHARS = 30_000
"""What a result may put before the model, in characters; the whole goes into an artifact."""


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
            return failed(f"{call.name} was not run: {raised(error)}", "error")

    def _in_vain(self, tool: Tool) -> str:
        """Why nobody needs to be asked about what it would send; empty: they may be."""
        asked = tool.asks_outside()
        if asked is None or self.doors is None:
            return ""
        try:
            self.doors.by(tool.name).foresee(*asked)
        except PerdureError as error:
            return clean(str(error))
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
