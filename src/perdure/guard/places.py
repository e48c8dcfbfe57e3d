"""Which paths are whose: the owner's work, the runtime's control files, and secrets."""

from __future__ import annotations

import functools
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from perdure.files import read_regular

from .named import files_named

CONTROL = ".perdure"
CONFIG = "perdure.yaml"

Zone = Literal["inside", "outside", "control", "secret"]
"""`inside`: the workdir, the workspace, the agent's memory. `control`: the runtime's own files, which
decide what agents may do and keep what happened; readable in part, never writable. `secret`: neither."""

READABLE_CONTROL = frozenset(
    ("agents", "hooks", "tools", "policy.yaml", "policy.local.yaml", "skills")
)
"""What a tool may read below `.perdure` without asking; the rest holds other sessions' contents."""

_PROCESS = re.compile(r"/proc/(self|thread-self|\d+)(/|\Z)")
"""Other processes' environments and memory, our own among them, with the keys they hold."""

MAX_CONFIG = 256 << 10
"""Bytes of a perdure.yaml that are looked at for a token; a larger one counts as holding one."""
_VARIABLE = re.compile(r"\$\{[A-Za-z_]\w*(:-)?\}")


@dataclass(frozen=True, kw_only=True)
class Places:
    workspace: Path
    """Folder of perdure.yaml."""
    workdir: Path
    agent: str
    commands: Callable[[], Sequence[str]] = tuple
    """Shell commands that the runtime itself runs in the workspace, hooks above all. The files they name
    are control files."""

    @functools.cached_property
    def home(self) -> Path:
        """The working directory, its links resolved once: swapping one later moves nothing."""
        return Path(_real(self.workdir))

    @functools.cached_property
    def root(self) -> Path:
        """The workspace, resolved once."""
        return Path(_real(self.workspace))

    @functools.cached_property
    def _roots(self) -> tuple[str, ...]:
        return tuple({str(self.home), str(self.root)})

    @functools.cached_property
    def _control(self) -> str:
        return _real(self.workspace / CONTROL)

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
        own = self._in_control(text)
        folders = [own] if own is not None else []
        folders += self._in_any_control(text if own is None else own)
        if self._secret(path, text, folders):
            return "secret"
        if write and (path.name.casefold() == CONFIG or self._run_by_us(text)):
            return "control"
        # Links below `.perdure` count as what they lead to: memory is this very folder or nothing.
        if len(folders) == 1 and own is not None and _below(own, f"agents/{self.agent}/memory"):
            return "inside"
        if folders:
            if write or any(f and f.split("/", 1)[0] not in READABLE_CONTROL for f in folders):
                return "control"
            return "inside" if self._around(text, own) else "outside"
        if write and CONTROL in text.casefold().split("/"):
            return "control"  # of a workspace around this one
        return "inside" if self._around(text, own) else "outside"

    def _around(self, text: str, own: str | None) -> bool:
        return own is not None or any(_below(text, root) for root in self._roots)

    def _secret(self, path: Path, text: str, folders: Sequence[str]) -> bool:
        if _below(text.casefold(), self._credentials.casefold()) or _PROCESS.match(text):
            return True
        if any(_is_secret(f) for f in folders):
            return True
        if path.name.casefold() == CONFIG and _holds_token(text):
            return True
        try:
            seen = os.lstat(text)  # on the way of every call that touches a path
        except OSError:
            return False
        # Another name for the same file.
        linked = seen.st_nlink > 1 and stat.S_ISREG(seen.st_mode)
        return linked and (seen.st_dev, seen.st_ino) in self._secret_identities()

    def _secret_identities(self) -> set[tuple[int, int] | None]:
        found: set[tuple[int, int] | None] = set()
        for folder in (self._control, f"{self._control}/run", self._credentials):
            try:
                names = os.listdir(folder)  # noqa: PTH208
            except OSError:
                continue
            found |= {
                _identity(f"{folder}/{name}")
                for name in names
                if folder != self._control or _is_secret(name)
            }
        config = f"{self.root}/{CONFIG}"
        if _holds_token(config):
            found.add(_identity(config))
        return found - {None}

    def _run_by_us(self, text: str) -> bool:
        return any(text in files_named(command, self.root) for command in self.commands())

    def _in_control(self, text: str) -> str | None:
        """The part of a path below the workspace's `.perdure`; None if it is not below it."""
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

    def _in_any_control(self, text: str) -> Iterator[str]:
        """The parts of a path below folders that are called `.perdure`, whosever they are. A workspace
        may itself lie in one; that one does not count."""
        root = f"{self.root}/"
        parts = text.removeprefix(root).split("/")
        for at, part in enumerate(parts):
            if part.casefold() == CONTROL:
                yield "/".join(parts[at + 1 :])


def in_git(path: Path) -> bool:
    """In a repository's own folder: what is written there, hooks above all, git runs later."""
    return ".git" in os.fspath(path).casefold().split("/")


def _is_secret(below: str) -> bool:
    """`below`: a path relative to a `.perdure` folder."""
    first = below.split("/", 1)[0].casefold()
    return first == "run" or first.startswith("secrets")


def _holds_token(path: str) -> bool:
    """Does this configuration hold a token itself, not only the name of a variable?"""
    try:
        data = read_regular(path, MAX_CONFIG)
    except OSError:
        return False
    if len(data) > MAX_CONFIG:
        return True
    if b"token" not in data and b"\0" not in data and b"\\" not in data:
        return False
    import yaml

    try:
        stack = [yaml.compose(data.decode("utf-8-sig"), Loader=yaml.SafeLoader)]
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return True
    seen: set[int] = set()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            stack += node.value
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                stack.append(value)
                text = value.value if isinstance(value, yaml.ScalarNode) else ""
                given = text not in ("", "null", "~") and not _VARIABLE.fullmatch(text.strip())
                if key.value == "token" and given:
                    return True
    return False


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
