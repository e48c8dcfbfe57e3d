"""A YAML file as plain values, with the line of every key, so that an error can point at it."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import yaml

from perdure.kernel.errors import ConfigError
from perdure.kernel.events import Json

Where = tuple[str | int, ...]
"""Keys and indexes from the root of a file to a value in it."""

MAX_BYTES = 1_000_000
MAX_NODES = 20_000
"""Aliases count each time they are used, so that a few lines cannot become gigabytes."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_VARIABLE = re.compile(r"\$(\$)?\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class Document(msgspec.Struct, frozen=True):
    file: Path
    value: dict[str, Json]
    lines: dict[Where, int]
    """First line of each value, counted from 1."""
    blank: bool = False
    """There is nothing in it, not even a comment."""

    def line(self, where: Where) -> int:
        """Of a value, or of the nearest thing around it that is there."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)

    def error(self, where: Where, message: str, hint: str = "") -> ConfigError:
        return ConfigError(message, file=str(self.file), line=self.line(where), hint=hint)


def read_text(file: Path) -> str:
    """Raises ConfigError for what cannot be read as a text of sensible size."""
    try:
        data = _bytes(file)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(file)) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"is larger than {MAX_BYTES:,} bytes", file=str(file))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError("is not UTF-8 text", file=str(file), line=line) from error


def _bytes(file: Path) -> bytes:
    """Of a regular file: a pipe in its place would never end. Raises OSError."""
    fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with os.fdopen(fd, "rb", closefd=False) as stream:
            return stream.read(MAX_BYTES + 1)
    finally:
        os.close(fd)


def read_document(file: Path, env: Mapping[str, str]) -> Document:
    """Parse, with `${NAME}` and `${NAME:-default}` in texts replaced from `env`. `$${` stays `${`.
    Raises ConfigError with file and line."""
    text = read_text(file)
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _syntax_error(file, error) from error
    builder = _Builder(file, env)
    value = builder.build(root, ()) if root is not None else {}
    if not isinstance(value, dict):
        raise ConfigError("must hold `key: value` lines", file=str(file), line=1)
    return Document(file, value, builder.lines, blank=not text.strip())


def _syntax_error(file: Path, error: yaml.YAMLError) -> ConfigError:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        what = " ".join(x for x in (error.context, error.problem) if x)
        return ConfigError(
            f"is not valid YAML: {what}", file=str(file), line=error.problem_mark.line + 1
        )
    return ConfigError(f"is not valid YAML: {error}", file=str(file))


@dataclass(slots=True)
class _Builder:
    file: Path
    env: Mapping[str, str]
    lines: dict[Where, int] = field(default_factory=dict)
    nodes: int = 0

    def build(self, node: yaml.Node, where: Where) -> Json:
        line = node.start_mark.line + 1
        self.lines.setdefault(where, line)
        self.nodes += 1
        if self.nodes > MAX_NODES or len(where) > 50:
            raise ConfigError("is too large or too deep", file=str(self.file), line=line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(n, (*where, i)) for i, n in enumerate(node.value)]
        return self._scalar(node, line)

    def _mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, Json]:
        result: dict[str, Json] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError("a key must be a plain word", file=str(self.file), line=line)
            key = str(key_node.value)
            if key in result:
                raise ConfigError(f"`{key}` stands twice", file=str(self.file), line=line)
            self.lines[(*where, key)] = line
            result[key] = self.build(value_node, (*where, key))
        return result

    def _scalar(self, node: yaml.Node, line: int) -> Json:
        text = str(node.value)
        kind = node.tag.rpartition(":")[2]
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return text.lower() in ("yes", "true", "on")
            if kind == "int":
                return int(text.replace("_", ""), 0)
            if kind == "float":
                return _finite(text)
        except ValueError:
            return self._expand(text, line)  # 010, 1:30 and such: what was written
        return self._expand(text, line)

    def _expand(self, text: str, line: int) -> str:
        def put_in(match: re.Match[str]) -> str:
            escaped, name, default = match.groups()
            if escaped:
                return match.group()[1:]
            value = self.env.get(name) or default
            if value is None:
                raise ConfigError(
                    f"the environment has no {name}",
                    file=str(self.file),
                    line=line,
                    hint=f"Set it, or give a default: ${{{name}:-default}}.",
                )
            return value

        whole = _VARIABLE.sub(put_in, text) if "${" in text else text
        return whole.encode(errors="replace").decode()  # the environment may hold any bytes


def _finite(text: str) -> float:
    value = float(text.replace("_", ""))
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(text)
    return value
