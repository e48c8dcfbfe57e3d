"""AGENTS.md: what a working directory wants any agent to know (the convention of agents.md).

Read from the working directory and, inside a Git repository, from the folders above it up to the
repository's root; nearer files come later and so have the last word.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import msgspec

NAME = "AGENTS.md"
MAX_BYTES = 32_768
"""For all of them together; the nearest files come first in the right to room."""


class ProjectNote(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    digest: str
    text: str


def project_files(workdir: str) -> list[str]:
    """Outermost first. Empty when there are none. As text: looked for at the start of every turn."""
    folders = [workdir.rstrip("/") or "/"]
    while (above := os.path.dirname(folders[-1])) != folders[-1]:  # noqa: PTH120
        folders.append(above)
    repository = (n for n, f in enumerate(folders) if os.path.exists(_within(f, ".git")))  # noqa: PTH110
    folders = folders[: next(repository, 0) + 1]
    return [path for f in reversed(folders) if os.path.isfile(path := _within(f, NAME))]  # noqa: PTH113


def _within(folder: str, name: str) -> str:
    return f"{folder}{name}" if folder.endswith("/") else f"{folder}/{name}"


def project_stamp(files: list[str]) -> tuple[tuple[str, int, int], ...]:
    """Changes when a note does. `files`: as found."""
    stamps = []
    for path in files:
        try:
            stat = os.stat(path)  # noqa: PTH116
        except OSError:
            continue
        stamps.append((path, stat.st_mtime_ns, stat.st_size))
    return tuple(stamps)


def project_notes(workdir: Path) -> list[ProjectNote]:
    notes, room = [], MAX_BYTES
    for path in map(Path, reversed(project_files(str(workdir)))):
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError:
            continue
        text = data[:room].decode(errors="replace")
        if len(data) > room:
            text += f"\n[cut; read {path} for the rest]"
        room = max(0, room - len(data))
        if text.strip():
            notes.append(
                ProjectNote(name=str(path), digest=sha256(data).hexdigest()[:16], text=text)
            )
    return notes[::-1]
