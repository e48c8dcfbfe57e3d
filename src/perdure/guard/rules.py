"""One rule of a policy, and what it matches.

A rule is written as a mapping, and as one line wherever it is shown or granted:

    {tool: bash, command: 'git status*'}     wildcards; one plain command only
    {tool: bash, exactly: 'make && make install'}
    {tool: edit, path: 'docs/**'}            relative to the working directory; `**` crosses folders
    {tool: read}
"""

from __future__ import annotations

import fnmatch
import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .shell import boundable, commands_of, plain_words


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    tool: str
    """Name, with wildcards."""
    command: str = ""
    exactly: str = ""
    path: str = ""
    where: str = ""
    """File and line it stands in; empty for a session's grant."""

    def __str__(self) -> str:
        parts = [f"tool: {_quoted(self.tool)}"]
        for name, value in (
            ("command", self.command),
            ("exactly", self.exactly),
            ("path", self.path),
        ):
            if value:
                parts.append(f"{name}: {_quoted(value)}")
        return "{" + ", ".join(parts) + "}"

    def allows(self, tool: str, command: str | None, paths: Sequence[Path], workdir: Path) -> bool:
        """Every part of the call is covered by this rule."""
        if not _glob(self.tool, tool):
            return False
        if self.exactly and command != self.exactly:
            return False
        if self.command:
            words = plain_words(command) if command is not None else None
            if words is None or not _glob(self.command, " ".join((command or "").split())):
                return False
            if any(c in self.command for c in "*?[") and not boundable(words):
                return False
        if self.path:
            return bool(paths) and all(_path(self.path, p, workdir) for p in paths)
        return True

    def denies(
        self,
        tool: str,
        command: str | None,
        paths: Sequence[Path],
        workdir: Path,
        *,
        workspace: Path | None = None,
    ) -> bool | None:
        """Some part of the call is covered by this rule. None: it cannot be told. A relative path is held
        against both folders: which of them its author had in mind must not matter."""
        # What bash must not run, no other tool that runs commands may run either.
        runs = command is not None and bool(self.command or self.exactly)
        if not _glob(self.tool, tool) and not (runs and _glob(self.tool, "bash")):
            return False
        if self.exactly and command != self.exactly:
            return False
        folders = {workdir, workspace or workdir}
        if self.path and not any(_path(self.path, p, f) for p in paths for f in folders):
            return False
        if self.command:
            if command is None:
                return False
            if _glob(self.command, command) or _glob(self.command, command.strip()):
                return True
            return self._denies_part(command)
        return True

    def _denies_part(self, command: str) -> bool | None:
        parts = commands_of(command)
        if parts is None:
            return None
        program = self.command.split(" ", 1)[0]
        named = not any(c in program for c in "*?[")
        unsure = False
        for part in parts:
            if any(_glob(self.command, form) for form in part.forms):
                return True
            if part.risky or any(_glob(self.command, form) for form in part.maybe):
                unsure = True
            # An argument that is a pattern matters only to a rule about this very program.
            if part.vague and not (
                named and all(f.split(" ", 1)[0] != program for f in (*part.forms, *part.maybe))
            ):
                unsure = True
        return None if unsure else False


def covering(
    tool: str,
    command: str | None,
    paths: Sequence[Path],
    workdir: Path,
    *,
    narrow: bool = False,
) -> Rule:
    """The narrowest rule worth storing that allows a call like this one again. `narrow`: it is about
    these very files, not their folder."""
    if command is not None:
        return Rule(tool=_literal(tool), exactly=command)
    if paths:
        if not narrow and all(path.is_relative_to(workdir) for path in paths):
            return Rule(tool=_literal(tool), path=f"{_literal(os.fspath(workdir))}/**")
        if len(paths) == 1:
            return Rule(tool=_literal(tool), path=_literal(os.fspath(paths[0])))
    return Rule(tool=_literal(tool))


def _quoted(text: str) -> str:
    """As YAML, on one line."""
    if re.fullmatch(r"[A-Za-z_][\w.-]*", text) and text.lower() not in (
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


def _literal(text: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", text)


def _glob(pattern: str, text: str) -> bool:
    return pattern == "*" or pattern == text or _text_pattern(pattern).match(text) is not None


@functools.lru_cache(1024)
def _text_pattern(pattern: str) -> re.Pattern[str]:
    # A wildcard at the end of a word pattern also stands for no further words: `git status *`.
    if pattern.endswith(" *"):
        return re.compile(f"(?:{fnmatch.translate(pattern)}|{fnmatch.translate(pattern[:-2])})")
    return re.compile(fnmatch.translate(pattern))


def check_path_pattern(pattern: str) -> None:
    """Raises ValueError for a pattern that can match nothing sensible."""
    try:
        _path_pattern(pattern, "/")
    except re.error as error:
        raise ValueError(str(error)) from None


def _path(pattern: str, path: Path, workdir: Path) -> bool:
    return _path_pattern(pattern, os.fspath(workdir)).match(os.fspath(path)) is not None


@functools.lru_cache(1024)
def _path_pattern(pattern: str, workdir: str) -> re.Pattern[str]:
    """`*` and `?` stay within one folder, `**` does not; a folder's name stands for all in it."""
    if pattern.startswith("~"):
        pattern = os.path.expanduser(pattern)  # noqa: PTH111
    if not pattern.startswith("/"):
        prefix = re.escape(workdir.rstrip("/") + "/")
        pattern = pattern.removeprefix("./")
    else:
        prefix = ""
    out, i = [prefix], 0
    while i < len(pattern):
        if pattern.startswith("**/", i):
            out.append("(?:[^/]+/)*")
            i += 3
        elif pattern.startswith("/**", i) and i + 3 == len(pattern):
            out.append("(?:/.*)?")
            i += 3
        elif pattern.startswith("**", i):
            out.append(".*")
            i += 2
        elif pattern[i] == "*":
            out.append("[^/]*")
            i += 1
        elif pattern[i] == "?":
            out.append("[^/]")
            i += 1
        elif pattern[i] == "[" and (end := pattern.find("]", i + 2)) > 0:
            body = re.sub(r"([\\\[&~|])", r"\\\1", pattern[i + 1 : end])
            out.append(f"[{'^' + body[1:] if body[0] == '!' else body}]")
            i = end + 1
        else:
            out.append(re.escape(pattern[i]))
            i += 1
    if pattern.endswith("/"):
        out.append(".*")
    return re.compile("".join(out) + r"\Z", re.DOTALL)
