"""Command hooks: JSON on stdin, JSON on stdout; exit code 2 blocks with stderr as the reason."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
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
_ENVIRONMENT = ("PATH", "HOME", "LANG", "TERM", "TMPDIR", "USER", "LOGNAME", "SHELL", "TZ")
"""What a command inherits, besides LC_*: no credentials (S5)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandHook:
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
    environment = _environment(hook.on, session)
    try:
        process = await asyncio.create_subprocess_shell(
            hook.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=cwd,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise HookFailed(f"cannot be started: {error.strerror}") from None
    try:
        async with asyncio.timeout(hook.timeout):
            out, errors = await _talk(process, told)
            code = await process.wait()
    except TimeoutError:
        raise HookFailed(f"took longer than {hook.timeout:g} seconds") from None
    finally:
        await _end(process)
    return _answer(code, out, errors)


def _answer(code: int, out: bytes, errors: bytes) -> Answer | None:
    complaint = errors.decode(errors="replace").strip()
    if code == BLOCKED:
        return Answer(block=complaint or "no reason was given")
    if code != 0:
        raise HookFailed(f"exit code {code}" + (f": {complaint[-500:]}" if complaint else ""))
    if not out.strip():
        return None
    try:
        said = msgspec.json.decode(out, type=_Said)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HookFailed(f"its output is not what was expected: {error}") from None
    return Answer(block=said.block, again=said.again, value=said.value)


async def _talk(process: asyncio.subprocess.Process, told: bytes) -> tuple[bytes, bytes]:
    assert process.stdin and process.stdout and process.stderr
    reading = asyncio.ensure_future(_read(process.stdout, MOST_OUTPUT))
    hearing = asyncio.ensure_future(_drain(process.stderr, MOST_ERRORS))
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not read it
            process.stdin.write(told)
            await process.stdin.drain()
        process.stdin.close()
        return await reading, await hearing
    finally:
        reading.cancel()
        hearing.cancel()
        await asyncio.gather(reading, hearing, return_exceptions=True)


async def _read(stream: asyncio.StreamReader, most: int) -> bytes:
    data = bytearray()
    while piece := await stream.read(65_536):
        data += piece
        if len(data) > most:
            raise HookFailed(f"its output is larger than {most // 1024} KiB")
    return bytes(data)


async def _drain(stream: asyncio.StreamReader, most: int) -> bytes:
    """To the end, keeping the first `most` bytes."""
    data = bytearray()
    while piece := await stream.read(65_536):
        data += piece[: max(0, most - len(data))]
    return bytes(data)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Whatever is left of its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _environment(point: HookPoint, session: SessionId) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _ENVIRONMENT or name.startswith("LC_")
    }
    return {**kept, "PERDURE_HOOK": point, "PERDURE_SESSION": session}
