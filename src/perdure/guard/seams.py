"""What the gate needs of its neighbours: the tools it owns, and the detector of loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from perdure.kernel.events import AnyDelta, Json, Record, ToolCall, ToolResult

from .flow import Sink


class Touch(Protocol):
    """A resolved path that a call reads or writes."""

    @property
    def path(self) -> Path: ...

    @property
    def write(self) -> bool: ...


class Prepared(Protocol):
    """A call whose tool exists and whose arguments fit."""

    @property
    def call(self) -> ToolCall: ...

    @property
    def effects(self) -> tuple[str, ...]:
        """Empty when it only reads."""

    @property
    def parallel(self) -> bool: ...

    @property
    def marks(self) -> bool: ...

    @property
    def command(self) -> str | None:
        """The shell command it runs."""

    @property
    def speaks_to(self) -> str:
        """The background process that `command` is typed into; empty: a shell runs it."""

    @property
    def touches(self) -> Sequence[Touch]: ...

    @property
    def sink(self) -> Sink | None:
        """How it acts outside; see `flow.view`."""

    @property
    def declared(self) -> bool:
        """Its tool says how it acts; else `sink` is what must be assumed."""

    @property
    def defaults(self) -> Mapping[str, Json]:
        """What arguments are that the model did not give, where its tool says so."""

    @property
    def selects(self) -> Sequence[str]:
        """Arguments that choose what it does, such as `action`."""

    def used(self) -> Mapping[str, Json]:
        """The arguments that the model gave, as the tool will use them."""

    def values(self) -> Sequence[tuple[str, str, str]]:
        """Critical arguments as (path, kind, value), lists element by element."""

    def preview(self) -> str:
        """For the owner, whole. Blocking."""

    def binding(self) -> bytes:
        """State outside the arguments that an approval rests on, but for the scripts of its command.
        Blocking."""

    async def run(
        self, *, key: str, emit: Callable[[AnyDelta], None], resumed: bool
    ) -> ToolResult: ...


class Bench(Protocol):
    """What the gate owns: the only way to a tool."""

    def prepare(self, call: ToolCall) -> Prepared | ToolResult:
        """A result tells the model why the call cannot run."""

    def recovery(self, tool: str) -> Literal["rerun", "rejoin", "doubt"] | None: ...

    def begun(self, key: str) -> bool:
        """An earlier attempt under this key has left its trace."""

    def forget(self, key: str) -> None:
        """The result is on record: that trace may go."""


class Loops(Protocol):
    """Notices a model that goes round in circles."""

    def feed(self, record: Record) -> None:
        """Every record appended while the session is open, in order, once."""

    def weigh(self, call: ToolCall) -> str:
        """Why this call must not run again now, for the model; empty: it may."""

    def ran(self, call: ToolCall, result: ToolResult) -> str:
        """It has run. What the model should be told of that; empty: nothing."""
