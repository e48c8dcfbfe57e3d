"""Tests of a policy: calls, what should become of them, and what the rules alone should say.

- {command: "git status", expect: runs}
- {tool: write, arguments: {path: secrets/key, content: x}, expect: refused, rules: deny}
- {command: "git push", agent: helper, origin: schedule, expect: asks}
- {command: "make", rules: none}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from perdure.kernel.errors import ConfigError

from .query import ORIGINS, Effect, Origin
from .reading import compose, items, line_of, scalar
from .storing import text_of

if TYPE_CHECKING:
    import yaml

_KEYS = ("tool", "command", "arguments", "agent", "origin", "expect", "rules")
_EFFECTS: tuple[Effect, ...] = get_args(Effect)
Outcome = Literal["runs", "asks", "refused"]
_OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    tool: str
    arguments: Mapping[str, object]
    expect: Outcome | None = None
    """What the gate should make of it; None: that is not asked."""
    rules: Effect | None = None
    """What the rules alone should say; None: that is not asked."""
    agent: str = ""
    origin: Origin = "interactive"
    line: int = 0

    @property
    def shown(self) -> str:
        named = self.arguments.get("command")
        return (
            f"{self.tool}: {named}"
            if isinstance(named, str)
            else f"{self.tool} {dict(self.arguments)}"
        )


def read(path: Path) -> Sequence[Case]:
    """Raises ConfigError with file and line."""
    import yaml

    try:
        text = text_of(path)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
    node = compose(text, path)
    if not isinstance(node, yaml.SequenceNode):
        raise ConfigError("expected a list of cases", file=str(path), line=line_of(node))
    return [_case(one, path) for one in node.value]


def _case(node: yaml.Node, path: Path) -> Case:
    line = line_of(node)
    found = {key: value for key, value, _ in items(node, _KEYS, path)}
    texts = {k: scalar(v, k, path) for k, v in found.items() if k != "arguments"}
    arguments = _values(found["arguments"], path) if "arguments" in found else {}
    if "command" in texts:
        arguments = {**arguments, "command": texts["command"]}
    tool = texts.get("tool") or ("bash" if "command" in texts else "")
    if not tool:
        raise ConfigError("a case needs a tool or a command", file=str(path), line=line)
    if not {"expect", "rules"} & texts.keys():
        told = "a case needs expect (runs, asks or refused), or rules (allow, ask, deny or none)"
        raise ConfigError(told, file=str(path), line=line)
    expect = [e for e in _OUTCOMES if e == texts.get("expect")]
    if "expect" in texts and not expect:
        told = f"expect must be one of {', '.join(_OUTCOMES)}"
        hint = f"What the rules alone say goes under rules: {', '.join(_EFFECTS)}."
        raise ConfigError(told, file=str(path), line=line, hint=hint)
    rules = [e for e in _EFFECTS if e == texts.get("rules")]
    if "rules" in texts and not rules:
        told = f"rules must be one of {', '.join(_EFFECTS)}"
        raise ConfigError(told, file=str(path), line=line)
    origin = [o for o in ORIGINS if o == texts.get("origin", "interactive")]
    if not origin:
        told = f"origin must be one of {', '.join(ORIGINS)}"
        raise ConfigError(told, file=str(path), line=line)
    return Case(
        tool=tool,
        arguments=arguments,
        expect=expect[0] if expect else None,
        rules=rules[0] if rules else None,
        agent=texts.get("agent", ""),
        origin=origin[0],
        line=line,
    )


def _values(node: yaml.Node, path: Path) -> dict[str, object]:
    import yaml

    try:
        values: Any = yaml.constructor.SafeConstructor().construct_document(node)
    except (yaml.YAMLError, ValueError) as error:
        told = f"arguments cannot be read: {str(error)[:100]}"
        raise ConfigError(told, file=str(path), line=line_of(node)) from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError("arguments must be a mapping", file=str(path), line=line_of(node))
    return values
