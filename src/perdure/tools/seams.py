"""What tools are given by those who run them, as they see it. Wired in `perdure.runtime`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from perdure.kernel.events import ArtifactId, Usage
from perdure.kernel.labels import Label

Stream = Literal["stdout", "stderr"]


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

    def since(self, mark: int) -> tuple[Sequence[str], Label]:
        """And the label of these words: which command has asked is not known, so of all of them."""


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
