"""A text file's encoding and line ends: found when it is read, kept when it is written."""

from __future__ import annotations

import codecs

import msgspec

SNIFF = 8192
"""Bytes at the start that are looked at to tell text from binary."""

_MARKS: tuple[tuple[bytes, str], ...] = (
    # UTF-32 first: its little-endian mark begins with UTF-16's.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class NotText(ValueError):
    """The bytes are no text in an encoding known here."""


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How a text is written in its file."""

    codec: str = "utf-8"
    mark: bytes = b""
    """Byte order mark."""
    newline: str = "\n"
    """What most of its lines end with."""

    def encode(self, text: str) -> bytes:
        """Raises UnicodeEncodeError when the file's encoding lacks a character."""
        return self.mark + text.encode(self.codec)

    @property
    def name(self) -> str:
        return f"{self.codec} with byte order mark" if self.mark else self.codec


def mark_of(head: bytes) -> tuple[bytes, str]:
    """Byte order mark and codec; (b"", "") without one."""
    for mark, codec in _MARKS:
        if head.startswith(mark):
            return mark, codec
    return b"", ""


def looks_binary(head: bytes) -> bool:
    return b"\0" in head[:SNIFF] and not mark_of(head)[1].startswith(("utf-16", "utf-32"))


def decode(data: bytes) -> tuple[str, Form]:
    """Text and form; encoding the text in that form gives the same bytes. Raises NotText.

    Without a mark it is UTF-8, or else Latin-1, in which every byte stands for one character, so that
    a file in an unknown 8-bit encoding survives an edit to the byte.
    """
    if looks_binary(data):
        raise NotText("it contains NUL bytes")
    mark, codec = mark_of(data)
    body = data[len(mark) :]
    try:
        text = body.decode(codec or "utf-8")
    except UnicodeDecodeError as error:
        if codec:
            raise NotText(
                f"it is not valid {codec}: {error.reason} at byte {error.start}"
            ) from None
        codec, text = "latin-1", body.decode("latin-1")
    return text, Form(codec=codec or "utf-8", mark=mark, newline=_newline(text))


def _newline(text: str) -> str:
    crlf = text.count("\r\n")
    return "\r\n" if crlf and crlf * 2 > text.count("\n") else "\n"


def uniform_crlf(text: str) -> bool:
    crlf = text.count("\r\n")
    return crlf > 0 and crlf == text.count("\n")


def storable(text: str) -> str:
    """Without lone surrogates, which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
