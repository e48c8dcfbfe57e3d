"""AGENTS.md: what a working directory wants any agent to know (the convention of agents.md).

Read from the working directory and, inside a Git repository, from the folders above it up to the
repository's root; nearer files come later and so have the last word.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

NAME = "AGENTS.md"
MAX_BYTES = 32_768
"""For all of them together; the nearest files come first in the right to room."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectNote:
    name: str
    digest: str
    text: str


def project_files(workdir: Path) -> list[Path]:
    """Outermost first. Empty when there are none."""
    folders = [workdir]
    for folder in (workdir, *workdir.parents):
        if (folder / ".git").exists():
            folders = [p for p in (*reversed(workdir.parents), workdir) if p.is_relative_to(folder)]
            break
    return [path for f in folders if (path := f / NAME).is_file()]


def project_stamp(workdir: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes when a note does."""
    stamps = []
    for path in project_files(workdir):
        try:
            stat = path.stat()
        except OSError:
            continue
        stamps.append((str(path), stat.st_mtime_ns, stat.st_size))
    return tuple(stamps)


def project_notes(workdir: Path) -> list[ProjectNote]:
    notes, room = [], MAX_BYTES
    for path in reversed(project_files(workdir)):
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
