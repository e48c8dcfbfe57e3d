"""The record of what left this machine, or tried to: `egress/YYYY-MM.jsonl` in the private folder.

A request has two lines, redirects being requests of their own: one before anything of it is sent, without
which it is not, and one when it is over. What was refused before has the second only. They hold neither
headers nor bodies nor the values of a query, and never a secret. A line is written in one piece; a torn
one, of a crash, is closed by the next and passed over when read.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote_plus

import msgspec

from .address import Address

FOLDER = "egress"
MAX_TEXT = 500
OPENED = "opened"
"""Verdict of what has begun."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    at: datetime
    session: str = ""
    agent: str = ""
    tool: str = ""
    """Or `command`, for what came through the sandbox's proxy."""
    method: str = ""
    host: str = ""
    """With its port where that is not the scheme's own."""
    path: str = ""
    query: tuple[str, ...] = ()
    """Names only."""
    addresses: tuple[str, ...] = ()
    """All that were found, the one connected to being the first."""
    sent: int = 0
    """Bytes of body."""
    received: int = 0
    status: int = 0
    verdict: str = ""
    """`sent`, `refused: <stage>`, or `failed`; `opened` before anything is sent."""
    rule: str = ""
    """The owner's rule that decided, or `default`."""
    why: str = ""
    secrets: tuple[str, ...] = ()
    """Names of those that were put in."""
    redactions: int = 0
    ms: int = 0
    request: str = ""
    """The same in both lines of a request."""


class EgressLog:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, entry: Entry) -> None:
        """Raises OSError: what cannot be recorded must not leave."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{entry.at:%Y-%m}.jsonl"
        fd = os.open(
            path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            line = (b"\n" if torn else b"") + msgspec.json.encode(entry) + b"\n"
            if os.write(fd, line) != len(line):
                raise OSError("the record was not written whole")
        finally:
            os.close(fd)

    def check(self) -> None:
        """Is it of any use to begin? Whether there is room, only `append` finds out. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(self._folder, os.W_OK):
            raise PermissionError(f"{self._folder} cannot be written")

    def read(
        self, *, session: str = "", host: str = "", since: datetime | None = None
    ) -> Iterator[Entry]:
        """One for each request, oldest first: its end, or its beginning where there is none. `session`: its
        id, or the end of it; `host`: it or a domain above it."""
        unended: set[str] = set()
        for entry in self._lines(since):
            if entry.verdict == OPENED:
                unended.add(entry.request)
            else:
                unended.discard(entry.request)
        for entry in self._lines(since):
            if entry.verdict == OPENED and entry.request and entry.request not in unended:
                continue
            name = entry.host.partition(":")[0]
            if (
                (not session or entry.session.endswith(session))
                and (not host or name == host or name.endswith(f".{host}"))
                and (since is None or entry.at >= since)
            ):
                yield entry

    def _lines(self, since: datetime | None) -> Iterator[Entry]:
        decode = msgspec.json.Decoder(Entry)
        first = f"{since.astimezone(UTC):%Y-%m}.jsonl" if since else ""
        for path in sorted(self._folder.glob("????-??.jsonl")):
            if path.name < first:
                continue
            with path.open("rb") as file:
                for line in file:
                    with contextlib.suppress(msgspec.DecodeError):
                        yield decode.decode(line)


def new_request() -> str:
    """What ties both lines of a request together."""
    return secrets.token_hex(8)


def query_names(address: Address) -> tuple[str, ...]:
    pairs = address.query.split("&") if address.query else []
    names = (unquote_plus(pair.partition("=")[0])[:60] for pair in pairs if "=" in pair)
    return tuple(dict.fromkeys(n.encode("utf-8", "replace").decode() for n in names))[:50]
