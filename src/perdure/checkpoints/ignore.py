"""Ignore rules as git has them (man 5 gitignore), from `.gitignore` and `.perdureignore`.

The last pattern that matches decides, and a file nearer to the path before one further up. Below a
folder that is ignored nothing is looked at, so nothing there can be taken back in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

import msgspec

FILES = (".gitignore", ".perdureignore")
"""Read in each folder, in this order."""
MOST_BYTES = 1 << 20
"""Of such a file; more is not read."""

DEFAULTS = """\
.git
.hg
.svn
.jj
node_modules/
__pycache__/
.venv/
.tox/
.nox/
.mypy_cache/
.ruff_cache/
.pytest_cache/
.hypothesis/
.gradle/
.terraform/
.cache/
.DS_Store
"""
"""Version control keeps its own history; the rest is made again by the tools that made it. A pattern like
`!.cache/` in a `.perdureignore` takes one back in."""

_CLASSES = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r" \t\n\r\f\v",
    "blank": r" \t",
    "punct": r"!-/:-@\[-`{-~",
    "xdigit": "0-9a-fA-F",
    "cntrl": r"\x00-\x1f\x7f",
    "print": r"\x20-\x7e",
    "graph": r"\x21-\x7e",
}


class _Pattern(msgspec.Struct, frozen=True):
    regex: re.Pattern[str]
    negated: bool
    folders: bool
    """Matches folders only."""
    name: bool
    """To be matched with the name alone, not with the path."""


class Rules:
    """The patterns of one ignore file, for paths below its folder."""

    __slots__ = ("_paths", "_patterns", "cut", "names", "prefix")

    def __init__(self, text: str, *, cut: int = 0, prefix: str = "") -> None:
        """`cut`: how many characters of a path, given from the root, lead to the file's folder;
        `prefix`: for a folder above the root, the way from it to the root, ending in `/`."""
        self.cut, self.prefix = cut, prefix
        lines = _as_bytes(text.removeprefix("\ufeff")).split("\n")
        parsed = [_parse(line) for line in lines]
        self._patterns = [pattern for pattern in parsed if pattern is not None]
        self.names = "|".join(f"(?:{p.regex.pattern})" for p in self._patterns if p.name)
        """A regular expression of all patterns that look at the name alone."""
        self._paths = _any([p.regex.pattern for p in self._patterns if not p.name])

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def verdict(self, name: str, path: str, is_folder: bool) -> bool | None:
        """Ignored, taken in, or None: no pattern matches."""
        mine, name = _as_bytes(self.prefix + path[self.cut :]), _as_bytes(name)
        for pattern in reversed(self._patterns):
            if pattern.folders and not is_folder:
                continue
            if pattern.regex.fullmatch(name if pattern.name else mine):
                return not pattern.negated
        return None

    @property
    def has_paths(self) -> bool:
        return self._paths is not None

    def by_path(self, path: str) -> bool:
        """May a pattern that looks at the path match?"""
        return self._paths is not None and bool(
            self._paths.fullmatch(_as_bytes(self.prefix + path[self.cut :]))
        )


class Chain:
    """The rules that hold in a folder, the weakest first."""

    __slots__ = ("_by_path", "_may_match", "_rules")

    def __init__(self, rules: Sequence[Rules]) -> None:
        self._rules = tuple(rules)
        # Most names match nothing, and are done with one look.
        names = _any([r.names for r in rules if r.names])
        self._may_match: Callable[[str], object] = names.fullmatch if names else _never
        self._by_path = tuple(r for r in rules if r.has_paths)

    def with_rules(self, rules: Rules) -> Chain:
        return Chain((*self._rules, rules))

    def ignores(self, name: str, path: str, is_folder: bool) -> bool:
        """`path`: from the root."""
        if not self._may_match(_as_bytes(name)) and not any(
            rules.by_path(path) for rules in self._by_path
        ):
            return False
        for rules in reversed(self._rules):
            verdict = rules.verdict(name, path, is_folder)
            if verdict is not None:
                return verdict
        return False


def _as_bytes(text: str) -> str:
    """Its bytes, each as a character: git matches bytes, so that `?` is not `é`."""
    return text if text.isascii() else os.fsencode(text).decode("latin-1")


def _never(name: str) -> None: ...


def _any(patterns: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(f"(?:{p})" for p in patterns), re.DOTALL) if patterns else None


def _parse(line: str) -> _Pattern | None:
    line = line.removesuffix("\r")
    if line.startswith("#"):
        return None
    while line.endswith(" ") and not _escaped(line):
        line = line[:-1]
    negated = line.startswith("!")
    if negated:
        line = line[1:]
    folders = line.endswith("/")
    if folders:
        line = line[:-1]
    name = "/" not in line
    regex = _translate(line.removeprefix("/"))
    if not line.removeprefix("/") or regex is None:
        return None
    return _Pattern(re.compile(regex, re.DOTALL), negated, folders, name)


def _escaped(line: str) -> bool:
    """Does a backslash stand for the last character?"""
    before = line[:-1]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _translate(glob: str) -> str | None:
    """A regular expression; None when the pattern can match nothing."""
    out, at, end = "", 0, len(glob)
    while at < end:
        letter = glob[at]
        if letter == "*":
            stop = at
            while stop < end and glob[stop] == "*":
                stop += 1
            opens = at == 0 or glob[at - 1] == "/"
            if stop - at == 2 and opens and stop == end:
                out += ".+" if at else ".*"
            elif stop - at == 2 and opens and glob[stop] == "/":
                out += "(?:.*/)?"
                stop += 1
            else:
                out += "[^/]*"
            at = stop
        elif letter == "?":
            out += "[^/]"
            at += 1
        elif letter == "[":
            found = _character_class(glob, at)
            if found is None:
                return None
            regex, at = found
            out += regex
        elif letter == "\\":
            if at + 1 >= end:
                return None
            out += re.escape(glob[at + 1])
            at += 2
        else:
            out += re.escape(letter)
            at += 1
    return out


def _character_class(glob: str, at: int) -> tuple[str, int] | None:
    """The regular expression for `[…]` and where it ends; None when it is not closed."""
    at += 1
    negated = at < len(glob) and glob[at] in "!^"
    at += negated
    parts, first = "", True
    while True:
        if at >= len(glob):
            return None
        if glob[at] == "]" and not first:
            break
        first = False
        if glob.startswith("[:", at) and (close := glob.find(":]", at + 2)) > 0:
            known = _CLASSES.get(glob[at + 2 : close])
            if known is None:
                return None
            parts, at = parts + known, close + 2
            continue
        low, at = _letter(glob, at)
        if at + 1 < len(glob) and glob[at] == "-" and glob[at + 1] != "]":
            high, at = _letter(glob, at + 1)
            if low <= high:
                parts += f"{re.escape(low)}-{re.escape(high)}"
        else:
            parts += re.escape(low)
    if not parts:
        return ("[^/]" if negated else "(?!)"), at + 1
    return f"(?!/)[{'^' if negated else ''}{parts}]", at + 1


def _letter(glob: str, at: int) -> tuple[str, int]:
    if glob[at] == "\\" and at + 1 < len(glob):
        return glob[at + 1], at + 2
    return glob[at], at + 1
