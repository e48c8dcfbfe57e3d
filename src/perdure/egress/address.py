"""An address taken apart once, strictly. What is judged is what is sent: the request line and the Host
header are built from these parts, and the text that was given is never parsed a second time.

Refused rather than guessed at: user names, backslashes, control characters, blanks, percent signs in
a host, zones, and numbers that some programs take for an IPv4 address and others do not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from typing import Literal
from urllib.parse import quote, unquote_to_bytes, urljoin

from perdure import hosts

from .errors import Refused

Scheme = Literal["http", "https"]

MAX_LENGTH = 8_192
PORTS: dict[str, int] = {"http": 80, "https": 443}

_OTHER = frozenset(
    (
        *(1080, 1433, 1521, 1723, 2049, 2375, 2376, 3128, 3306, 3389, 4444, 5060, 5432, 5672, 5900),
        *(5984, 6000, 6379, 6443, 6667, 8086, 9042, 9092, 9100, 9200, 9300, 10250, 11211, 15672),
        *(25565, 27017),
    )
)
"""Databases, queues, shells and the like."""

_SPLIT = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>.*)", re.DOTALL)
_PARTS = re.compile(r"//(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#.*)?")
_BAD = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ufeff]")
_DOT = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE)
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PATH_SAFE = "/!$&'()*+,;=:@-._~%"
_QUERY_SAFE = _PATH_SAFE + "?"


@dataclass(frozen=True, kw_only=True)
class Address:
    scheme: Scheme
    host: str
    """Lower case, ASCII, without a final dot; IPv6 in its shortest form, without brackets."""
    port: int
    path: str = "/"
    """Percent-encoded, without dot segments."""
    query: str = ""
    """Percent-encoded, without its question mark."""

    @property
    def target(self) -> str:
        """As it stands in the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def shown_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def authority(self) -> str:
        """As it stands in the Host header."""
        default = self.port == PORTS[self.scheme]
        return self.shown_host if default else f"{self.shown_host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @cached_property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """Where the host is an address and not a name."""
        return literal(self.host)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def without_query(self) -> str:
        """For records and messages: a query may hold what nobody should read there."""
        return f"{self.scheme}://{self.authority}{self.path}"


def parse(url: str) -> Address:
    """Raises Refused, stage `address`."""
    if len(url) > MAX_LENGTH:
        raise _wrong(f"is longer than {MAX_LENGTH:,} characters")
    if _BAD.search(url):
        raise _wrong("holds a blank, a backslash or a control character", "Percent-encode it.")
    split = _SPLIT.fullmatch(url)
    if split is None:
        raise _wrong("is not a whole web address", "Begin it with https://")
    scheme = split["scheme"].lower()
    if scheme not in PORTS:
        raise _wrong(f"has the scheme {scheme[:20]}", "Only http and https leave this machine.")
    parts = _PARTS.fullmatch(split["rest"])
    if parts is None:
        raise _wrong("is not a whole web address", f"Write {scheme}://host/path")
    host, port = authority(parts["authority"], PORTS[scheme])
    return Address(
        scheme="https" if scheme == "https" else "http",
        host=host,
        port=port,
        path=_path(parts["path"]),
        query=_encoded(parts["query"] or "", _QUERY_SAFE),
    )


def join(base: Address, location: str) -> Address:
    """Where a redirect leads. Raises Refused."""
    if len(location) > MAX_LENGTH or _BAD.search(location):
        raise _wrong("that was redirected to is no address")
    try:
        return parse(urljoin(str(base), location))
    except ValueError:
        raise _wrong("that was redirected to is no address") from None


def authority(text: str, default_port: int) -> tuple[str, int]:
    """Host and port of `host`, `host:port`, `[v6]:port`. Raises Refused."""
    try:
        name, port = hosts.authority(text)
    except hosts.NoHost as error:
        raise _wrong(str(error), error.hint) from None
    return name, default_port if port is None else port


def host_name(raw: str) -> str:
    """A host as it will be looked up. Raises Refused."""
    try:
        return hosts.name(raw)
    except hosts.NoHost as error:
        raise _wrong(str(error), error.hint) from None


def literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return IPv6Address(host) if ":" in host else IPv4Address(host)
    except ValueError:
        return None


def decoded_path(path: str) -> str:
    """The path as a server may read it: for rules that forbid."""
    text = path
    for _ in range(3):
        again = unquote_to_bytes(text).decode("utf-8", "replace").replace("\\", "/")
        if again == text:
            break
        text = again
    return _without_dots(text)


def web_port(port: int) -> bool:
    """Other services may take a request for a command of their own."""
    return port in PORTS.values() or (port >= 1024 and port not in _OTHER)


def ambiguous(path: str) -> bool:
    """Servers may disagree on what it names: no rule that allows a path matches it."""
    once = unquote_to_bytes(path)
    return (
        bool(re.search(rb"%|\\|;|//|(?:^|/)\.{1,2}(?:/|$)|[\x00-\x1f]", once))
        or re.search(r"%(?:2f|5c|25|3b)", path, re.IGNORECASE) is not None
    )


def _path(raw: str) -> str:
    return _encoded(_without_dots(raw or "/"), _PATH_SAFE)


def _without_dots(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if not _DOT.fullmatch(segment):
            kept.append(segment)
            continue
        if len(re.sub("%2e", ".", segment, flags=re.IGNORECASE)) == 2 and kept:
            kept.pop()
        if last:
            kept.append("")
    return "/" + "/".join(kept)


def _encoded(text: str, safe: str) -> str:
    try:
        return quote(_ESCAPE.sub("%25", text), safe=safe)
    except UnicodeEncodeError:
        raise _wrong("holds half a character") from None


def _wrong(what: str, hint: str = "") -> Refused:
    return Refused(f"The address {what}.", stage="address", hint=hint)
