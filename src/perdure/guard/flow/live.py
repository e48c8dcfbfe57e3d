"""What in a text is a destination for whoever reads it: links, addresses, account numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .fold import fold
from .words import accounts_in, addresses_in, urls_in

MOST = 200_000
"""Characters that are looked at; beyond, the text as a whole is a thing nobody has vouched for."""

_DEFANGED = re.compile(r"\s?[\[({]\s?(?:\.|dot|punkt)\s?[\])}]\s?")
_HXXP = re.compile(r"\bh(?:xx|tt|\*\*)p(s?)\s?(?::|\[:\])\s?//")
_RELATIVE = re.compile(r"(?<![:\w/])//(?=[\w-]+\.)")
_AT = re.compile(r"\s?[\[({]\s?(?:@|at)\s?[\])}]\s?")
_BRACKET = re.compile(r"[\[({]\s?(?:\.|dot|punkt|@|at)\s?[\])}]")
_DIGITS = re.compile(r"\d[ \-\d]{2}")
_CARD = re.compile(r"(?<![\w-])\d{4}(?:[ -]?\d{4}){2}[ -]?\d{1,7}(?![\w-])")
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}\Z")


def live(text: str) -> Iterator[tuple[str, str]]:
    """Kind and value of each. Encodings and ways of hiding a link from filters are undone first."""
    if len(text) > MOST:
        yield "text", f"{text[:60]}… ({len(text):,} characters)"
        text = text[:MOST]
    if "&" in text:
        from html import unescape  # with a table of two thousand names

        text = unescape(text)
    plain = fold(text).replace("。", ".")
    if "//" in plain:
        plain = _RELATIVE.sub("http://", _HXXP.sub(r"http\1://", plain))
    if _BRACKET.search(plain):
        plain = _AT.sub("@", _DEFANGED.sub(".", plain))
    seen = set()
    for found in urls_in(plain):
        if found in seen or found.startswith("secret://"):  # a secret's name leads nowhere
            continue
        seen.add(found)
        yield "url", found
    for found in addresses_in(plain):
        yield "recipient", found
    if not _DIGITS.search(text):
        return
    for known in accounts_in(text) | accounts_in(text.upper()):
        if _IBAN.match(known):
            yield "account", known
    for card in _CARD.finditer(text):
        yield "account", re.sub(r"[ -]", "", card[0])
