"""Policy files: read strictly, merged, re-read when they change, and added to on `always`.

    mode: ask                                   # or auto
    allow:
      - {tool: bash, command: "git status*"}
    deny:
      - {tool: write, path: "secrets/**"}

Workspace, agent and local file are read in this order. The mode is that of the last one that names it,
rules add up, and a deny rule anywhere wins.
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import functools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from perdure.kernel.errors import ConfigError, StorageError

from .regular import read_regular
from .rules import Rule, check_path_pattern

if TYPE_CHECKING:
    import yaml

Mode = Literal["ask", "auto"]
MODES: tuple[Mode, ...] = ("ask", "auto")
MAX_BYTES = 1 << 20
_KEYS = ("mode", "allow", "deny")
_RULE_KEYS = ("tool", "command", "exactly", "path")


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    mode: Mode = "ask"
    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """One file's share."""

    mode: Mode | None = None
    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()


@dataclass(kw_only=True, slots=True)
class _Read:
    stamp: tuple[int, ...]
    part: _Part | None
    error: ConfigError | None


@dataclass(slots=True)
class PolicyFiles:
    """The policy for one agent, as its files say now."""

    control: Path
    """Folder `.perdure`."""
    agent: str
    local: Path = field(init=False)
    """Where `remember` puts rules."""
    files: tuple[Path, ...] = field(init=False)
    """All three, in the order in which they are read."""
    _read: dict[str, _Read] = field(default_factory=dict)
    _merged: Policy | None = None

    def __post_init__(self) -> None:
        self.local = self.control / "policy.local.yaml"
        own = self.control / "agents" / self.agent / "policy.yaml"
        self.files = (self.control / "policy.yaml", own, self.local)

    def current(self) -> Policy:
        """Raises ConfigError when a file cannot be read or does not fit."""
        for path in self.files:
            name = os.fspath(path)
            stamp = _stamp(name)
            known = self._read.get(name)
            if known is None or known.stamp != stamp:
                self._read[name] = _load(path, stamp)
                self._merged = None
        if self._merged is None:
            self._merged = self._merge()
        return self._merged

    def _merge(self) -> Policy:
        parts = []
        for path in self.files:
            read = self._read[os.fspath(path)]
            if read.error is not None:
                raise read.error
            if read.part is not None:
                parts.append(read.part)
        modes = [p.mode for p in parts if p.mode]
        return Policy(
            mode=modes[-1] if modes else "ask",
            allow=tuple(r for p in parts for r in p.allow),
            deny=tuple(r for p in parts for r in p.deny),
        )

    def remember(self, rule: str) -> None:
        """Allow this always: add the rule to the local file. Durable on return; blocking.

        Raises ConfigError if rule or file do not fit (the file is left alone), StorageError."""
        rule = str(parse_rule(rule))
        try:
            self.control.mkdir(parents=True, exist_ok=True)
            with _locked(self.control):
                before = _text(self.local) if os.path.lexists(self.local) else ""
                if rule in [str(r) for r in parse(before, self.local).allow]:
                    return
                after = _with_rule(before, rule)
                kept = parse(before, self.local)
                changed = parse(after, self.local)
                wanted = [*map(str, kept.allow), rule], [*map(str, kept.deny)], kept.mode
                if ([*map(str, changed.allow)], [*map(str, changed.deny)], changed.mode) != wanted:
                    hint = f"Add this under allow yourself: - {rule}"
                    raise ConfigError("cannot be added to", file=str(self.local), hint=hint)
                _replace(self.local, after)
        except OSError as error:
            raise StorageError(f"{self.local} cannot be written: {error.strerror}") from error


def parse(text: str, path: Path) -> _Part:
    """One policy file. Raises ConfigError with line and the nearest known key."""
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(error.problem or "is not YAML", file=str(path), line=line) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"is not YAML: {str(error)[:200]}", file=str(path)) from None
    if node is None:
        return _Part()
    mode: Mode | None = None
    rules: dict[str, tuple[Rule, ...]] = {}
    for key, value, line in _items(node, _KEYS, path):
        if key == "mode":
            found = [m for m in MODES if _scalar(value, "mode", path) == m]
            if not found:
                said = _scalar(value, "mode", path)
                raise ConfigError(
                    f"mode must be ask or auto, not {said}", file=str(path), line=line
                )
            mode = found[0]
        else:
            rules[key] = _rules(value, key, path)
    return _Part(mode=mode, allow=rules.get("allow", ()), deny=rules.get("deny", ()))


@functools.lru_cache(512)
def parse_rule(text: str) -> Rule:
    """A rule in its one-line form. Raises ConfigError."""
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        node = None
    if node is None:
        raise ConfigError(f"not a rule: {text[:200]}")
    return _rule(node, Path("rule"), where="")


def _rules(node: yaml.Node, key: str, path: Path) -> tuple[Rule, ...]:
    import yaml

    if isinstance(node, yaml.ScalarNode) and node.value == "":
        return ()
    if not isinstance(node, yaml.SequenceNode):
        raise ConfigError(f"{key} must be a list of rules", file=str(path), line=_line(node))
    return tuple(_rule(n, path, where=f"{path.name}:{_line(n)}") for n in node.value)


def _rule(node: yaml.Node, path: Path, *, where: str) -> Rule:
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(
            "a rule is a mapping such as {tool: bash, command: 'git status*'}",
            file=str(path),
            line=_line(node),
        )
    values = {k: _scalar(v, k, path) for k, v, _ in _items(node, _RULE_KEYS, path)}
    if not values.get("tool"):
        raise ConfigError("a rule needs a tool", file=str(path), line=_line(node))
    for key, value in values.items():
        if not value:
            raise ConfigError(f"{key} is empty", file=str(path), line=_line(node))
    if "command" in values and "exactly" in values:
        raise ConfigError(
            "command and exactly exclude each other", file=str(path), line=_line(node)
        )
    try:
        check_path_pattern(values.get("path", ""))
    except ValueError as error:
        told = f"{values['path']} is no pattern: {error}"
        raise ConfigError(told, file=str(path), line=_line(node)) from None
    return Rule(**values, where=where)


def _items(
    node: yaml.Node, known: Sequence[str], path: Path
) -> Iterator[tuple[str, yaml.Node, int]]:
    """A mapping's entries, every key known and given once."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        expected = ", ".join(known)
        raise ConfigError(f"expected a mapping with {expected}", file=str(path), line=_line(node))
    seen: set[str] = set()
    for key_node, value in node.value:
        key = str(key_node.value)
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(known)}."
            raise ConfigError(f"unknown key {key}", file=str(path), line=_line(key_node), hint=hint)
        if key in seen:
            raise ConfigError(f"{key} is given twice", file=str(path), line=_line(key_node))
        seen.add(key)
        yield key, value, _line(key_node)


def _scalar(node: yaml.Node, key: str, path: Path) -> str:
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        raise ConfigError(f"{key} must be a text", file=str(path), line=_line(node))
    return str(node.value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _stamp(path: str) -> tuple[int, ...]:
    try:
        seen = os.stat(path)  # noqa: PTH116  # three of these stand before every call
    except FileNotFoundError:
        return ()
    except OSError as error:
        return (error.errno or -1,)
    return seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino


def _load(path: Path, stamp: tuple[int, ...]) -> _Read:
    if not stamp:
        return _Read(stamp=stamp, part=None, error=None)
    try:
        return _Read(stamp=stamp, part=parse(_text(path), path), error=None)
    except ConfigError as error:
        return _Read(stamp=stamp, part=None, error=error)
    except OSError as error:
        told = ConfigError(f"cannot be read: {error.strerror}", file=str(path))
        return _Read(stamp=stamp, part=None, error=told)


def _text(path: Path) -> str:
    data = read_regular(path, MAX_BYTES)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"is larger than {MAX_BYTES:,} bytes", file=str(path))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 (byte {error.start})", file=str(path)) from None


def _with_rule(text: str, rule: str) -> str:
    """The file's text with one more entry under `allow`; what a person wrote stays as it is."""
    import yaml

    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert node is None or isinstance(node, yaml.MappingNode)
    entries = {k.value: (k, v) for k, v in node.value} if node is not None else {}
    if text and not text.endswith("\n"):
        text += "\n"
    if "allow" not in entries:
        if node is not None and node.flow_style:
            return text  # `{mode: ask}`: the caller sees that nothing was added, and says so
        return f"{text}allow:\n  - {rule}\n"
    key, value = entries["allow"]
    lines = text.splitlines(keepends=True)
    if isinstance(value, yaml.SequenceNode) and value.value and not value.flow_style:
        end = _last_line(value) + 1
        lines.insert(end, f"{' ' * value.start_mark.column}- {rule}\n")
        return "".join(lines)
    if isinstance(value, yaml.SequenceNode) and value.flow_style:
        at = value.end_mark.index - 1
        comma = ", " if value.value and not re.search(r",\s*\Z", text[:at]) else ""
        return f"{text[:at]}{comma}{rule}{text[at:]}"
    lines.insert(key.start_mark.line + 1, f"  - {rule}\n")
    return "".join(lines)


def _last_line(node: yaml.Node) -> int:
    """Where a node's text ends. A block's own end mark lies behind the comments that follow it."""
    import yaml

    while isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(node, yaml.MappingNode) else last
    end = node.end_mark
    return int(end.line) if end.column or end.line == node.start_mark.line else int(end.line) - 1


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
        os.fsync(fd)
    finally:
        os.close(fd)


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)  # from a crash, or a pipe or link that somebody put there
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, 0o666), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileNotFoundError):
        new.chmod(path.stat().st_mode & 0o7777)
    new.replace(path)
