"""Path arguments: resolved once, when the call is prepared, so that what was judged is what is used."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import PrivateAttr

from .base import Tool, Touch, resolve
from .taming import tame

ARTIFACT = "artifact:"
PATH_CHARS = 1_024
"""Of a path in what people and models read."""


class PathTool(Tool):
    """A tool that works on the one file its `path` names."""

    path: str
    _target: Path | None = PrivateAttr(default=None)

    def target(self, workdir: Path) -> Path:
        """The file itself. Invariant: links are resolved once; opening it later follows none, so a
        link swapped in after the call was judged is refused."""
        if self._target is None:
            self._target = resolve(self.path, workdir)
        return self._target

    def touches(self, workdir: Path) -> Sequence[Touch]:
        return (Touch(path=self.target(workdir), write=not self.only_reads()),)


def shown(path: Path, workdir: Path) -> str:
    """How a path is named to people and models: relative where it lies below the workdir."""
    try:
        name = str(path.relative_to(workdir)) or "."
    except ValueError:
        name = str(path)
    return tame(name, PATH_CHARS)


def missing(path: Path, workdir: Path) -> str:
    """What to say of a path that is not there, with the nearest names that are."""
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    near: list[str] = []
    try:
        names = [entry.name for _, entry in zip(range(5_000), os.scandir(folder), strict=False)]
    except OSError:
        names = []
    if folder == path.parent:
        lower = {n.lower(): n for n in names}
        found = difflib.get_close_matches(path.name.lower(), lower, 3, cutoff=0.6)
        near = [shown(folder / lower[n], workdir) for n in found]
    text = f"There is no {shown(path, workdir)}."
    if folder != path.parent:
        text += f" The folder {shown(path.parent, workdir)} is missing too."
    return text + (f" Did you mean {', '.join(near)}?" if near else "")
