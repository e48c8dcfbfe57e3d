"""The bash tool: a supervised shell command."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from perdure.kernel.errors import PerdureError
from perdure.kernel.events import ArtifactId, ResultStatus, ToolResult

from .base import Sink, Tool, ToolContext, failed
from .pages import ends, join_cut
from .seams import CommandOutcome
from .taming import unhidden

DEFAULT_SECONDS = 120
MAX_SECONDS = 3_600
MAX_COMMAND = 1 << 20

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)


class Bash(Tool):
    """Run a command with bash in the working directory. It gets no input and no terminal; what it
    leaves in the background is stopped when it ends."""

    name = "bash"
    effects = frozenset({"reads", "writes", "network"})
    recovery = "rejoin"
    time_limit = None  # its supervisor keeps it
    cooperative = True
    sink = Sink(kind="execute", critical={"command": "command"})

    command: Annotated[str, Field(min_length=1, max_length=MAX_COMMAND)]
    timeout: Annotated[int, Field(ge=1, le=MAX_SECONDS, description="Seconds")] = DEFAULT_SECONDS

    def shell(self) -> str:
        return self.command

    def preview(self, workdir: Path) -> str:
        return self.command

    async def execute(self, context: ToolContext) -> ToolResult:
        command = self.command
        if "\0" in command:
            return failed("A command cannot contain NUL characters.", "invalid")
        if not context.workdir.is_dir():
            return failed(f"The working directory {context.workdir} is gone.")
        refusals = context.refusals
        mark = refusals.mark() if refusals is not None else 0
        try:
            outcome = await context.commands.run(
                command,
                key=context.key,
                cwd=context.workdir,
                timeout=float(self.timeout),
                on_output=lambda stream, text: context.output(live(text), stream),
                resumed=context.resumed,
            )
        except OSError as error:
            return failed(f"The command could not be started: {error.strerror or error}.")
        refused = refusals.since(mark) if refusals is not None else ()
        try:
            return await asyncio.to_thread(report, outcome, context, self.timeout, refused)
        except RuntimeError:  # no thread to be had; what it came to must not be lost for that
            return report(outcome, context, self.timeout, refused)


def report(
    outcome: CommandOutcome, context: ToolContext, timeout: float, refused: Sequence[str] = ()
) -> ToolResult:
    """What a command came to. Blocking: run in a thread. `refused`: by the egress, while it ran."""
    artifact: ArtifactId | None = None
    text = ""
    status, verdict = _verdict(outcome, timeout)
    notes = [verdict] if verdict else []
    if outcome.size:
        try:
            text, artifact = _output(outcome, context)
        except (OSError, PerdureError) as error:  # how it ended is known all the same
            notes.append(f"{outcome.size:,} bytes of output could not be kept: {error}")
    if outcome.dropped:
        notes.append(f"{outcome.dropped:,} bytes of output beyond the limit were not kept")
    if outcome.left:
        what = "process" if outcome.left == 1 else "processes"
        notes.append(f"{outcome.left} {what} left in the background stopped")
    if not text and not notes:
        text = "(no output)"
    if notes:
        text = f"{text.rstrip(chr(10))}\n[{'; '.join(notes)}]".lstrip("\n")
    for line in refused:
        text = f"{text.rstrip(chr(10))}\n[refused on its way out: {line}]"
    result = failed(
        text,
        status,
        exit_code=outcome.exit_code,
        seconds=round(outcome.seconds, 3),
        bytes=outcome.size,
        lines=outcome.lines,
    )
    return ToolResult(status=status, parts=result.parts, data=result.data, artifact=artifact)


def _output(outcome: CommandOutcome, context: ToolContext) -> tuple[str, ArtifactId | None]:
    """What a model sees of it, and where all of it is if that is not all. Raises OSError, StorageError."""
    head, tail = ends(outcome.output, outcome.size, context.max_result_chars)
    if tail is None and b"\0" not in head:
        return plain(head.decode("utf-8", "replace")), None
    artifact = context.artifacts.put_file(outcome.output, ".txt")
    if b"\0" in head or tail is None:
        return f"[binary output, {outcome.size:,} bytes, kept as artifact:{artifact}]", artifact
    text = join_cut(
        plain(head.decode("utf-8", "replace")),
        plain(tail.decode("utf-8", "replace")),
        outcome.lines,
        outcome.size,
        str(artifact),
    )
    return text, artifact


def _verdict(outcome: CommandOutcome, timeout: float) -> tuple[ResultStatus, str]:
    took = f"{outcome.seconds:.3g} s"
    match outcome.state:
        case "exited":
            code = outcome.exit_code
            return ("ok", "") if code == 0 else ("error", f"exit code {code}, {took}")
        case "timeout":
            return "timeout", f"stopped after {timeout:g} s with all it had started"
        case "stopped":
            return "interrupted", f"stopped after {took}"
        case "lost":
            return "in_doubt", f"it may or may not have finished: {outcome.error}"
        case "unstarted":
            return "error", f"it did not start: {outcome.error}"


def plain(text: str) -> str:
    """Without terminal escapes and control characters; of a line drawn over, what stood last."""
    text = unhidden(_ESCAPES.sub("", text))
    if "\r" in text:
        text = text.replace("\r\n", "\n")
        if "\r" in text:
            text = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    return text


def live(text: str) -> str:
    """A piece of output for a terminal, which it must not be able to steer."""
    text = _ESCAPES.sub("", text)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
