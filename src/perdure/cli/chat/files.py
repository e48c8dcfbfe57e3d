"""Files named with @ in a message: images are sent along, everything else is left to the agent, which
reads what it needs; and their completion while typing."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from pathlib import Path

from perdure.kernel.errors import InvalidInput

IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
MAX_IMAGE = 8_000_000
"""Bytes of one image: with base64 it must fit into the 16 MB that the server takes."""
MAX_MESSAGE = 15_000_000
"""Bytes of a whole message."""
MAX_CHOICES = 50
_NAMED = re.compile(r"(?<!\S)@(?:\"([^\"]+)\"|(\S+))")
_QUOTED = re.compile(r"(?<!\S)@\"([^\"]*)\Z")
_PLAIN = re.compile(r"(?<!\S)@([^\s\"]\S*|)\Z")
_ODD = re.compile(r"\s|[.,;:!?)]\Z")
"""What only stands in quotes: without, the name would end before it."""
_UNNAMED = re.compile(r"[\x00-\x1f\x7f\"\ud800-\udfff]")
"""What a message cannot name."""


def message_parts(text: str, workdir: str) -> list[dict[str, str]]:
    """The message as the server takes it. Raises InvalidInput when it is too large, OSError when an
    image cannot be read."""
    text = text.encode("utf-8", "replace").decode()
    parts = [{"type": "text", "text": text}]
    for found in _NAMED.finditer(text):
        name = found[1] or found[2].rstrip(".,;:!?)")
        path = Path(workdir, Path(name).expanduser())
        kind = IMAGES.get(path.suffix.lower())
        if kind is None or not path.is_file():
            continue
        if path.stat().st_size > MAX_IMAGE:
            raise InvalidInput(
                f"{name} is larger than {MAX_IMAGE // 1_000_000} MB", hint="Send a smaller image."
            )
        data = base64.b64encode(path.read_bytes()).decode()
        parts.append({"type": "image", "media_type": kind, "data": data})
    size = sum(len(part.get("text", "").encode()) + len(part.get("data", "")) for part in parts)
    if size > MAX_MESSAGE:
        raise InvalidInput(
            f"the message is too large ({size / 1_000_000:.0f} MB)",
            hint="Put it in a file and name it: @file",
        )
    return parts


def words(before: str) -> list[tuple[str, bool]]:
    """What is being written after an @ at the end of `before`, and whether in quotes: what was meant
    first, of several readings."""
    line = before.rpartition("\n")[2]
    found: list[tuple[str, bool]] = []
    if quoted := _QUOTED.search(line):
        found.append((quoted[1], True))
    if plain := _PLAIN.search(line):
        found.append((plain[1], False))
    return found


def written(path: str, *, quoted: bool = False, closed: bool = True) -> str:
    """How a path is named in a message, for as long as it is a folder so that one can go on below it."""
    if not quoted and not _ODD.search(path):
        return f"@{path}"
    return f'@"{path}' + ('"' if closed and not path.endswith("/") else "")


def complete(word: str, workdir: str) -> Iterator[str]:
    """Paths that begin with `word` (without its @), folders ending in a slash. Hidden ones only when
    the word asks for them."""
    if word in ("~", ".."):
        yield f"{word}/"
        return
    folder, slash, start = word.rpartition("/")
    try:
        base = Path(workdir, Path(folder + slash).expanduser()) if slash else Path(workdir)
        with os.scandir(base) as entries:
            names = [
                entry.name + ("/" if _is_folder(entry) else "")
                for entry in entries
                if entry.name.lower().startswith(start.lower())
                and (start.startswith(".") or not entry.name.startswith("."))
                and not _UNNAMED.search(entry.name)
            ]
    except (OSError, RuntimeError, ValueError):  # not there, no such user, a NUL
        return
    for name in sorted(names, key=str.lower)[:MAX_CHOICES]:
        yield folder + slash + name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in circles
        return False
