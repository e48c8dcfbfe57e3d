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
from typing import Any, ClassVar, Literal, Protocol, TypeVar, get_args

import msgspec
from pydantic import BaseModel, ConfigDict

from perdure.kernel.events import (
    AnyDelta,
    ArtifactId,
    CallId,
    Json,
    OutputDelta,
    ResultStatus,
    SessionId,
    Text,
    ToolResult,
    Usage,
)
from perdure.kernel.labels import UNKNOWN, Label

from .outside import Egress, Search

Effect = Literal["reads", "writes", "network", "spends"]
Recovery = Literal["rerun", "rejoin", "doubt"]
Stream = Literal["stdout", "stderr"]
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


class Artifacts(Protocol):
    """Where long outputs and images of the session are kept. Called from worker threads too."""

    def put(self, data: bytes, ext: str) -> ArtifactId:
        """Keep these bytes; `ext` such as `.txt`."""

    def put_file(self, path: Path, ext: str) -> ArtifactId:
        """Keep a file that will not change any more, without reading it into memory."""

    def path(self, artifact: ArtifactId) -> Path:
        """Where it lies. Raises PerdureError for what is no artifact's name."""


class Labels(Protocol):
    """Labels of files (S4). Called from worker threads too."""

    def of(self, path: Path) -> Label:
        """Of a file's content, or of the names in a folder; `path` is resolved. Never raises."""

    def below(self, folder: Path) -> Label:
        """The join of all that is known to be labelled below a folder. Never raises."""

    def mark(self, path: Path, label: Label) -> None:
        """The file gets, besides what it has, content with this label: to be called before it is
        written. Raises PerdureError, and then it must not be."""

    def replaced(self, path: Path, label: Label) -> None:
        """The file now holds content with this label and nothing else. Raises PerdureError."""

    def begin(
        self,
        key: str,
        folder: Path,
        label: Label,
        *,
        also: Sequence[Path] = (),
        lasting: bool = False,
    ) -> None:
        """A command starts, or goes on, in a folder that it may write to, as to those in `also`. `key`
        begins with its session and a dot. `lasting`: it may outlive this process. Raises PerdureError, and
        then it must not start."""

    def running(self, key: str) -> Label | None:
        """With which it began, joined with what it has heard since; None when it has ended. Never
        raises."""

    def end_quiet(self, key: str) -> bool:
        """As `end`, but at once; False, and nothing is done, where there may be something to label."""

    def end(self, key: str) -> None:
        """It has ended: label what it may have written. Blocking. Raises PerdureError."""

    def seal(self, path: Path, label: Label) -> None:
        """Write a label onto an artifact, which never changes, where the file system keeps one."""

    def sealed(self, path: Path) -> Label | None:
        """What was written onto it; None where nothing is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a model said that had nothing but the text it was asked about."""

    text: str
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None


class Reader(Protocol):
    """Asks a model that has no tools, no memory and no conversation."""

    async def __call__(
        self, instructions: str, content: str, rejected: Sequence[tuple[str, str]] = (), /
    ) -> Answer:
        """`content` is untrusted. `rejected`: what it has answered before, and what was wrong with it.
        Raises PerdureError, ModelError among them."""


class CommandOutcome(Protocol):
    """How a supervised command ended."""

    @property
    def state(self) -> Literal["exited", "timeout", "stopped", "lost", "unstarted"]:
        """`lost`: the supervisor was killed or the machine went down, the outcome is unknown.
        `unstarted`: it never ran, `error` says why."""

    @property
    def exit_code(self) -> int | None:
        """None unless it ended by itself or by a signal (then 128 + signal, as shells say)."""

    @property
    def seconds(self) -> float: ...

    @property
    def output(self) -> Path:
        """Everything it wrote, stdout and stderr in the order of arrival."""

    @property
    def size(self) -> int:
        """Bytes in `output`."""

    @property
    def dropped(self) -> int:
        """Bytes beyond the limit, or the disk, that were not kept."""

    @property
    def lines(self) -> int: ...

    @property
    def left(self) -> int:
        """Processes it had left in the background, which were stopped."""

    @property
    def error(self) -> str: ...


class Process(Protocol):
    """A background process as it was when looked at."""

    @property
    def id(self) -> str: ...

    @property
    def key(self) -> str:
        """Of the call that started it."""

    @property
    def name(self) -> str: ...

    @property
    def command(self) -> str: ...

    @property
    def terminal(self) -> bool: ...

    @property
    def state(self) -> Literal["running", "exited", "stopped", "lost", "unstarted"]:
        """As for CommandOutcome."""

    @property
    def exit_code(self) -> int | None: ...

    @property
    def seconds(self) -> float: ...

    @property
    def output(self) -> Path: ...

    @property
    def size(self) -> int:
        """Bytes in `output`."""

    @property
    def dropped(self) -> int: ...

    @property
    def left(self) -> int: ...

    @property
    def error(self) -> str: ...


P = TypeVar("P", bound=Process)


class Processes(Protocol[P]):
    """Commands that outlive the call that started them, and this process."""

    async def start(
        self,
        session: str,
        command: str,
        *,
        key: str,
        cwd: Path,
        name: str = "",
        notify: str = "",
        terminal: bool = False,
    ) -> P:
        """Start one, or return the one that was started under this key. `notify`: `end`, or a pattern in
        its output, of which the session is told. Raises Conflict when too many are running, OSError."""

    async def all(self, session: str) -> Sequence[P]:
        """Oldest first, ended ones included."""

    async def find(self, session: str, name: str) -> P:
        """By its id or name. Raises NotFound."""

    def called(self, session: str, name: str) -> P | None:
        """As `find`. Blocking."""

    async def wait(
        self,
        process: P,
        seconds: float,
        *,
        until: str = "",
        after: int = 0,
        show: Callable[[Stream, str], None] | None = None,
    ) -> tuple[P, bool]:
        """Wait for its end, or until the output from byte `after` on matches a pattern. What it is then,
        and whether it matched. Cancelling leaves it alone. Raises InvalidInput for the pattern."""

    async def unseen(self, process: P, *, key: str, advance: bool = True) -> tuple[int, int]:
        """The part of its output that its session has not read: from byte, to byte; with `advance` it
        has now. The same again for the same call."""

    async def send(self, process: P, text: str) -> None:
        """Write to its input. Raises Conflict when it does not take it."""

    async def stop(self, process: P) -> P:
        """End it with everything below it."""


class Refusals(Protocol):
    """What the egress refused to the commands of a session, in words."""

    def mark(self) -> int:
        """Before a command, for `since`."""

    def since(self, mark: int) -> Sequence[str]: ...


class Commands(Protocol):
    """Runs commands under supervision: at most once per key, surviving this process."""

    async def run(
        self,
        command: str | Sequence[str],
        *,
        key: str,
        cwd: Path,
        timeout: float,
        on_output: Callable[[Stream, str], None] | None = None,
        resumed: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> CommandOutcome:
        """Run a shell command, or an argument vector. With `resumed`, join the one an earlier process
        started under this key, if it did. Raises Conflict for a key that was used before, OSError when
        nothing could be started. On cancellation the whole process tree is gone before it is raised."""

    @property
    def online(self) -> bool:
        """Can a command reach the network by itself? Through the egress, `Labels` hears of it."""

    @property
    def writable(self) -> Sequence[Path]:
        """Folders that a command may write into besides its working folder."""

    @property
    def background(self) -> Processes[Any]:
        """Those that go on after their call."""

    def known(self, key: str) -> bool:
        """Has a command been claimed under this key?"""

    def running(self, key: str) -> bool:
        """Does the one that was run under this key run still, as after a shutdown it may?"""

    def forget(self, key: str) -> None:
        """Its result is on record: what was kept of it may go."""

    def release(self, prefix: str = "") -> None:
        """From now on a cancelled `run` under a key that begins so leaves its command running."""

    def hold(self, prefix: str) -> None:
        """Takes a `release` back."""


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
    refusals: Refusals | None = None
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
