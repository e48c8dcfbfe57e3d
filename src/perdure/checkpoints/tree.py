"""How a folder is written down: a list of its entries, itself an object named after its content. So a
subfolder that did not change is the same object in every checkpoint, and two folders that are equal are
known to be from their names."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from .records import Why


class File(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="file"):
    name: str
    mode: int
    """Permission bits."""
    size: int
    content: str
    """Name of the object that holds it."""


class Link(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="link"):
    name: str
    target: str


class Folder(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="folder"):
    name: str
    mode: int
    tree: str
    """Name of the object that lists it."""


class Left(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="left"):
    """It was there and was not taken. Without these a restore could not tell what was made since."""

    name: str
    why: Why


Entry = File | Link | Folder | Left
Load = Callable[[str], dict[str, Entry]]
"""The entries of a listed folder by name. Raises StorageError when its object is missing or damaged."""

_decoder = msgspec.json.Decoder(list[Entry])
_encoder = msgspec.json.Encoder()


def encode(entries: list[Entry]) -> bytes:
    """`entries` sorted by name."""
    return _encoder.encode(entries)


def decode(data: bytes) -> dict[str, Entry]:
    """Raises msgspec.DecodeError."""
    return {entry.name: entry for entry in _decoder.decode(data)}


def to_text(name: str) -> str:
    """A file name as text that can be encoded: a byte that is not UTF-8 becomes NUL and two hex digits,
    and no file name has a NUL."""
    if name.isascii() or not any("\udc80" <= c <= "\udcff" for c in name):
        return name
    return "".join(f"\0{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else c for c in name)


def to_name(text: str) -> str:
    """The file name that `to_text` was given."""
    if "\0" not in text:
        return text
    first, *rest = text.split("\0")
    return first + "".join(chr(0xDC00 + int(part[:2], 16)) + part[2:] for part in rest)


def shown(text: str) -> str:
    """For a person."""
    return text.replace("\0", "\\x")
