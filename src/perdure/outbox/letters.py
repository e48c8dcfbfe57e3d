"""Answers that have not arrived, one JSON file each in `.perdure/outbox/`.

A letter is written before its first attempt and removed when it has arrived. It is derived from its
session's log, which alone decides; the files are there to be found without opening every session, and
to be read by the channel's command.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec

from perdure.kernel.errors import StorageError
from perdure.kernel.events import DeliveryId, SessionId


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    delivery: DeliveryId
    session: SessionId
    to: str
    text: str
    at: datetime
    """When the answer was given."""
    attempts: int = 0
    status: Literal["pending", "failed", "unconfirmed"] = "pending"
    error: str = ""
    """What the last attempt came to."""
    retry_at: datetime | None = None


_encode = msgspec.json.Encoder().encode
_letter = msgspec.json.Decoder(Letter)


class Letters:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, delivery: DeliveryId) -> Path:
        name = sha256(delivery.encode()).hexdigest()[:24]
        return self._folder / f"{name}.json"

    def write(self, letter: Letter) -> Path:
        """Raises StorageError."""
        path = self.path(letter.delivery)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            new = path.with_suffix(".new")
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(_encode(letter))
            new.replace(path)
        except OSError as error:
            raise StorageError(
                f"cannot write {path.name} of the outbox: {error.strerror}"
            ) from error
        return path

    def remove(self, delivery: DeliveryId) -> None:
        with contextlib.suppress(OSError):
            self.path(delivery).unlink()

    def all(self) -> Iterator[Letter]:
        """Oldest first. A file that cannot be read is left out: its session's log has it."""
        found = []
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
                found.append(_letter.decode(path.read_bytes()))
        yield from sorted(found, key=lambda letter: letter.at)
