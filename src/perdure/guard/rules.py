"""One rule of a policy, as it is written and as it is shown.

A rule is a mapping, and one line wherever it is shown or granted. All that it names must fit:

    {tool: bash, command: 'git status*'}     wildcards, over each command of a line
    {tool: bash, exactly: 'make && make install'}
    {tool: edit, path: 'docs/**'}            relative to the working directory; `**` crosses folders
    {tool: transfer, arguments: {amount: {max: 50}, currency: [EUR, CHF]}}
    {tool: http_request, host: ['api.example.com', '*.example.org'], origin: [interactive]}

What a rule fits is told in `matching`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from .patterns import literal

if TYPE_CHECKING:
    from .query import Origin


class Bound(msgspec.Struct, frozen=True):
    """What an argument must be."""

    globs: tuple[str, ...] = ()
    """One of these fits it, and each element of a list."""
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.globs:
            return _listed(self.globs)
        parts = [
            f"{n}: {_number(v)}"
            for n, v in (("min", self.low), ("max", self.high))
            if v is not None
        ]
        return "{" + ", ".join(parts) + "}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    tool: str
    """Name, with wildcards."""
    command: str = ""
    exactly: str = ""
    path: str = ""
    arguments: tuple[tuple[str, Bound], ...] = ()
    """By name; a dot leads into an object."""
    host: tuple[str, ...] = ()
    recipient: tuple[str, ...] = ()
    origin: tuple[Origin, ...] = ()
    content: str = ""
    """Digest of the files that the command runs: it holds for these only."""
    provider: str = ""
    """Who must bring the tool, with wildcards: `mcp:github`. Only in rules read from Duragent's form."""
    anywhere: str = ""
    """Pattern of a Duragent rule that is found anywhere in a command or tool's name. Deny rules only."""
    where: str = ""
    """File and line it stands in; empty for a session's grant."""

    def __str__(self) -> str:
        if self.anywhere or self.provider:
            return _quoted(f"{self.provider or self.tool}:{self.anywhere or self.tool}")
        parts = [f"tool: {_quoted(self.tool)}"]
        for name, value in (
            ("command", self.command),
            ("exactly", self.exactly),
            ("path", self.path),
        ):
            if value:
                parts.append(f"{name}: {_quoted(value)}")
        if self.arguments:
            inner = ", ".join(f"{_quoted(name)}: {bound}" for name, bound in self.arguments)
            parts.append("arguments: {" + inner + "}")
        for name, values in (
            ("host", self.host),
            ("recipient", self.recipient),
            ("origin", self.origin),
        ):
            if values:
                parts.append(f"{name}: {_listed(values)}")
        if self.content:
            parts.append(f"content: {_quoted(self.content)}")
        return "{" + ", ".join(parts) + "}"

    @property
    def values(self) -> frozenset[str]:
        """Everything it names to the letter about data: what a call has that such a rule fits, the owner
        named himself."""
        named = {*self.host, *self.recipient, self.path}
        for _, bound in self.arguments:
            named.update(bound.globs)
        return frozenset(v for v in named if v and not re.search(r"[*?\[]", v))


def covering(
    tool: str,
    command: str | None,
    paths: Sequence[Path],
    workdir: Path,
    *,
    narrow: bool = False,
    content: str = "",
) -> Rule:
    """The narrowest rule worth storing that allows a call like this one again. `narrow`: it is about
    these very files, not their folder. `content`: of the files that the command runs."""
    if command is not None:
        return Rule(tool=literal(tool), exactly=command, content=content)
    if paths:
        if not narrow and all(path.is_relative_to(workdir) for path in paths):
            return Rule(tool=literal(tool), path=f"{literal(fspath(workdir))}/**")
        if len(paths) == 1:
            return Rule(tool=literal(tool), path=literal(fspath(paths[0])))
    return Rule(tool=literal(tool))


def _listed(values: Sequence[str]) -> str:
    if len(values) == 1:
        return _quoted(values[0])
    return "[" + ", ".join(map(_quoted, values)) + "]"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _quoted(text: str) -> str:
    """As YAML, on one line."""
    if re.fullmatch(r"[A-Za-z_][\w.-]*", text, re.A) and text.lower() not in (
        "true", "false", "yes", "no", "on", "off", "null", "y", "n",
    ):  # fmt: skip
        return text
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return (
        '"' + "".join(c if c.isprintable() and c not in '"\\' else _escape(c) for c in text) + '"'
    )


def _escape(char: str) -> str:
    known = {"\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
    return known.get(char) or f"\\U{ord(char):08x}"
