"""Long texts in pieces that a model can take: head and tail of an output, windows of a file.

Nothing here holds more than a piece in memory, however large the file or its lines are.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import msgspec

CHUNK = 1 << 18
LINE_CHARS = 2_000
"""A longer line is cut when shown."""
COUNT_LIMIT = 256 << 20
"""Bytes of a file that are read through to tell its number of lines."""


def page_hint(artifact: str) -> str:
    return f"read path=artifact:{artifact} offset=LINE limit=LINES"


def excerpt(text: str, limit: int, artifact: str) -> str:
    """Head and tail of a text within about `limit` characters, and how to get at the rest."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit * 2 // 5], text[len(text) - limit * 3 // 5 :]
    return join_cut(head, tail, text.count("\n") + 1, len(text), artifact)


def join_cut(head: str, tail: str, lines: int, size: int, artifact: str) -> str:
    """Cut head and tail at line ends where that loses little, and say what lies between."""
    end = head.rfind("\n")
    if end >= len(head) // 2:
        head = head[: end + 1]
    start = tail.find("\n")
    if 0 <= start < len(tail) // 2:
        tail = tail[start + 1 :]
    first, last = head.count("\n"), tail.rstrip("\n").count("\n") + 1
    left = max(0, lines - first - last)
    what = f"{left:,} lines left out" if left else "the middle left out"
    gap = "" if head.endswith("\n") else "\n"
    return (
        f"{head}{gap}[… {what}; the whole, {lines:,} lines, {size:,} bytes: "
        f"{page_hint(artifact)} …]\n{tail}"
    )


def ends(path: Path, size: int, limit: int) -> tuple[bytes, bytes | None]:
    """Head and tail of a file, about `limit` bytes together; tail None: the head is the whole."""
    with path.open("rb") as file:
        if size <= limit:
            return file.read(limit), None
        head = file.read(limit * 2 // 5)
        file.seek(size - limit * 3 // 5)
        return head, file.read(limit * 3 // 5)


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Some lines of a file, as bytes without their line ends, long ones cut."""

    lines: list[bytes]
    first: int
    """Number of the first one, from 1."""
    total: int | None
    """Lines of the whole file; None when it is too large to count."""
    more: bool
    """There are lines after these."""


def window(file: BinaryIO, offset: int, limit: int, max_bytes: int) -> Window:
    """`limit` lines from line `offset` on, as far as they fit into `max_bytes` (one always does)."""
    keep = LINE_CHARS * 4  # bytes of one line that are kept: enough for its characters in UTF-8
    lines: list[bytes] = []
    number, used, more, read, full = 1, 0, False, 0, False
    current = bytearray()
    last_byte = b"\n"
    while chunk := file.read(CHUNK):
        read += len(chunk)
        last_byte = chunk[-1:]
        if full or (number < offset and number + chunk.count(b"\n") < offset):
            number += chunk.count(b"\n")
            if full and read > COUNT_LIMIT:
                return Window(lines=lines, first=offset, total=None, more=True)
            continue
        position = 0
        while not full and position < len(chunk):
            end = chunk.find(b"\n", position)
            stop = len(chunk) if end < 0 else end
            if number >= offset and len(current) < keep:
                current += chunk[position : min(stop, position + keep - len(current))]
            if end < 0:
                position = len(chunk)
                break
            position = end + 1
            if number >= offset:
                used += len(current) + 8
                if lines and used > max_bytes:
                    full, more = True, True
                else:
                    lines.append(bytes(current))
                    full = len(lines) >= limit
                current.clear()
            number += 1
        if full:
            number += chunk.count(b"\n", position)
    total = number if last_byte != b"\n" else number - 1
    if not full and last_byte != b"\n" and number >= offset:
        lines.append(bytes(current))
    return Window(
        lines=lines, first=offset, total=total, more=more or offset + len(lines) - 1 < total
    )
