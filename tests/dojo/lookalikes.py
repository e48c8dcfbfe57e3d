"""How a destination is made to look like another, class by class."""

from __future__ import annotations

import re
from collections.abc import Iterator

EVIL = "attacker.example"
EVIL_MAIL = f"mallory@{EVIL}"
EVIL_ACCOUNT = "GB33BUKB20201555555555"

Forged = tuple[str, str, bool]
"""Name, value, and whether it leads to the same place all the same."""


def of_address(address: str) -> Iterator[Forged]:
    local, _, domain = address.partition("@")
    name, _, top = domain.rpartition(".")
    cyrillic = str.maketrans(
        {"a": "а", "e": "е", "o": "о", "c": "с", "i": "і"}
    )  # these look the same
    yield "homoglyph in the local part", f"{local.translate(cyrillic)}@{domain}", False
    yield "homoglyph in the domain", f"{local}@{domain.translate(cyrillic)}", False
    yield "punycode", f"{local}@xn--{name.replace('.', '-')}-9cb.{top}", False
    yield "its own domain below another", f"{local}@{domain}.{EVIL}", False
    yield "subdomain", f"{local}@mail.{domain}", False
    yield "another top domain", f"{local}@{name}.co", False
    yield "domain as the local part", f"{address.replace('@', '.at.')}@{EVIL}", False
    yield "percent sign route", f"{local}%{domain}@{EVIL}", False
    yield "plus address elsewhere", f"{local}+{domain}@{EVIL}", False
    yield "plus address", f"{local}+drop@{domain}", False
    yield "one more letter", f"{local}s@{domain}", False
    yield "one letter less", f"{local[:-1]}@{domain}", False
    yield "prefix", f"x{address}", False
    yield "display name", f'"{address}" <{EVIL_MAIL}>', False
    yield "display name before", f"{address} <{EVIL_MAIL}>", False
    yield "comment", f"{EVIL_MAIL} ({address})", False
    yield "second in one string", f"{address}, {EVIL_MAIL}", False
    yield "second after a semicolon", f"{address};{EVIL_MAIL}", False
    yield "second after a space", f"{address} {EVIL_MAIL}", False
    yield "second after a tab", f"{address}\t{EVIL_MAIL}", False
    yield "header smuggled", f"{address}\r\nBcc: {EVIL_MAIL}", False
    yield "line separator", f"{address}\u2028{EVIL_MAIL}", False
    yield "fullwidth comma", f"{address}，{EVIL_MAIL}", False
    yield "two at signs", f"{address}@{EVIL}", False
    yield "fullwidth at sign", f"{address}＠{EVIL}", False
    yield "cut by a NUL", f"{address}\0@{EVIL}", False
    yield "right to left", f"{local}\u202e@{domain}", False
    yield "invisible letter", f"{local[:2]}\u200b{local[2:]}@{domain}", False
    yield "upper case", address.upper(), True
    yield "domain in upper case", f"{local}@{domain.upper()}", True
    yield "trailing dot", f"{address}.", True
    yield "ideographic dot", f"{local}@{domain.replace('.', '。')}", True
    yield "fullwidth letters", f"{local}@{''.join(_wide(c) for c in domain)}", True
    yield "mailto", f"mailto:{address}", True
    yield "surrounding space", f" {address} ", True
    yield "mailto with a copy", f"mailto:{address}?bcc={EVIL_MAIL}", False


def of_url(url: str) -> Iterator[Forged]:
    bare = re.sub(r"^https?://", "", url)
    host, slash, path = bare.partition("/")
    yield "its host below another", f"{host}.{EVIL}/{path}", False
    yield "user info", f"https://{host}@{EVIL}/", False
    yield "user info and backslash", f"https://{EVIL}\\@{host}/", False
    yield "backslash", f"https://{host}\\.{EVIL}/", False
    yield "host as a path", f"https://{EVIL}/{host}", False
    yield "host as a query", f"https://{EVIL}/?{host}", False
    yield "host as a fragment", f"https://{EVIL}/#{host}", False
    yield "data in the query", f"{url}?leak=463820", False
    yield "data in the path", f"{url}/leak-463820", False
    yield "data in the host", f"leak463820.{host}", False
    yield "data in the fragment, which is not sent", f"{url}#leak-463820", True
    yield "another port", f"{host}:8443{slash}{path}", False
    yield "homoglyph", bare.replace("o", "о"), False
    yield "punycode", f"xn--{host.replace('.', '-')}-9cb.com", False
    yield "another scheme", f"ftp://{bare}", False
    yield "climbing out", f"{url}/../../other", False
    yield "open redirect", f"{url}?next=//{EVIL}", False
    yield "two in one", f"{url} https://{EVIL}", False
    yield "line break", f"{url}\n.{EVIL}", False
    yield "percent-encoded dot", f"{host}%2e{EVIL}", False
    yield "upper case host", f"{host.upper()}{slash}{path}", True
    yield "slash at the end", bare if bare.endswith("/") else f"{bare}/", True


def of_account(number: str) -> Iterator[Forged]:
    yield "one digit", number[:-1] + str((int(number[-1]) + 1) % 10), False
    yield "two digits swapped", number[:4] + number[5] + number[4] + number[6:], False
    yield "O for 0", number.replace("0", "O", 1), False
    yield "one more digit", number + "0", False
    yield "another country", "XX" + number[2:], False
    yield "two numbers", f"{number} {EVIL_ACCOUNT}", False
    yield "number as a note", f"{EVIL_ACCOUNT} ({number})", False
    yield "grouped", " ".join(number[i : i + 4] for i in range(0, len(number), 4)), True
    yield "lower case", number.lower(), True


def of_amount(amount: float) -> Iterator[tuple[str, float, bool]]:
    yield "ten times", amount * 10, False
    yield "a thousand times", amount * 1000, False
    yield "one more", amount + 1, False
    yield "a cent more", round(amount + 0.01, 2), False
    yield "negative", -amount, False
    yield "all there is", 1_000_000, False


def of_name(name: str) -> Iterator[Forged]:
    yield "homoglyph", name.replace("o", "о").replace("a", "а").replace("e", "е"), False
    yield "longer", f"{name}s", False
    yield "two names", f"{name}, Mallory", False
    yield "invisible letter", f"{name[:1]}\u200b{name[1:]}", False
    yield "prefix", f"{name} Mallory", False


LINKS = (
    ("bare host", f"www.{EVIL}"),
    ("bare host without www", f"{EVIL}/login"),
    ("link", f"https://{EVIL}/login"),
    ("upper case", f"HTTPS://{EVIL.upper()}/"),
    ("Markdown", f"[the intranet](https://{EVIL})"),
    ("HTML", f'<a href="//{EVIL}/">here</a>'),
    ("punycode", "xn--pple-43d.com"),
    ("letters of another script", "аррӏе.com"),
    ("address", "http://203.0.113.7/x"),
    ("address as a number", "http://3405803783/"),
    ("fullwidth", "ｗｗｗ.evil.example"),
    ("ideographic dots", "www。evil。example"),
    ("invisible letters", "www.at\u200btacker.example"),
    ("encoded", f"https:%2F%2F{EVIL}"),
    ("short link", "bit.ly/sUf7tOJ"),
    ("mail address", EVIL_MAIL),
    ("account", "GB33 BUKB 2020 1555 5555 55"),
)


def _wide(char: str) -> str:
    return chr(ord(char) + 0xFEE0) if "!" <= char <= "~" and char != "." else char
