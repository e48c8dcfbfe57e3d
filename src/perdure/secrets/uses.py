"""The record of uses: one JSON line for each time a secret was handed out, or refused. No values."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from perdure.kernel.errors import StorageError

MOST = 4 << 20
"""Bytes of the file; then it becomes `….2026-11.jsonl`, after its last line's month (`….2026-11.2.jsonl` when
that is taken), and a new one begins."""
_HISTORY = re.compile(r"\.(\d{4}-\d{2})(?:\.(\d+))?\.jsonl$")


class Use(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    secret: str
    at: datetime
    host: str
    position: str
    tool: str
    agent: str = ""
    session: str = ""
    pid: int = 0
    refused: str = ""
    """Why it was not handed out."""


_encode = msgspec.json.Encoder().encode
_use = msgspec.json.Decoder(Use)


class Uses:
    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, use: Use) -> None:
        """Raises StorageError: what cannot be put on record is not handed out."""
        try:
            handle = self._locked()
            try:
                size = os.fstat(handle).st_size
                torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                line = (b"\n" if torn else b"") + _encode(use) + b"\n"
                if os.write(handle, line) != len(line):
                    raise OSError(errno.ENOSPC, "it was not written whole")
                if size + len(line) > MOST:
                    with contextlib.suppress(OSError):  # then the next one does
                        self._path.rename(self._history(f"{use.at:%Y-%m}"))
            finally:
                os.close(handle)
        except OSError as error:
            raise StorageError(
                f"The use of secret://{use.secret} cannot be recorded: {error.strerror}."
            ) from error

    def all(self) -> Iterator[Use]:
        """Oldest first. A line that cannot be read is left out."""
        names = (
            (match[1], int(match[2] or 1), path)
            for path in self._path.parent.glob(f"{self._path.stem}.*{self._path.suffix}")
            if (match := _HISTORY.search(path.name))
        )
        for path in (*(path for *_, path in sorted(names)), self._path):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                for line in file:
                    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                        yield _use.decode(line)

    def _locked(self) -> int:
        """The file, for this process alone until it is closed. Raises OSError."""
        while True:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(handle), self._path.stat()):
                        return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # it became history meanwhile

    def _history(self, month: str) -> Path:
        """Where nothing is yet."""
        for count in itertools.count(1):
            more = f".{count}" if count > 1 else ""
            path = self._path.with_suffix(f".{month}{more}{self._path.suffix}")
            if not os.path.lexists(path):
                return path
        raise AssertionError

    def last(self) -> dict[str, datetime]:
        """When each secret was last handed out."""
        return {use.secret: use.at for use in self.all() if not use.refused}
