"""One policy file, read strictly: every key known, every mistake told with its line."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from perdure import hosts
from perdure.kernel.errors import ConfigError

from . import duragent
from .patterns import check_path, check_text
from .query import MODES, ORIGINS, Mode, Origin
from .rules import Bound, Rule

if TYPE_CHECKING:
    import yaml

KEYS = ("mode", "deny", "ask", "allow", "expire", "apiVersion", "kind", "notify")
RULE_KEYS = (
    "tool",
    "command",
    "exactly",
    "path",
    "arguments",
    "host",
    "recipient",
    "origin",
    "content",
)
_LISTS = ("deny", "ask", "allow")
MAX_RULES = 5_000
_EXPIRE = re.compile(r"(\d{1,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Warning(msgspec.Struct, frozen=True):
    """Something in a policy that its owner should look at; it keeps nothing from working."""

    where: str
    """File and line."""
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One file's share."""

    mode: Mode | None = None
    mode_line: int = 0
    deny: tuple[Rule, ...] = ()
    ask: tuple[Rule, ...] = ()
    allow: tuple[Rule, ...] = ()
    expire: timedelta | None = None
    warnings: tuple[Warning, ...] = ()
    duragent: bool = False
    """It says so itself."""


def parse(text: str, path: Path) -> Part:
    """One policy file. Raises ConfigError with line and the nearest known key."""
    node = compose(text, path)
    if node is None:
        return Part()
    mode: Mode | None = None
    mode_line = 0
    expire: timedelta | None = None
    rules: dict[str, tuple[Rule, ...]] = {}
    warnings: list[Warning] = []
    theirs = False
    for key, value, line in items(node, KEYS, path):
        if key == "mode":
            mode, mode_line = _mode(value, path, line), line
        elif key == "expire":
            expire = _expire(value, path, line)
        elif key == "apiVersion":
            theirs = duragent.version(scalar(value, key, path), path, line)
        elif key == "kind":
            if scalar(value, key, path) != "Policy":
                raise ConfigError("kind must be Policy", file=str(path), line=line)
        elif key == "notify":
            if not isinstance(value, _mapping()):
                raise ConfigError("notify must be a mapping", file=str(path), line=line)
            hint = "nothing is sent for it; a hook on on_tool_call does that"
            warnings.append(Warning(f"{path.name}:{line}", f"notify is Duragent's: {hint}"))
        else:
            rules[key] = _rules(value, key, path, warnings)
    if theirs and mode is None:
        warnings.append(
            Warning(f"{path.name}:1", "Duragent takes a missing mode for dangerous; here it is ask")
        )
    return Part(
        mode=mode,
        mode_line=mode_line,
        deny=rules.get("deny", ()),
        ask=rules.get("ask", ()),
        allow=rules.get("allow", ()),
        expire=expire,
        warnings=tuple(warnings),
        duragent=theirs,
    )


@functools.lru_cache(512)
def parse_rule(text: str) -> Rule:
    """A rule in its one-line form. Raises ConfigError."""
    try:
        node = compose(text, Path("rule"))
    except ConfigError:
        node = None
    if node is None:
        raise ConfigError(f"not a rule: {text[:200]}")
    return _rule(node, Path("rule"), where="")


def compose(text: str, path: Path) -> yaml.Node | None:
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(error.problem or "is not YAML", file=str(path), line=line) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"is not YAML: {str(error)[:200]}", file=str(path)) from None
    return node


def _mode(node: yaml.Node, path: Path, line: int) -> Mode:
    said = scalar(node, "mode", path)
    for mode in MODES:
        if said == mode:
            return mode
    near = difflib.get_close_matches(said, MODES, 1)
    hint = f"Did you mean {near[0]}?" if near else ""
    told = f"mode must be {', '.join(MODES[:-1])} or {MODES[-1]}, not {said[:40]}"
    raise ConfigError(told, file=str(path), line=line, hint=hint)


def _expire(node: yaml.Node, path: Path, line: int) -> timedelta:
    said = scalar(node, "expire", path)
    m = _EXPIRE.fullmatch(said)
    if m is None or int(m[1]) == 0:
        told = f"expire must be a time such as 30m, 12h or 7d, not {said[:40]}"
        raise ConfigError(told, file=str(path), line=line)
    return timedelta(**{_UNITS[m[2]]: int(m[1])})


def _rules(node: yaml.Node, key: str, path: Path, warnings: list[Warning]) -> tuple[Rule, ...]:
    import yaml

    if isinstance(node, yaml.ScalarNode) and node.value == "":
        if key == "deny":
            raise ConfigError(
                "deny has no rules", file=str(path), line=line_of(node), hint="Write: deny: []"
            )
        return ()
    if not isinstance(node, yaml.SequenceNode):
        raise ConfigError(f"{key} must be a list of rules", file=str(path), line=line_of(node))
    if len(node.value) > MAX_RULES:
        raise ConfigError(
            f"{key} has more than {MAX_RULES:,} rules", file=str(path), line=line_of(node)
        )
    found = []
    for one in node.value:
        where = f"{path.name}:{line_of(one)}"
        if isinstance(one, yaml.ScalarNode) and ":" in str(one.value):
            rule, warning = duragent.rule(str(one.value), key, path, line_of(one))
            if warning:
                warnings.append(Warning(where, warning))
        else:
            rule = _rule(one, path, where=where)
            if key == "allow" and (warning := _too_wide(rule)):
                warnings.append(Warning(where, warning))
        found.append(rule)
    return tuple(found)


def _too_wide(rule: Rule) -> str:
    names = (
        rule.command,
        rule.exactly,
        rule.path,
        rule.arguments,
        rule.host,
        rule.recipient,
        rule.origin,
    )
    if rule.tool == "*" and not any(names):
        return "this rule allows every call of every tool"
    if rule.tool == "bash" and not any(names):
        return "this rule allows every command"
    if rule.command.strip("* ") == "":
        return "this rule allows every program" if rule.command else ""
    return ""


def _rule(node: yaml.Node, path: Path, *, where: str) -> Rule:
    line = line_of(node)
    if not isinstance(node, _mapping()):
        raise ConfigError(
            "a rule is a mapping such as {tool: bash, command: 'git status*'}",
            file=str(path),
            line=line,
        )
    texts: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    arguments: tuple[tuple[str, Bound], ...] = ()
    for key, value, at in items(node, RULE_KEYS, path):
        if key in ("host", "recipient", "origin"):
            lists[key] = _texts(value, key, path)
        elif key == "arguments":
            arguments = _arguments(value, path)
        else:
            texts[key] = scalar(value, key, path)
            if not texts[key]:
                raise ConfigError(f"{key} is empty", file=str(path), line=at)
    if not texts.get("tool"):
        raise ConfigError("a rule needs a tool", file=str(path), line=line)
    if "command" in texts and "exactly" in texts:
        raise ConfigError("command and exactly exclude each other", file=str(path), line=line)
    _check(texts, path, line)
    for glob in (*lists.get("host", ()), *lists.get("recipient", ())):
        _pattern(glob, check_text, path, line)
    for glob in lists.get("host", ()):
        _pattern(glob, hosts.pattern, path, line)
    return Rule(
        **texts,
        arguments=arguments,
        host=lists.get("host", ()),
        recipient=lists.get("recipient", ()),
        origin=_origins(lists.get("origin", ()), path, line),
        where=where,
    )


def _check(texts: dict[str, str], path: Path, line: int) -> None:
    for key in ("tool", "command"):
        if key in texts:
            _pattern(texts[key], check_text, path, line)
    if "path" in texts:
        _pattern(texts["path"], check_path, path, line)


def _pattern(text: str, check: Callable[[str], object], path: Path, line: int) -> None:
    try:
        check(text)
    except ValueError as error:
        told = f"{text[:80]} is no pattern: {error}"
        raise ConfigError(told, file=str(path), line=line) from None


def _origins(said: Sequence[str], path: Path, line: int) -> tuple[Origin, ...]:
    found: list[Origin] = []
    for text in said:
        known = [origin for origin in ORIGINS if origin == text]
        if not known:
            near = difflib.get_close_matches(text, ORIGINS, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known origins: {', '.join(ORIGINS)}."
            raise ConfigError(f"unknown origin {text[:40]}", file=str(path), line=line, hint=hint)
        found += known
    return tuple(found)


def _arguments(node: yaml.Node, path: Path) -> tuple[tuple[str, Bound], ...]:
    if not isinstance(node, _mapping()) or not node.value:
        told = "arguments must be a mapping such as {amount: {max: 50}}"
        raise ConfigError(told, file=str(path), line=line_of(node))
    found = []
    for key, value, line in items(node, None, path):
        if isinstance(value, _mapping()):
            bounds = {k: _float(v, k, path) for k, v, _ in items(value, ("min", "max"), path)}
            if not bounds:
                raise ConfigError(f"{key} needs min or max", file=str(path), line=line)
            bound = Bound(low=bounds.get("min"), high=bounds.get("max"))
        else:
            bound = Bound(globs=_texts(value, key, path))
            for glob in bound.globs:
                _pattern(glob, check_text, path, line)
        found.append((key, bound))
    return tuple(found)


def _float(node: yaml.Node, key: str, path: Path) -> float:
    text = scalar(node, key, path)
    if not re.fullmatch(r"-?\d{1,15}(\.\d{1,9})?", text, re.A):
        raise ConfigError(
            f"{key} must be a number, not {text[:40]}", file=str(path), line=line_of(node)
        )
    return float(text)


def _texts(node: yaml.Node, key: str, path: Path) -> tuple[str, ...]:
    """One text, or a list of texts."""
    import yaml

    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    found = tuple(scalar(one, key, path) for one in nodes)
    if not found or not all(found):
        raise ConfigError(f"{key} is empty", file=str(path), line=line_of(node))
    return found


def items(
    node: yaml.Node, known: Sequence[str] | None, path: Path
) -> Iterator[tuple[str, yaml.Node, int]]:
    """A mapping's entries, every key known and given once. `known` None: any key."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        expected = ", ".join(known or ())
        raise ConfigError(f"expected a mapping with {expected}", file=str(path), line=line_of(node))
    seen: set[str] = set()
    for key_node, value in node.value:
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
        if known is not None and key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(known)}."
            told = f"unknown key {key[:80]}"
            raise ConfigError(told, file=str(path), line=line_of(key_node), hint=hint)
        if not key:
            raise ConfigError("a key must be a text", file=str(path), line=line_of(key_node))
        if key in seen:
            raise ConfigError(f"{key} is given twice", file=str(path), line=line_of(key_node))
        seen.add(key)
        yield key, value, line_of(key_node)


def scalar(node: yaml.Node, key: str, path: Path) -> str:
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        raise ConfigError(f"{key} must be a text", file=str(path), line=line_of(node))
    return str(node.value)


def _mapping() -> type[yaml.MappingNode]:
    import yaml

    return yaml.MappingNode


def line_of(node: yaml.Node | None) -> int:
    """The first is 1."""
    return 1 if node is None else int(node.start_mark.line) + 1
