"""Where a workspace is: the folder of the nearest perdure.yaml, else $PERDURE_HOME, else ~/perdure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.kernel.errors import ConfigError, NotFound

if TYPE_CHECKING:
    from .config import WorkspaceFile

FILE = "perdure.yaml"
PRIVATE = ".perdure"


Stamp = tuple[int, int, int, int]
"""Inode, times of change of content and of anything, size."""


class Refused(ConfigError):
    """A workspace that may be of somebody else's making: opening it runs the hooks and tools in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workspace:
    root: Path
    """Folder of perdure.yaml; absolute."""
    config: WorkspaceFile
    env: Mapping[str, str] = field(repr=False)
    """What `${NAME}` in its files is read from."""
    seen: Stamp | None = field(default=None, repr=False, compare=False)
    """Of its file, before it was read."""
    blank: bool = False
    """There is nothing in its file, not even a comment."""

    @property
    def private(self) -> Path:
        return self.root / PRIVATE

    @property
    def agents(self) -> Path:
        return self.private / "agents"

    @property
    def file(self) -> Path:
        return self.root / FILE


def home_folder(env: Mapping[str, str]) -> Path:
    """Where a workspace is made, and looked for, when the current folder is in none."""
    if home := env.get("PERDURE_HOME"):
        return Path(home).expanduser().absolute()
    return Path(env.get("HOME") or Path.home()) / "perdure"


def find_workspace(
    start: Path, env: Mapping[str, str] | None = None, *, uid: int | None = None
) -> Workspace | None:
    """None when there is none anywhere. Raises ConfigError when the one found cannot be used.

    A perdure.yaml above `start` that belongs to another user is refused: opening a workspace runs the
    hooks and tools in it. So is one within another workspace. `uid` is the present user's by default."""
    env = os.environ if env is None else env
    for folder in (start.absolute(), *start.absolute().parents):
        file = folder / FILE
        if file.is_file():
            owner = file.stat().st_uid
            if owner not in (os.getuid() if uid is None else uid, 0, int(env.get("SUDO_UID", -1))):
                raise Refused(
                    "belongs to another user; opening it would run that user's hooks and tools",
                    file=str(file),
                    hint=f"If you trust it, name it: --workspace {folder}",
                )
            outer = next((f for f in folder.parents if (f / FILE).is_file()), None)
            if outer is not None:
                raise Refused(
                    f"lies within another workspace, {outer}: a command of an agent's can have made it, "
                    "and opening it would run the hooks and tools in it",
                    file=str(file),
                    hint=f"If you made it, name it: --workspace {folder}",
                )
            return open_workspace(folder, env)
    home = home_folder(env)
    return open_workspace(home, env) if (home / FILE).is_file() else None


def open_workspace(root: Path, env: Mapping[str, str] | None = None) -> Workspace:
    """Raises NotFound when there is no perdure.yaml, ConfigError when it is wrong."""
    from .check import check
    from .config import WorkspaceFile
    from .document import read_document

    env = os.environ if env is None else env
    root = root.absolute()
    file = root / FILE
    if not file.is_file():
        was = (root / PRIVATE).is_dir()
        raise NotFound(
            f"{file} is gone" if was else f"{root} is no workspace: it has no {FILE}",
            hint="Put it back." if was else "Make one: perdure init",
        )
    seen = stamp_of_file(os.fspath(file))
    document = read_document(file, env)
    config = check(document, WorkspaceFile)
    return Workspace(root=root, config=config, env=env, seen=seen, blank=document.blank)


def stamp_of_file(path: str) -> Stamp | None:
    """None: there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  # before each step of every session
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
