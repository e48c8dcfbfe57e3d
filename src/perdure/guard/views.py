"""A command of a shell line in the ways in which rules look at it. Made once per judgement."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .patterns import HOLE

if TYPE_CHECKING:
    from .shell import Command

_FREE = frozenset(
    (
        ":", "true", "false", "cd", "pushd", "popd", "pwd", "test", "[", "exit", "return", "break",
        "continue", "shift", "set", "local", "declare", "typeset", "readonly", "export", "read", "wait",
        "type", "getopts", "let", "dirs", "times", "unset", "shopt", "caller", "jobs", "trap", "umask",
    )
)  # fmt: skip
"""Builtins that do nothing outside the shell: what they change for other commands is judged with these."""
_QUIET = _FREE | {"echo", "printf", "kill"}
"""Builtins that open no file their words name."""
_NEEDS_QUOTES = re.compile(r"[\s'\"\\]")


@dataclass(slots=True)
class View:
    command: Command
    text: str
    """Its words as one text in which a word with blanks cannot pass for two."""
    by_path: str
    """The same with the program's path in the place of its name; empty where that is not known."""
    sure: tuple[str, ...]
    """How it reads: as it is, by its program's bare name or its path, without the options before its first
    argument."""
    maybe: tuple[str, ...]
    """How it may read if some of these options take a value."""
    vague: bool
    """Some of its words are only known when it runs."""

    @property
    def shown(self) -> str:
        text = self.text.replace(HOLE, "…")
        return text if len(text) <= 80 else f"{text[:79]}…"

    @property
    def free(self) -> bool:
        """It needs no rule of its own to be allowed."""
        command = self.command
        if command.foreign and not command.builtin:
            return False
        # What it has open, the command that it runs has open too.
        if command.transparent:
            return True
        return command.builtin and command.name in _FREE and not command.opens

    @property
    def quiet(self) -> bool:
        """Its words name no file that it opens."""
        return self.command.builtin and self.command.name in _QUIET


def view(command: Command) -> View:
    shapes = [word.shape for word in command.words]
    plain = " ".join(shapes)
    text = (
        plain
        if not _NEEDS_QUOTES.search("".join(shapes))
        else " ".join(map(_quoted, command.words))
    )
    rest = text[len(shapes[0]) :] if text.startswith(shapes[0]) else ""
    sure, maybe = _forms(shapes, plain, command.program)
    return View(
        command=command,
        text=text,
        by_path=command.program + rest if command.program else "",
        sure=sure,
        maybe=maybe,
        vague=HOLE in plain,
    )


def _quoted(word: tuple[str | None, str, bool, str]) -> str:
    text, shape, _, _ = word
    return shlex.quote(shape) if text is not None and _NEEDS_QUOTES.search(shape) else shape


def _forms(
    words: Sequence[str], plain: str, program: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    name = words[0].rpartition("/")[2]
    sure = [plain]
    if name != words[0]:
        sure.append(" ".join([name, *words[1:]]))
    if program and program != words[0]:
        sure.append(program + plain[len(words[0]) :])
    if len(words) < 2 or not words[1].startswith("-"):
        return tuple(sure), ()
    at = 1
    while at < len(words) and words[at].startswith("-"):
        at += 1
    sure.append(" ".join([name, *words[at:]]))
    maybe = []
    # The word behind an option may be that option's value; then the next one counts.
    while at < len(words) and words[at - 1].startswith("-"):
        at += 1
        while at < len(words) and words[at].startswith("-"):
            at += 1
        maybe.append(" ".join([name, *words[at:]]))
    return tuple(sure), tuple(maybe)


def named(views: Sequence[View], folders: Sequence[str]) -> Iterator[tuple[View, str, bool]]:
    for one in views:
        if one.quiet:
            continue
        for word in one.command.words[1:]:
            text = word.shape
            candidates = {text, text.partition("=")[2], text[2:] if text[:1] == "-" else ""}
            for candidate in candidates:
                if candidate and "\0" not in candidate:
                    for folder in folders:
                        yield from _places(one, candidate, folder, bool(word.glob))


def _places(one: View, candidate: str, folder: str, glob: bool) -> Iterator[tuple[View, str, bool]]:
    known, hole, _ = candidate.partition(HOLE)
    if hole:
        if not glob or not known or known.startswith("-") or known.endswith("."):
            # A variable may lead anywhere, by way of `..` too.
            yield one, "/", False
        else:
            head, _, tail = known.rpartition("/")
            base = os.path.normpath(f"{folder}/{head}" if not known.startswith("/") else f"{head}/")
            yield one, f"{base.rstrip('/')}/{tail}", False
        return
    path = os.path.normpath(candidate if candidate.startswith("/") else f"{folder}/{candidate}")
    yield one, path, True
    if "/" in candidate or os.path.lexists(path):
        real = os.path.realpath(path)
        if real != path:
            yield one, real, True
