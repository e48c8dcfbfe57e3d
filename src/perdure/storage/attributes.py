"""A file's label as an extended attribute of the file itself, which goes where the file goes."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import msgspec

from perdure.kernel.labels import SELF, Label

LABEL = "user.perdure.label"
ORIGIN = "user.xdg.origin.url"
"""Where a browser says a download came from."""
UNREADABLE = Label(origins=("file:its label cannot be read",))
HOST_CHARS = 100

SUPPORTED = hasattr(os, "setxattr")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Label).decode


def read(path: str | int) -> Label | None:
    """What the file itself says, by its path or open; None: nothing. Never less than what it says can be
    told."""
    if not SUPPORTED:
        return None
    follow = isinstance(path, int)
    try:
        names = os.listxattr(path, follow_symlinks=follow)
    except OSError:  # no such file, or a file system without attributes
        return None
    if not names:
        return None
    found = None
    if LABEL in names:
        try:
            found = _decode(os.getxattr(path, LABEL, follow_symlinks=follow))
        except (OSError, msgspec.DecodeError):
            found = UNREADABLE
    if ORIGIN in names:
        downloaded = _downloaded(path)
        found = found.join(downloaded) if found else downloaded
    return found


def write(path: str, label: Label) -> bool:
    """False where the file system keeps none."""
    if not SUPPORTED:
        return False
    try:
        os.setxattr(path, LABEL, _encode(label), follow_symlinks=False)
    except OSError:
        return False
    return True


def remove(path: str) -> None:
    """What the owner takes back includes where a browser got it from. Raises OSError where it cannot be."""
    if not SUPPORTED:
        return
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return
    for name in (LABEL, ORIGIN):
        if name in names:
            os.removexattr(path, name, follow_symlinks=False)


def _downloaded(path: str | int) -> Label:
    try:
        url = os.getxattr(path, ORIGIN, follow_symlinks=isinstance(path, int)).decode(
            "utf-8", "replace"
        )
        host = urlsplit(url.strip()).hostname or ""
    except (OSError, ValueError):
        host = ""
    if not host.isprintable():
        host = ""
    return Label(
        trust="third_party", secrecy=SELF.secrecy, origins=(f"web:{host[:HOST_CHARS]}".rstrip(":"),)
    )
