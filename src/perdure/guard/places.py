"""Which paths are whose: the owner's work, the runtime's control files, and secrets."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CONTROL = ".perdure"

Zone = Literal["inside", "outside", "control", "secret"]
"""`inside`: the workdir, the workspace, the agent's memory. `control`: the runtime's own files, which
decide what agents may do and keep what happened; readable in part, never writable. `secret`: neither."""

READABLE_CONTROL = frozenset(
    ("agents", "hooks", "tools", "policy.yaml", "policy.local.yaml", "skills")
)
"""What a tool may read below `.perdure` without asking; the rest holds other sessions' contents."""

_PROCESS = re.compile(r"/proc/(self|thread-self|\d+)(/|\Z)")
"""Other processes' environments and memory, our own among them, with the keys they hold."""

SECRET = frozenset(("run", "secrets.age"))


@dataclass(frozen=True, kw_only=True)
class Places:
    workspace: Path
    """Folder of perdure.yaml."""
    workdir: Path
    agent: str

    @functools.cached_property
    def home(self) -> Path:
        """The working directory, its links resolved once: swapping one later moves nothing."""
        return Path(_real(self.workdir))

    @functools.cached_property
    def _roots(self) -> tuple[str, ...]:
        return tuple({str(self.home), _real(self.workspace)})

    @functools.cached_property
    def _control(self) -> str:
        return _real(self.workspace / CONTROL)

    @functools.cached_property
    def _memory(self) -> str:
        return _real(self.workspace / CONTROL / "agents" / self.agent / "memory")

    @functools.cached_property
    def _credentials(self) -> str:
        base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
        if not base.is_absolute():  # then it counts as none
            base = Path("~/.config").expanduser()
        return _real(base / "perdure")

    @functools.cached_property
    def _control_identity(self) -> tuple[int, int] | None:
        return _identity(self._control)

    def zone(self, path: Path, *, write: bool) -> Zone:
        """Where a resolved path lies."""
        text = os.fspath(path)
        if _below(text, self._credentials):
            return "secret"
        if _below(text, self._memory):
            return "inside"
        if (rest := self._in_control(text)) is not None:
            first = rest.split("/", 1)[0]
            if first in SECRET or first.startswith("secrets"):
                return "secret"
            return "control" if write or (rest and first not in READABLE_CONTROL) else "inside"
        if write and (path.name == "perdure.yaml" or CONTROL in path.parts):
            return "control"  # of any workspace, one that does not exist yet included
        if _PROCESS.match(text):
            return "secret"
        return "inside" if any(_below(text, root) for root in self._roots) else "outside"

    def _in_control(self, text: str) -> str | None:
        """The part of a path below `.perdure`; None if it is not below it."""
        if _below(text, self._control):
            return text[len(self._control) + 1 :]
        # Another name for the same folder: a bind mount, or other case where names ignore it.
        wanted = self._control_identity
        if wanted is None:
            return None
        at, rest = text, ""
        while at not in ("/", ""):
            if (found := _identity(at)) is not None and found == wanted:
                return rest
            at, _, name = at.rpartition("/")
            rest = f"{name}/{rest}" if rest else name
        return None


def _real(path: Path) -> str:
    return os.path.realpath(path)


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root if root.endswith("/") else root + "/")


def _identity(path: str) -> tuple[int, int] | None:
    try:
        seen = os.stat(path)  # noqa: PTH116  # on the way of every call that touches a path
    except OSError:
        return None
    return seen.st_dev, seen.st_ino
