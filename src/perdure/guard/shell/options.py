"""Options as getopt reads them: bundles, values, and any unambiguous beginning of a long name."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .model import HOLE, Word


class Split(NamedTuple):
    options: tuple[tuple[str, Word | None], ...]
    """Name with its dashes, and its value."""
    rest: tuple[Word, ...]
    """From the first word that is no option."""


def split(
    words: Sequence[Word], short: str, long: Sequence[str] = (), *, mixed: bool = False
) -> Split | None:
    """`short` as for getopt (`k:` takes a value, `i::` may have one attached), `long` names without
    dashes, `=` behind those that take a value, `=?` where it may be left out. `mixed`: options may stand
    behind other words. None: an option is not known."""
    takes: dict[str, int] = {}
    for n, char in enumerate(short):
        if char != ":":
            takes[char] = len(short[n + 1 : n + 3]) - len(short[n + 1 : n + 3].lstrip(":"))
    names = {name.rstrip("=?"): name[len(name.rstrip("=?")) :] for name in long}
    options: list[tuple[str, Word | None]] = []
    rest: list[Word] = []
    at = 0
    while at < len(words):
        word = words[at]
        if word.shape.startswith(HOLE) or (word.text is None and word.shape.startswith("-")):
            return None if not rest or mixed else Split(tuple(options), (*rest, *words[at:]))
        text = word.shape
        if text == "--":
            return Split(tuple(options), (*rest, *words[at + 1 :]))
        if text == "-" or not text.startswith("-"):
            if not mixed:
                return Split(tuple(options), tuple(words[at:]))
            rest.append(word)
            at += 1
            continue
        at += 1
        if text.startswith("--"):
            name, equals, value = text[2:].partition("=")
            known = _long(name, names)
            if known is None:
                return None
            if equals:
                if not names[known]:
                    return None
                options.append((f"--{known}", Word(value, value)))
            elif names[known] == "=":
                if at >= len(words):
                    return None
                options.append((f"--{known}", words[at]))
                at += 1
            else:
                options.append((f"--{known}", None))
            continue
        letters = text[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter not in takes:
                return None
            if takes[letter] == 0:
                options.append((f"-{letter}", None))
            elif letters or takes[letter] == 2:
                options.append((f"-{letter}", Word(letters, letters)))
                letters = ""
            elif at < len(words):
                options.append((f"-{letter}", words[at]))
                at += 1
            else:
                return None
    return Split(tuple(options), tuple(rest))


def _long(name: str, names: dict[str, str]) -> str | None:
    if name in names:
        return name
    near = [known for known in names if known.startswith(name)]
    return near[0] if len(near) == 1 and name else None


class Options:
    """Options of which any would do, looked for all at once."""

    __slots__ = ("_beginnings", "_letters", "_others", "names")

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        long = [name for name in self.names if name.startswith("--")]
        self._beginnings = frozenset(n[:end] for n in long for end in range(3, len(n) + 1))
        short = [name for name in self.names if len(name) == 2 and name[0] == "-" != name[1]]
        self._letters = frozenset(name[1] for name in short)
        self._others = tuple(n for n in self.names if n not in long and n not in short)

    def may_hold(self, word: Word) -> bool:
        """May this word be, or hold, one of them? `--long` by any beginning, `-x` within a bundle too."""
        text = word.shape
        if word.text is None or HOLE in text:
            return any(names_option(word, name) for name in self.names)
        if text.startswith("--"):
            if text.partition("=")[0] in self._beginnings:
                return True
        elif text[:1] == "-" and not self._letters.isdisjoint(text[1:]):
            return True
        return bool(self._others) and text.startswith(self._others)


def names_option(word: Word, option: str) -> bool:
    """May this word be, or hold, the option? `--long` by any beginning, `-x` within a bundle too."""
    return _names(word.shape, word.text is None, option)


@functools.lru_cache(16_384)
def _names(text: str, vague: bool, option: str) -> bool:
    if text.startswith(HOLE):
        return True
    if option.startswith("--"):
        name = text.split("=", 1)[0]
        if vague and HOLE in name:
            return option.startswith(name.partition(HOLE)[0])
        return len(name) > 2 and name.startswith("--") and option.startswith(name)
    if len(option) == 2 and option[0] == "-":
        if not text.startswith("-") or text.startswith("--"):
            return False
        return option[1] in text[1:] or HOLE in text
    return text.startswith(option) or (HOLE in text and option.startswith(text.partition(HOLE)[0]))
