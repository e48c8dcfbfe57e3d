"""Files that the patterns of a command could mean: `cat .e*v` names `.env`."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .base import resolve

COMPARED = 200_000
"""Names that are held against patterns for one command."""
EXPANDED = 256
"""Patterns that braces in one may come to."""

_BETWEEN = re.compile(r"[\s;|&<>()`\"'=]+")
_BRACES = re.compile(r"\{([^{}]+)\}")
_SPECIAL = re.compile(r"[*?\[]")


class TooMany(Exception):
    """There is more to look at than may be."""


def globbed(command: str, workdir: Path) -> Iterator[Path]:
    """Paths that are there. Quotes are not minded: another shell may yet read what stands in them. What
    begins with a dot is meant by a pattern that does, as shells have it by default. Raises TooMany."""
    looking = _Looking(hidden="dotglob" in command)
    for pattern in _patterns(command):
        steps = [step for step in pattern.split("/") if step not in ("", ".")]
        start = "/" if pattern.startswith("/") else os.fspath(workdir)
        if steps[:1] == ["~"]:
            start, steps = os.path.expanduser("~"), steps[1:]  # noqa: PTH111
        for found in looking.walk(start, steps):
            with suppress(ValueError):
                yield resolve(found, workdir)


def _patterns(command: str) -> Iterator[str]:
    """Each text between two separators that has a pattern in it, as it stands and without its quotes."""
    texts = _BETWEEN.split(command)
    with suppress(ValueError):
        texts += [text for word in shlex.split(command) for text in _BETWEEN.split(word)]
    for text in dict.fromkeys(texts):
        if _SPECIAL.search(text) or _BRACES.search(text):
            yield from _expanded(text)


def _expanded(text: str) -> list[str]:
    """Without braces. Raises TooMany."""
    done: list[str] = []
    left = [text]
    while left:
        if len(done) + len(left) > EXPANDED:
            raise TooMany
        text = left.pop()
        if (braces := _BRACES.search(text)) is None:
            done.append(text)
            continue
        parts = braces[1].split(",") if "," in braces[1] else ["*"]  # a range
        left += [text[: braces.start()] + part + text[braces.end() :] for part in parts]
    return done


class _Looking:
    def __init__(self, *, hidden: bool) -> None:
        self._hidden = hidden
        self._names: dict[str, list[str]] = {}
        self._compared = 0

    def walk(self, folder: str, steps: list[str]) -> Iterator[str]:
        if not steps:
            yield folder
            return
        step, rest = steps[0], steps[1:]
        if not _SPECIAL.search(step):
            if os.path.lexists(path := f"{folder}/{step}"):
                yield from self.walk(path, rest)
            return
        # Only `!` turns a set around for fnmatch.
        matches = re.compile(fnmatch.translate(step.replace("[^", "[!")), re.IGNORECASE).match
        names = self._list(folder)
        self._compared += len(names)
        if self._compared > COMPARED:
            raise TooMany
        for name in names:
            if (self._hidden or step[0] == "." or name[0] != ".") and matches(name):
                yield from self.walk(f"{folder}/{name}", rest)

    def _list(self, folder: str) -> list[str]:
        names = self._names.get(folder)
        if names is None:
            names = []
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    names.append(entry.name)
                    if len(names) > COMPARED:
                        raise TooMany
            self._names[folder] = names
        return names
