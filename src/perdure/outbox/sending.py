"""One attempt: the channel's command, supervised, and what its end means."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol

from perdure.kernel.errors import PerdureError, StorageError
from perdure.kernel.events import SessionId
from perdure.kernel.ports import Sent
from perdure.kernel.state import Delivery

from .channels import HOPELESS, Channel
from .letters import Letter, Letters

RECEIPT_CHARS = 500


class Outcome(Protocol):
    """How a supervised command ended; see `perdure.sandbox.Outcome`."""

    @property
    def state(self) -> Literal["exited", "timeout", "stopped", "lost", "unstarted"]: ...
    @property
    def exit_code(self) -> int | None: ...
    @property
    def output(self) -> Path: ...
    @property
    def error(self) -> str: ...


class Commands(Protocol):
    async def run(
        self, command: str, *, key: str, cwd: Path, timeout: float, resumed: bool
    ) -> Outcome:
        """Run once per key; with `resumed`, join the run of an earlier process."""

    def known(self, key: str) -> bool:
        """Was it begun?"""

    def forget(self, key: str) -> None:
        """The outcome of this key is on record."""


class CommandOutbox:
    """Implements `perdure.kernel.ports.Outbox`."""

    def __init__(
        self,
        channels: Callable[[], Mapping[str, Channel]],
        commands: Commands,
        letters: Letters,
        workspace: Path,
    ) -> None:
        """`channels` is asked at each attempt, so that a reload takes effect."""
        self._channels, self._commands, self._letters = channels, commands, letters
        self._workspace = workspace

    async def send(self, session: SessionId, delivery: Delivery, *, resumed: bool) -> Sent:
        channel = self._channels().get(delivery.to)
        try:
            file = await asyncio.to_thread(self._letters.write, _letter(session, delivery))
            if channel is None:
                sent = Sent(outcome="failed", error=f"perdure.yaml has no outbox {delivery.to!r}")
            else:
                sent = await self._attempt(channel, delivery, file, resumed)
        except (PerdureError, OSError) as error:
            return Sent(outcome="retry", error=str(error))
        return sent

    def begun(self, delivery: Delivery) -> bool:
        """Has the command of its present attempt begun, so that it may have left? Blocking."""
        return self._commands.known(_key(delivery))

    async def _attempt(
        self, channel: Channel, delivery: Delivery, file: Path, resumed: bool
    ) -> Sent:
        outcome = await self._commands.run(
            f"( {channel.command}\n) < {shlex.quote(str(file))}",
            key=_key(delivery),
            cwd=self._workspace,
            timeout=channel.timeout,
            resumed=resumed,
        )
        said = (await asyncio.to_thread(_head, outcome.output)).strip()
        return _sent(outcome, said)

    async def ended(self, session: SessionId, delivery: Delivery, *, arrived: bool) -> None:
        with contextlib.suppress(StorageError):
            if arrived:
                await asyncio.to_thread(self._letters.remove, delivery.delivery)
            else:
                await asyncio.to_thread(self._letters.write, _letter(session, delivery))


def _key(delivery: Delivery) -> str:
    """Each attempt its own: a supervisor runs a key once, whatever becomes of this process."""
    return f"{delivery.delivery}.{delivery.attempts}.{delivery.at.timestamp()}"


def _sent(outcome: Outcome, said: str) -> Sent:
    first = said.split("\n", 1)[0][:RECEIPT_CHARS]
    match outcome.state:
        case "exited" if outcome.exit_code == 0:
            return Sent(outcome="delivered", receipt=first or "exit code 0")
        case "exited":
            error = f"exit code {outcome.exit_code}: {said[-RECEIPT_CHARS:]}"
            hopeless = outcome.exit_code in HOPELESS
            return Sent(outcome="failed" if hopeless else "retry", error=error)
        case "unstarted":
            return Sent(outcome="retry", error=f"could not be started: {outcome.error}")
        case "timeout" | "stopped":
            error = "it did not end in time, and may have been delivered"
            return Sent(outcome="unconfirmed", error=error)
        case "lost":
            return Sent(outcome="unconfirmed", error="the machine went down while it was sent")


def _letter(session: SessionId, delivery: Delivery) -> Letter:
    return Letter(
        delivery=delivery.delivery,
        session=session,
        to=delivery.to,
        text=delivery.text,
        at=delivery.at,
        attempts=delivery.attempts,
        status=delivery.dead or "pending",
        error=delivery.error,
        retry_at=delivery.retry_at,
    )


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(4_000).decode("utf-8", "replace")
    except OSError:
        return ""
