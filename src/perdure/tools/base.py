"""What a tool is: a class whose fields are its arguments and whose docstring tells the model about it.

class Weather(Tool):
    \"\"\"Tell the weather of a city.\"\"\"

    effects = frozenset({"network"})
    idempotent = True
    city: str = Field(description="e.g. Lisbon")

    async def execute(self, context: ToolContext) -> ToolResult:
        return ok(f"Sunny in {self.city}", degrees=21)
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import msgspec
from pydantic import BaseModel, ConfigDict

from perdure.kernel.events import (
    AnyDelta,
    CallId,
    Json,
    OutputDelta,
    ResultStatus,
    SessionId,
    Text,
    ToolResult,
)
from perdure.kernel.labels import UNKNOWN, Label

from .outside import Egress, Search
from .seams import Artifacts, Commands, Labels, Reader, Stream
from .told import Told

Effect = Literal["reads", "writes", "network", "spends"]
Recovery = Literal["rerun", "rejoin", "doubt"]
SinkKind = Literal[
    "send", "pay", "publish", "share", "delete", "install", "configure", "execute", "write"
]
"""What a call does to the world: `send` to somebody, `pay`, `publish` to anybody, `share` access, `delete`,
`install` code, `configure` what acts later, `execute` a command, `write` a file of the owner's."""
CriticalKind = Literal[
    "recipient",
    "url",
    "host",
    "path",
    "amount",
    "account",
    "identifier",
    "command",
    "text",
    "time",
    "query",
]
"""What an argument that decides a consequence is: how it is compared with what the owner said."""

EFFECTS: frozenset[str] = frozenset(("reads", "writes", "network", "spends"))
SINK_KINDS: frozenset[str] = frozenset(get_args(SinkKind))
CRITICAL_KINDS: frozenset[str] = frozenset(get_args(CriticalKind))
FAULTS: tuple[type[BaseException], ...] = (
    Exception,
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    asyncio.CancelledError,
    BaseExceptionGroup,
)
"""What an owner's code may raise where it is called and not awaited; no more than an error there."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\Z")
"""What every provider accepts as a function's name."""


class Touch(msgspec.Struct, frozen=True, kw_only=True):
    """A path that a call reads or writes, links resolved."""

    path: Path
    write: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolContext:
    """Where a call runs, and what it may use."""

    session: SessionId
    call: CallId
    workdir: Path
    key: str
    """Idempotency key: unique to the call and the same for every attempt at it."""
    resumed: bool
    """An earlier attempt was cut off by a crash and may have done some or all of its work."""
    emit: Callable[[AnyDelta], None]
    artifacts: Artifacts
    commands: Commands
    scratch: Path
    """A path of this call's own, free for what one attempt must tell the next. Nothing is there until
    the tool puts a file there; it survives a crash, and is removed once the result is on record."""
    max_result_chars: int
    labels: Labels | None = None
    label: Label = UNKNOWN
    """Of the conversation that this call comes from: what it writes may hold all of that."""
    reader: Reader | None = None
    egress: Egress | None = None
    """The one way out of this machine. None: there is none."""
    search: Search | None = None
    """The search engine that the owner has set up."""
    refusals: Told | None = None
    """What the egress refused to commands. None: nobody tells."""

    def output(self, text: str, stream: Stream = "stdout") -> None:
        """Show a piece of output while the tool runs."""
        if text:
            self.emit(OutputDelta(call=self.call, stream=stream, text=text))

    def resolve(self, path: str) -> Path:
        """The file that a path argument names: `~` and links resolved, relative to the workdir."""
        return resolve(path, self.workdir)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sink:
    """How a tool acts outside, and which of its arguments decide what comes of it."""

    kind: SinkKind
    critical: Mapping[str, CriticalKind] = field(default_factory=dict)
    """Arguments by name, with all they hold: the elements of lists, the leaves of objects."""
    content: tuple[str, ...] = ()
    """Arguments that carry data out without deciding where to, e.g. a message's body."""


def resolve(path: str, workdir: Path) -> Path:
    """The real path behind an argument. Raises ValueError for what cannot be a path."""
    if not path or "\0" in path:
        raise ValueError("not a path")
    try:
        if path.startswith("~"):
            path = str(Path(path).expanduser())
        return Path(os.path.realpath(workdir / path))
    except (OSError, RuntimeError) as error:  # a loop of links; no such user
        raise ValueError(f"cannot be resolved: {error}") from error


class Tool(BaseModel):
    """Base of all tools. Fields are the arguments; what follows are declarations about the class.

    Undeclared means the worst: effects on the outside, not repeatable, not parallel.
    An argument that must be called like one of these declarations is a field with an alias:
    `label: str = Field(alias="name")`.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: ClassVar[str] = ""
    """Empty: the class name in snake case."""
    effects: ClassVar[frozenset[Effect]] = frozenset({"writes", "network"})
    """Empty, or `reads` alone: changes nothing anywhere."""
    idempotent: ClassVar[bool] = False
    """Running it twice with the same arguments, or key, is the same as running it once."""
    parallel: ClassVar[bool | None] = None
    """May run beside other parallel calls. None: yes if it only reads."""
    recovery: ClassVar[Recovery | None] = None
    """After a crash in the middle. None: rerun what only reads or is idempotent, else in doubt."""
    time_limit: ClassVar[float | None] = 600.0
    """Seconds until it is cancelled. None: it keeps its own."""
    cooperative: ClassVar[bool] = False
    """`execute` never blocks and computes for milliseconds at most: it may run on the event loop that all
    sessions share. Otherwise it runs in a thread, on a loop of that thread's own."""

    sink: ClassVar[Sink | None] = None
    """How it acts outside. None with the effects `network` or `spends`: every argument is critical."""
    origin: ClassVar[str] = ""
    """Where what it returns comes from, e.g. `web`, `mail`, `mcp:notes`: third parties. Empty: the owner's
    machine, or third parties where the effects contain `network`."""
    marks: ClassVar[bool] = False
    """A read that changes something as well, e.g. marks a mail as read. It is on record before it runs, so
    that its key is the same when a crash repeats it."""
    tracks: ClassVar[bool] = False
    """It tells `ToolContext.labels` itself what it writes. Else all that changes in the working folder while
    it runs counts as its work, if it has effects."""
    creates: ClassVar[str] = ""
    """The key in its result's data that identifies an object the call has created."""
    selects: ClassVar[tuple[str, ...] | None] = None
    """Arguments that choose what a call does: a rule that the owner grants holds for the very choice he saw.
    None: those that are true or false, or one of a few values."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if taken := [
            f for f in cls.model_fields if f in Tool.__dict__ or f in Tool.__annotations__
        ]:
            raise TypeError(
                f"{cls.__name__}: a field cannot be called {taken[0]}; "
                f'write `its_{taken[0]}: … = Field(alias="{taken[0]}")`'
            )
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        if not NAME.match(cls.name):
            raise TypeError(f"{cls.__name__}: {cls.name!r} cannot be a tool's name")
        if isinstance(cls.effects, str) or (unknown := set(cls.effects) - EFFECTS):
            wrong = cls.effects if isinstance(cls.effects, str) else ", ".join(sorted(unknown))
            known = ", ".join(sorted(EFFECTS))
            raise TypeError(f"{cls.__name__}: effects must be a set of {known}, not {wrong}")
        cls._check_sink()
        arguments = {f.alias or name for name, f in cls.model_fields.items()}
        if missing := sorted({*(cls.selects or ())} - arguments):
            raise TypeError(f"{cls.__name__}: selects names {missing[0]!r}, which is no argument")

    @classmethod
    def _check_sink(cls) -> None:
        sink = cls.sink
        if sink is None:
            return
        if not isinstance(sink, Sink) or sink.kind not in SINK_KINDS:
            raise TypeError(
                f"{cls.__name__}: sink must be a Sink whose kind is one of {', '.join(sorted(SINK_KINDS))}"
            )
        known = {n for name, f in cls.model_fields.items() for n in (name, f.alias or name)}
        if missing := sorted({*sink.critical, *sink.content} - known):
            raise TypeError(f"{cls.__name__}: its sink names {missing[0]!r}, which is no argument")
        if wrong := sorted(set(sink.critical.values()) - CRITICAL_KINDS):
            kinds = ", ".join(sorted(CRITICAL_KINDS))
            raise TypeError(f"{cls.__name__}: {wrong[0]!r} is no kind of argument; known: {kinds}")

    @classmethod
    def describe(cls) -> str:
        return inspect.cleandoc(cls.__doc__ or "")

    @classmethod
    def only_reads(cls) -> bool:
        return cls.effects <= {"reads"}

    @classmethod
    def recovers_by(cls) -> Recovery:
        if cls.recovery is not None:
            return cls.recovery
        return "rerun" if cls.idempotent or cls.only_reads() else "doubt"

    def acts(self) -> frozenset[Effect]:
        """The effects of this very call, where its arguments tell; never more than `effects`."""
        return type(self).effects

    def touches(self, workdir: Path) -> Sequence[Touch]:
        """Paths this call works on, for the policy. Raises ValueError for an impossible one."""
        return ()

    def shell(self) -> str | None:
        """The shell command this call runs, for the policy."""
        return None

    def asks_outside(self) -> tuple[str, str] | None:
        """Method and address of what it will first ask for through `ToolContext.egress`, so that nobody is
        asked to approve what is refused in any case. None: that is not known before."""
        return None

    def speaks_to(self) -> str:
        """Id or name of the background process that its command is typed into, if it is."""
        return ""

    def preview(self, workdir: Path) -> str:
        """What the owner should see before deciding, uncut: the gate cuts it, and says so. May read files;
        need not be fast."""
        return "\n".join(f"{k}: {v}" for k, v in self.model_dump(mode="json").items())

    def binding(self, workdir: Path) -> bytes:
        """What an approval rests on besides the arguments, e.g. a file's present content: a changed
        binding voids the approval. May read files."""
        return b""

    async def execute(self, context: ToolContext) -> ToolResult:
        """Do it. What it raises becomes an error result; CancelledError must pass."""
        raise NotImplementedError


def ok(text: str = "", /, **data: Json) -> ToolResult:
    """A result that went well: what the model reads, and facts for programs."""
    return ToolResult(parts=(Text(text=text),) if text else (), data=data)


def failed(text: str, /, status: ResultStatus = "error", **data: Json) -> ToolResult:
    """A result the model can act on: say what was wrong and what to do instead."""
    return ToolResult(status=status, parts=(Text(text=text),), data=data)
