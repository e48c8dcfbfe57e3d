"""Names of hosts, read in one way by whoever judges, binds, records or dials one.

International names become what is looked up: by UTS 46, not transitional, so that faß.de and fass.de stay
two hosts, as in browsers. Refused rather than guessed at: user names, percent signs, zones, and numbers that
some programs take for an IPv4 address and others do not.
"""

from __future__ import annotations

import functools
import re
from ipaddress import IPv4Address, IPv6Address

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)")
_PORT = re.compile(r"[0-9]{1,5}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|//")
_END = re.compile(r"[/?#]")
_BAD = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ufeff]")
_WILD = frozenset("*?[]")


class NoHost(ValueError):
    """What it says goes behind "The address": `names no host`."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


def name(raw: str) -> str:
    """A host as it will be looked up: lower case, ASCII, without a final dot. Raises NoHost."""
    if not raw:
        raise NoHost("names no host")
    if "%" in raw:
        raise NoHost("has a percent sign in its host")
    found = raw.lower()
    if not found.isascii():
        found = _ascii(raw)
    found = found.removesuffix(".")
    labels = found.split(".")
    if len(found) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise NoHost("has a host that is no valid name")
    if _NUMBER.fullmatch(labels[-1]):
        # 127.1, 2130706433, 0x7f000001 and 0177.0.0.1 are addresses to some programs.
        try:
            return str(IPv4Address(found))
        except ValueError:
            raise NoHost(
                "has a number for a host", "Write an IPv4 address as four decimal numbers."
            ) from None
    return found


def authority(text: str) -> tuple[str, int | None]:
    """Host and port of `host`, `host:port`, `[v6]:port`; None where no port is named. IPv6 in its shortest
    form, without brackets. Raises NoHost."""
    if "@" in text:
        raise NoHost("holds a user name or password", "Name a secret instead: secret://name")
    if text.startswith("["):
        inside, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise NoHost("has a host in brackets that do not end")
        try:
            if "%" in inside:
                raise ValueError
            found = IPv6Address(inside).compressed
        except ValueError:
            raise NoHost("has brackets around what is no IPv6 address") from None
        given, port = bool(port), port[1:]
    else:
        raw, colon, port = text.partition(":")
        found, given = name(raw), bool(colon)
    if not given:
        return found, None
    if not _PORT.fullmatch(port) or not 0 < int(port) < 65_536:
        raise NoHost("has no valid port")
    return found, int(port)


def of_url(text: str) -> str:
    """The host of an address on the web, or of what is one but for its scheme: `a.example:443/x`.
    Raises NoHost."""
    text = text.strip()
    if _BAD.search(text):
        raise NoHost("holds a blank, a backslash or a control character")
    begin = _SCHEME.match(text)
    return authority(_END.split(text[begin.end() :] if begin else text, maxsplit=1)[0])[0]


def shown(host: str) -> str:
    """What `name` gave, for a person to read: punycode undone."""
    if "xn--" not in host:
        return host
    import idna

    try:
        return idna.decode(host)
    except (idna.IDNAError, UnicodeError):
        return host


@functools.lru_cache(2048)
def pattern(glob: str) -> str:
    """A pattern of hosts, in the spelling of `name`; wildcards stay. Raises NoHost where one stands in the
    same part as letters that are none of ASCII's: what it would fit cannot be told."""
    glob = glob.strip()
    if _WILD.isdisjoint(glob):
        try:
            return IPv6Address(glob).compressed if ":" in glob else name(glob)
        except ValueError:  # it fits nothing that could be dialled; shown as it is
            return glob.lower()
    if glob.isascii():
        return glob.lower().removesuffix(".")
    parts = [part if part.isascii() else _part(part) for part in glob.split(".")]
    return ".".join(parts).lower().removesuffix(".")


def _part(part: str) -> str:
    if not _WILD.isdisjoint(part):
        raise NoHost("has a wildcard beside letters that are written in punycode")
    return _ascii(part)


def _ascii(raw: str) -> str:
    import idna

    try:
        return idna.encode(raw, uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise NoHost("has a host that is no valid name") from None
