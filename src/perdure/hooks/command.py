"""Command hooks: JSON on stdin, JSON on stdout; exit code 2 blocks with stderr as the reason."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import msgspec

from perdure.kernel.events import Json, SessionId
from perdure.kernel.ports import HookPoint

from .declare import DEFAULT_TIMEOUT, Answer, Declaration, Fail, declare
from .side import HookFailed

BLOCKED = 2
"""Exit code by which a command blocks."""
MOST_OUTPUT = 4 * 1024 * 1024
MOST_ERRORS = 16 * 1024
"""Bytes."""
KILL_SECONDS = 1.0
"""How long a killed command may take to be gone."""
_ENVIRONMENT = ("PATH", "HOME", "LANG", "TERM", "TMPDIR", "USER", "LOGNAME", "SHELL", "TZ")
"""What a command inherits, besides LC_*: no credentials (S5)."""


class CommandHook(msgspec.Struct, frozen=True, kw_only=True):
    on: HookPoint
    command: str
    """For the shell, in the workspace's folder."""
    fail: Fail = "open"
    timeout: float = DEFAULT_TIMEOUT
    tools: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.command

    @property
    def declaration(self) -> Declaration:
        """Raises ValueError when the settings make no sense together."""
        return declare(self.on, fail=self.fail, timeout=self.timeout, tools=self.tools)


class _Said(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command's stdout."""

    block: str = ""
    again: str = ""
    value: Json = None


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """A command's stdin."""

    point: HookPoint
    session: SessionId
    value: dict[str, Json]


async def run_command(
    hook: CommandHook, session: SessionId, value: dict[str, Json], cwd: Path
) -> Answer | None:
    """Raises HookFailed. On time-out and cancellation the command and its children are killed."""
    told = msgspec.json.encode(_Told(point=hook.on, session=session, value=value)) + b"\n"
    loop = asyncio.get_running_loop()
    talk = _Talk(loop)
    starting = asyncio.ensure_future(
        loop.subprocess_shell(
            lambda: talk,
            hook.command,
            cwd=cwd,
            env=_environment(hook.on, session),
            start_new_session=True,
        )
    )
    cancelled = False
    try:
        # Cancelled in the middle of a start, asyncio kills the shell alone and waits for its children.
        await asyncio.wait((starting,))
    except asyncio.CancelledError:
        cancelled = True
        await asyncio.wait((starting,))
    try:
        transport, _ = starting.result()
    except OSError as error:
        raise HookFailed(f"cannot be started: {error.strerror}") from None
    group = transport.get_pid()
    try:
        if cancelled:
            raise asyncio.CancelledError
        async with asyncio.timeout(hook.timeout):
            talk.tell(transport, told)
            await talk.exited
            _kill(group)  # children it left would keep its output open
            await talk.silent
    except TimeoutError:
        raise HookFailed(f"took longer than {hook.timeout:g} seconds") from None
    finally:
        if not talk.silent.done():
            _kill(group)
        transport.close()
        await asyncio.wait((talk.silent,), timeout=KILL_SECONDS)
    return _answer(transport.get_returncode() or 0, bytes(talk.output), bytes(talk.errors))


class _Talk(asyncio.SubprocessProtocol):
    """Takes a command's output as fast as it comes, and keeps of it what may be kept: the command
    never waits for us, and cannot fill our memory."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.output, self.errors = bytearray(), bytearray()
        self.exited: asyncio.Future[None] = loop.create_future()
        """The command itself has ended; children may still hold its output open."""
        self.silent: asyncio.Future[None] = loop.create_future()
        """It has ended and its output too."""

    def tell(self, transport: asyncio.SubprocessTransport, told: bytes) -> None:
        stdin = transport.get_pipe_transport(0)
        assert isinstance(stdin, asyncio.WriteTransport)
        stdin.write(told)
        stdin.close()  # once it is written

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        kept, most = (self.output, MOST_OUTPUT + 1) if fd == 1 else (self.errors, MOST_ERRORS)
        kept += data[: max(0, most - len(kept))]

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.silent.done():
            self.silent.set_result(None)


def _answer(code: int, out: bytes, errors: bytes) -> Answer | None:
    complaint = errors.decode(errors="replace").strip()
    if code == BLOCKED:
        return Answer(block=complaint or "no reason was given")
    if code != 0:
        raise HookFailed(f"exit code {code}" + (f": {complaint[-500:]}" if complaint else ""))
    if not out.strip():
        return None
    if len(out) > MOST_OUTPUT:
        raise HookFailed(f"its output is larger than {MOST_OUTPUT // 1024} KiB")
    try:
        said = msgspec.json.decode(out, type=_Said)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HookFailed(f"its output is not what was expected: {error}") from None
    return Answer(block=said.block, again=said.again, value=said.value)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _environment(point: HookPoint, session: SessionId) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _ENVIRONMENT or name.startswith("LC_")
    }
    return {**kept, "PERDURE_HOOK": point, "PERDURE_SESSION": session}
