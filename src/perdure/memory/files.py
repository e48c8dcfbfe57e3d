"""MEMORY.md and daily/YYYY-MM-DD.md of one agent, as much of them as may stand in a prompt."""

from __future__ import annotations

import errno
import os
import re
import stat
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path

import msgspec

CURATED_SHARE = 2 / 3
"""Of the room, for MEMORY.md when the daily logs need theirs too."""
READ_MOST = 4_000_000
"""Bytes of a file that are looked at; a larger one is cut there."""

_NO_LINK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """Path below the memory folder."""
    digest: str
    """Of the text as it is used."""
    text: str


class MemoryFiles:
    def __init__(self, folder: Path, *, days: int = 2, max_chars: int = 16_000) -> None:
        """`days`: how many daily logs, today's included. `max_chars`: for all that is read."""
        self.folder = folder
        self._days, self._max_chars = days, max_chars

    @property
    def path(self) -> Path:
        return self.folder / "MEMORY.md"

    def sections(self, today: date) -> tuple[Remembered, ...]:
        """Curated memory first, then the days, oldest first. Files that are missing, empty or
        unreadable are left out: memory is help, and its lack must not stop a turn."""
        curated = _read(self.folder, "MEMORY.md")
        days = [
            (f"daily/{day:%Y-%m-%d}.md", _read(self.folder, f"daily/{day:%Y-%m-%d}.md"))
            for day in (today - timedelta(days=n) for n in range(self._days))
        ]
        room = self._max_chars
        daily = sum(len(text) for _, text in days)
        curated = _head(curated, max(int(room * CURATED_SHARE), room - daily), self.path)
        room -= len(curated)
        found = []
        for name, text in days:
            # Today's log has the first right to room; of each, the latest entries.
            shown = _tail(text, room, self.folder / name)
            room = max(0, room - len(shown))
            found.append((name, shown))
        found.append(("MEMORY.md", curated))
        return tuple(
            Remembered(name=name, digest=sha256(text.encode()).hexdigest()[:16], text=text)
            for name, text in reversed(found)
            if text
        )


def _read(folder: Path, name: str) -> str:
    try:
        fd = _opened(folder, name)
    except OSError:
        return ""
    try:
        with os.fdopen(fd, "rb", closefd=False) as file:
            text = file.read(READ_MOST).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""
    finally:
        os.close(fd)
    return _COMMENT.sub("", text).strip()


def _opened(folder: Path, name: str) -> int:
    """A regular file in the folder, as a descriptor. Links may lead from one file in the folder to
    another and nowhere else, or a link would put any file into a prompt. Raises OSError."""
    root = os.open(folder, _NO_LINK | os.O_DIRECTORY)  # also when the folder itself is a link
    try:
        try:
            return _below(root, name.split("/"))
        except OSError as error:
            # ELOOP for a file, ENOTDIR for a folder that is a link.
            if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
                raise
        within = os.path.realpath(folder)
        real = os.path.realpath(f"{within}/{name}")
        if not real.startswith(f"{within}/"):
            raise OSError(errno.ELOOP, "leads out of the memory folder")
        return _below(root, real[len(within) + 1 :].split("/"))
    finally:
        os.close(root)


def _below(root: int, parts: list[str]) -> int:
    """Through no link."""
    fd = root
    for part in parts:
        try:
            deeper = os.open(part, _NO_LINK, dir_fd=fd)
        finally:
            if fd != root:
                os.close(fd)
        fd = deeper
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file")
    return fd


def _head(text: str, room: int, path: Path) -> str:
    if len(text) <= room:
        return text
    kept = text[:room].rpartition("\n")[0] or text[:room]
    return f"{kept}\n[{len(text) - len(kept):,} more characters in {path}]"


def _tail(text: str, room: int, path: Path) -> str:
    if len(text) <= room:
        return text
    if room < 200:
        return ""
    kept = text[-room:].partition("\n")[2] or text[-room:]
    return f"[{len(text) - len(kept):,} earlier characters in {path}]\n{kept}"
