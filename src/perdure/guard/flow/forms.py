"""Values that name a destination or an amount: each kind's one form, so that two ways of writing the same are
equal, and two destinations never are. None: it cannot be told what it is, so nobody vouched for it."""

from __future__ import annotations

import re
from decimal import Decimal
from urllib.parse import urlsplit

from perdure import hosts

_LOCAL = re.compile(r"[\w.!#$%&'*+/=?^{|}~-]+\Z")
_NAMED = re.compile(r"\s*(?P<name>[^<>]*?)\s*<\s*(?P<address>[^<>\s]+)\s*>\s*\Z")
_NUMBER = re.compile(r"\d+(?:\.\d+)?\Z")
_ACCOUNT = re.compile(r"[0-9A-Za-z](?:[ \-]?[0-9A-Za-z])*\Z")
_OCTET = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PORTS = {"http": 80, "https": 443}


def host(text: str) -> str | None:
    """A host's name: lower case, punycode undone, without the root's dot."""
    text = text.strip().removesuffix(".").lower()
    try:
        name = hosts.name(text)
    except hosts.NoHost:
        return None
    shown = hosts.shown(name)
    # What is only turned into this name by whoever looks it up is a disguise.
    return shown if text in (name, shown) else None


def address(text: str) -> str | None:
    """A mail address: `local@host`. A name before it in angle brackets says nothing, and may not itself
    look like an address. What is tagged with + stays distinct."""
    text = text.strip()
    if "<" in text or ">" in text:
        found = _NAMED.match(text)
        if found is None or "@" in found["name"]:
            return None
        text = found["address"]
    if text[:7].lower() == "mailto:":
        text = text[7:]
    local, at, domain = text.rpartition("@")
    if not at:
        return None
    if len(local) > 2 and local[0] == local[-1] == '"':
        local = local[1:-1]
    if not _LOCAL.match(local) or local[0] == "." or local[-1] == "." or ".." in local:
        return None
    if "?" in local or "%" in local or "!" in local:  # routes and headers in disguise
        return None
    known = host(domain)
    return f"{local.lower()}@{known}" if known and "." in known else None


def url(text: str) -> str | None:
    """Scheme (left out where none was written), host, port unless it is the usual one, path and query to the
    letter but for needless percent signs. A fragment stays here and does not count. None for one with a user
    name, dot segments, backslashes or blanks."""
    text = text.strip()
    if not text or any(c.isspace() or c == "\\" for c in text) or not text.isprintable():
        return None
    bare = "://" not in text.split("?", 1)[0].split("#", 1)[0]
    try:
        parts = urlsplit(f"//{text}" if bare else text)
        literal, port = hosts.authority(parts.netloc)
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if not bare and scheme not in _PORTS:
        return None
    name = f"[{literal}]" if ":" in literal else host(parts.netloc.partition(":")[0])
    if not name:
        return None
    path = _plain(parts.path) or "/"
    if any(part in (".", "..") for part in path.split("/")):
        return None
    place = f":{port}" if port and port != _PORTS.get(scheme) else ""
    query = f"?{_plain(parts.query)}" if "?" in text.split("#", 1)[0] else ""
    return f"{scheme}://{name}{place}{path}{query}"


def _plain(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        char = chr(int(found[1], 16))
        return char if char in _UNRESERVED else f"%{found[1].upper()}"

    return _OCTET.sub(one, text)


def host_of(canonical_url: str) -> str:
    """Of what `url` returned, the port with it."""
    return canonical_url.split("://", 1)[1].split("/", 1)[0]


def same_url(value: str, known: str) -> bool:
    """Both as `url` gives them. Where one names no scheme, any web scheme will do."""
    a, b = value.split("://", 1), known.split("://", 1)
    return a[1] == b[1] and (a[0] == b[0] or not a[0] or not b[0])


def account(text: str) -> str | None:
    """An account's number, however it is grouped."""
    text = text.strip()
    if len(text) > 64 or not text.isascii() or not _ACCOUNT.match(text):
        return None
    found = re.sub(r"[ \-]", "", text).upper()
    return found if sum(c.isdigit() for c in found) >= 4 else None


def amount(text: str) -> Decimal | None:
    """A plain number, as an argument holds it. No sign, no exponent, no words."""
    text = text.strip()
    if not text.isascii() or not _NUMBER.match(text) or len(text) > 40:
        return None
    return Decimal(text).normalize()


def written(text: str) -> Decimal | None:
    """A number as people write it: 1200.5, 1,200.50, 1.200,50, 1 200,50, 1'200.50."""
    text = text.replace("\u00a0", " ").replace("\u202f", " ").replace("’", "'")
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", text):
        text = text.replace(",", "")
    elif re.fullmatch(r"\d{1,3}(?:[ '.]\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}", text):
        text = re.sub(r"[ '.]", "", text).replace(",", ".")
    elif re.fullmatch(r"\d{1,3}(?:[ ']\d{3})+(?:\.\d+)?", text):
        text = re.sub(r"[ ']", "", text)
    elif re.fullmatch(r"\d+,\d{1,2}", text):
        text = text.replace(",", ".")
    return amount(text)


def path(text: str) -> str | None:
    text = text.strip()
    if not text or "\0" in text or ".." in text.split("/"):
        return None
    return re.sub(r"/(?:\./)+", "/", re.sub(r"//+", "/", text)).removeprefix("./")


def visible(text: str) -> str:
    """For a person: what would not show, or turn the line around, as its code."""
    return "".join(
        c if c.isprintable() and c not in "\u3164\uffa0\u115f\u1160\u2800" else f"\\u{ord(c):04x}"
        for c in text
    )


def spellings(value: str) -> list[str]:
    """Other ways in which a value may stand in a text, the given one first."""
    found = [value]
    if "@" in value and (known := address(value)) is not None:
        found.append(known)
    if "://" in value:
        found.append(value.split("://", 1)[1].rstrip("/"))
    if (number := amount(value)) is not None:
        found += [f"{number:f}", f"{number:,.2f}", f"{number:.2f}"]
        if number == int(number):
            found += [f"{int(number):,}", str(int(number))]
    elif (known := account(value)) is not None:
        found.append(" ".join(known[at : at + 4] for at in range(0, len(known), 4)))
        found.append(known)
    return list(dict.fromkeys(found))
