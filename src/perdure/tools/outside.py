"""The one way out of this machine, as tools see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from perdure.kernel.labels import Label

MAX_BYTES = 10 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """A request that a tool wants sent. In a header's value `secret://name` stands for a secret."""

    method: str = "GET"
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    limit: int = MAX_BYTES
    """Bytes of the answer's body."""
    cut: bool = False
    """A longer answer is cut there; else it is refused."""
    seconds: float = 60.0
    redirects: int = 3
    types: tuple[str, ...] = ()
    """Media types that are wanted, `text/*` being one; empty: any."""


class Incoming(Protocol):
    """The answer, with the owner's secrets taken out of it."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""

    @property
    def body(self) -> bytes: ...

    @property
    def url(self) -> str:
        """Where it came from in the end."""

    @property
    def chain(self) -> tuple[str, ...]:
        """The addresses that led there, the first one included."""

    @property
    def cut(self) -> bool: ...

    @property
    def private(self) -> bool:
        """Not everybody could have got it: a host inside, or a secret was sent along."""

    @property
    def media_type(self) -> str: ...

    @property
    def charset(self) -> str:
        """As the server says; empty when it does not."""


class Egress(Protocol):
    def foresee(self, method: str, url: str, /) -> None:
        """Raises PerdureError for a request that will be refused whatever its owner is asked and answers."""

    async def request(self, outgoing: Outgoing, /) -> Incoming:
        """Send it, if the owner's rules and everything else allow it. Raises PerdureError, whose text is
        for the model; on cancellation the connection is closed."""


class Doors(Protocol):
    """Egress for one session."""

    def by(self, tool: str, judged: Sequence[str] = ()) -> Egress:
        """For one call. `judged`: addresses and hosts among its arguments, which the gate has seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """Where `web_search` asks."""

    provider: str
    """brave, tavily, searxng or custom."""
    url: str = ""
    secret: str = ""
    """`secret://name`, or empty."""
    headers: Mapping[str, str] = field(default_factory=dict)
    results: str = ""
    """Of a custom one: where its list of results stands in the answer, `data.items`."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Of a custom one: what it calls title, url and text."""


def web_label(url: str, *, private: bool) -> Label:
    """Of what a server said."""
    host = urlsplit(url).hostname or "unknown"
    return Label(
        trust="third_party",
        secrecy="private" if private else "public",
        origins=(f"web:{host}",),
    )
