"""What goes out and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

MAX_BYTES = 10 << 20
SECONDS = 60.0
REDIRECTS = 3


class Request(Protocol):
    """What a caller asks for. `Outgoing` is one; a tool's own class may be another."""

    @property
    def method(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """`secret://name` within a value stands for a secret."""

    @property
    def body(self) -> bytes: ...

    @property
    def limit(self) -> int:
        """Bytes of the answer's body, after decompression."""

    @property
    def cut(self) -> bool:
        """A longer answer is cut there; else it is refused."""

    @property
    def seconds(self) -> float:
        """For all of it, redirects included."""

    @property
    def redirects(self) -> int:
        """At most so many are followed, never more than REDIRECTS."""

    @property
    def types(self) -> tuple[str, ...]:
        """Media types that are wanted, `text/*` being one; empty: any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """Implements Request."""

    method: str = "GET"
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    limit: int = MAX_BYTES
    cut: bool = False
    seconds: float = SECONDS
    redirects: int = REDIRECTS
    types: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Incoming:
    """The answer, scanned, with the owner's secrets taken out of it."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case, without cookies."""
    body: bytes = field(repr=False)
    url: str
    """Where it came from in the end."""
    chain: tuple[str, ...]
    """The addresses that led there, the first one included."""
    cut: bool = False
    redacted: int = 0
    """Secrets that were taken out."""
    private: bool = False
    """Not everybody could have got it: a host inside, or a secret was sent along."""

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str:
        """As the server says; empty when it does not."""
        for part in self.headers.get("content-type", "").split(";")[1:]:
            name, _, value = part.partition("=")
            if name.strip().lower() == "charset":
                return value.strip().strip("\"'").lower()
        return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """For whom a request is made. Set by the runtime, never by who makes it."""

    session: str = ""
    agent: str = ""
    tool: str = ""
    judged: tuple[str, ...] = ()
    """Addresses and hosts that the gate has judged for this very call: where the owner's rules say
    `ask`, this is the answer."""
