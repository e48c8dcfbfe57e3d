"""Bytes from the web as text."""

from __future__ import annotations

import codecs
import re

_KNOWN = re.compile(
    r"utf-?8|utf-?(?:16|32)(?:-?[lb]e)?|us-ascii|ascii|latin-?1|iso-?8859-?\d{1,2}|(?:windows|cp)-?\d{3,4}"
    r"|koi8-[ru]|gb2312|gbk|gb18030|big5(?:-hkscs)?|euc-?(?:jp|kr|cn)|shift[_-]?jis|sjis|iso-2022-(?:jp|kr)"
    r"|tis-620|macintosh|mac-?roman",
    re.IGNORECASE,
)
"""Python's other codecs unpack archives, or read things into a text that no browser would."""
_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_-]{1,40})", re.IGNORECASE)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
"""What a person does not see and a model reads all the same. Joiners stay: scripts and emoji need them."""


def decode(data: bytes, charset: str = "", *, html: bool = False) -> str:
    """By its mark, by what the server says, by what the page says, else UTF-8 or what it is likeliest."""
    for mark, codec in _MARKS:
        if data.startswith(mark):
            return visible(data[len(mark) :].decode(codec, "replace"))
    names = [charset]
    if html and (match := _META.search(data[:4096])):
        names.append(match[1].decode())
    for name in names:
        if _KNOWN.fullmatch(name):
            # Browsers read Latin-1 as what it is confused with.
            wide = re.fullmatch(r"(?:us-)?ascii|latin-?1|iso-?8859-?1", name, re.IGNORECASE)
            try:
                return visible(data.decode("cp1252" if wide else name, "replace"))
            except LookupError:
                continue
    try:
        return visible(data.decode("utf-8"))
    except UnicodeDecodeError:
        return visible(data.decode("cp1252", "replace"))


def visible(text: str) -> str:
    return _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
