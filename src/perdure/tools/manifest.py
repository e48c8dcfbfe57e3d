"""What stands beside a WebAssembly module: `NAME.tool.yaml`, its name, arguments and limits.

Read strictly: every key known, every mistake told with its line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from .base import NAME
from .files import FileProblem, read_regular

if TYPE_CHECKING:
    import yaml

SUFFIX = ".tool.yaml"
MODULES = (".wasm", ".wat")
MAX_BYTES = 64 << 10
MAX_ARGUMENTS = 50

Kind = Literal["string", "integer", "number", "boolean", "array", "object"]
Scalar = str | int | float | bool

KEYS = ("name", "description", "parameters", "limits")
ARGUMENT_KEYS = ("type", "description", "required", "default", "enum", "minimum", "maximum",
                 "max_length", "items")  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
BOUNDS = {"fuel": 10**12, "memory_mb": 1_024, "seconds": 300}
"""The most of each limit that a manifest can ask for."""


class Wrong(ValueError):
    """A manifest that cannot be used."""

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(text)
        self.line = line
        """From 1; 0: of the whole file."""


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    kind: Kind
    description: str = ""
    required: bool = True
    default: Scalar | None = None
    choices: tuple[Scalar, ...] = ()
    least: float | None = None
    most: float | None = None
    longest: int | None = None
    """Characters of a text, or entries of an array."""
    items: Kind = "string"
    """Of an array."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    fuel: int = 5_000_000_000
    """About one for each instruction that is run."""
    memory_mb: int = 64
    seconds: int = 10
    """To compile and run it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    file: Path
    module: Path
    name: str
    description: str
    arguments: tuple[Argument, ...] = ()
    limits: Limits = field(default_factory=Limits)


def module_of(manifest: Path) -> Path:
    """The module that it stands beside. Raises Wrong."""
    stem = manifest.name.removesuffix(SUFFIX)
    found = [p for s in MODULES if (p := manifest.with_name(stem + s)).exists()]
    if not found:
        raise Wrong(f"there is no {stem}.wasm or {stem}.wat beside it")
    if len(found) > 1:
        raise Wrong(f"{stem}.wasm and {stem}.wat are both beside it; remove one")
    if found[0].is_symlink():
        # Where it leads, tools may be able to write.
        raise Wrong(f"{found[0].name} is a link; put the module itself here")
    return found[0]


def read_manifest(file: Path) -> Manifest:
    """Raises Wrong."""
    if file.is_symlink():
        raise Wrong("is a link; put the manifest itself here")
    try:
        text = read_regular(file, MAX_BYTES).decode("utf-8-sig")
    except (FileProblem, OSError) as problem:
        raise Wrong(f"cannot be read: {problem}") from None
    except UnicodeDecodeError:
        raise Wrong("is not UTF-8 text") from None
    name, description = file.name.removesuffix(SUFFIX), ""
    arguments: tuple[Argument, ...] = ()
    limits = Limits()
    for key, node, _ in _items(_compose(text), KEYS):
        if key == "name":
            name = _text(node, key)
        elif key == "description":
            description = " ".join(_text(node, key).split())
        elif key == "parameters":
            arguments = _arguments(node)
        else:
            limits = Limits(
                **{k: _whole(v, k, BOUNDS[k]) for k, v, _ in _items(node, tuple(BOUNDS))}
            )
    if not NAME.match(name):
        raise Wrong(f"{name[:80]!r} cannot be a tool's name: letters, digits, `_`, `-`", 1)
    if not description:
        raise Wrong("description is missing: the model chooses a tool by it", 1)
    return Manifest(
        file=file, module=module_of(file), name=name, description=description,
        arguments=arguments, limits=limits,
    )  # fmt: skip


def _arguments(node: yaml.Node) -> tuple[Argument, ...]:
    found = tuple(_argument(name, value, line) for name, value, line in _items(node, None))
    if len(found) > MAX_ARGUMENTS:
        raise Wrong(f"parameters has more than {MAX_ARGUMENTS} entries", _line(node))
    return found


def _argument(name: str, node: yaml.Node, line: int) -> Argument:
    if not NAME.match(name):
        raise Wrong(f"{name[:80]!r} cannot be an argument's name", line)
    given = {key: value for key, value, _ in _items(node, ARGUMENT_KEYS)}
    if "type" not in given:
        raise Wrong(f"{name}: type is missing; it is one of {', '.join(KINDS)}", line)
    kind = _kind(given["type"])
    _apply(name, kind, given)
    default = _value(given["default"], kind, "default") if "default" in given else None
    choices = (
        tuple(_value(n, kind, "enum") for n in _entries(given["enum"])) if "enum" in given else ()
    )
    if choices and default is not None and default not in choices:
        raise Wrong(f"{name}: its default is none of its enum", _line(given["default"]))
    required = _truth(given["required"]) if "required" in given else default is None
    if required and default is not None:
        raise Wrong(f"{name}: what has a default is not required", _line(given["default"]))
    least = _number(given["minimum"], "minimum") if "minimum" in given else None
    most = _number(given["maximum"], "maximum") if "maximum" in given else None
    if least is not None and most is not None and least > most:
        raise Wrong(f"{name}: minimum is more than maximum", _line(given["minimum"]))
    return Argument(
        name=name,
        kind=kind,
        description=_text(given["description"], "description") if "description" in given else "",
        required=required,
        default=default,
        choices=choices,
        least=least,
        most=most,
        longest=_whole(given["max_length"], "max_length", 10**9) if "max_length" in given else None,
        items=_kind(given["items"]) if "items" in given else "string",
    )


def _apply(name: str, kind: Kind, given: dict[str, yaml.Node]) -> None:
    """A key that says nothing about this kind of argument would be a promise that nobody keeps."""
    means = {
        "minimum": ("integer", "number"),
        "maximum": ("integer", "number"),
        "max_length": ("string", "array"),
        "items": ("array",),
        "enum": ("string", "integer"),
        "default": ("string", "integer", "number", "boolean"),
    }
    for key, node in given.items():
        if kind not in means.get(key, (kind,)):
            raise Wrong(f"{name}: {key} means nothing for type {kind}", _line(node))
    if "enum" in given and (other := given.keys() & {"minimum", "maximum", "max_length"}):
        raise Wrong(f"{name}: enum and {min(other)} exclude each other", _line(given["enum"]))


def _compose(text: str) -> yaml.Node:
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise Wrong(f"is not YAML: {error.problem}", line) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Wrong(f"is not YAML: {str(error)[:200]}") from None
    if node is None:
        raise Wrong("is empty; it needs at least a description", 1)
    return node


def _items(node: yaml.Node, known: Sequence[str] | None) -> Iterator[tuple[str, yaml.Node, int]]:
    """A mapping's entries, each key known and given once. `known` None: any."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        expected = f" with {', '.join(known)}" if known else ""
        raise Wrong(f"expected a mapping{expected}", _line(node))
    seen: set[str] = set()
    for key_node, value in node.value:
        key, line = str(key_node.value), _line(key_node)
        if not isinstance(key_node, yaml.ScalarNode):
            raise Wrong("a key must be a plain word", line)
        if known is not None and key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise Wrong(f"unknown key {key[:80]}; {hint}", line)
        if key in seen:
            raise Wrong(f"{key[:80]} is given twice", line)
        seen.add(key)
        yield key, value, line


def _entries(node: yaml.Node) -> list[yaml.Node]:
    import yaml

    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise Wrong("enum must be a list of values", _line(node))
    return list(node.value)


def _text(node: yaml.Node, key: str) -> str:
    import yaml

    if not isinstance(node, yaml.ScalarNode) or not str(node.value).strip():
        raise Wrong(f"{key} must be a text", _line(node))
    return str(node.value)


def _kind(node: yaml.Node) -> Kind:
    said = _text(node, "type")
    for kind in KINDS:
        if said == kind:
            return kind
    near = difflib.get_close_matches(said, KINDS, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(KINDS)}"
    raise Wrong(f"there is no type {said[:40]}; {hint}", _line(node))


def _value(node: yaml.Node, kind: Kind, key: str) -> Scalar:
    if kind == "string":
        return "" if getattr(node, "value", None) == "" else _text(node, key)
    if kind == "boolean":
        return _truth(node)
    number = _number(node, key)
    if kind == "number":
        return number
    if number != int(number):
        raise Wrong(f"{key} must be a whole number", _line(node))
    return int(number)


def _truth(node: yaml.Node) -> bool:
    said = _text(node, "it")
    if said not in ("true", "false"):
        raise Wrong(f"expected true or false, not {said[:40]}", _line(node))
    return said == "true"


def _number(node: yaml.Node, key: str) -> float:
    said = _text(node, key)
    try:
        number = float(said)
    except ValueError:
        number = float("nan")
    if not abs(number) <= 1e15:
        raise Wrong(f"{key} must be a number, not {said[:40]}", _line(node))
    return number


def _whole(node: yaml.Node, key: str, most: int) -> int:
    number = _number(node, key)
    if number != int(number) or not 1 <= number <= most:
        raise Wrong(f"{key} must be a whole number from 1 to {most:,}", _line(node))
    return int(number)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
