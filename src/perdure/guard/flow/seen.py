"""What results held: texts to find a value's origin in, and records, i.e. what tools said in `data`.

Text is anybody's. In `data` a tool puts what it read from a service field by field; there a value is a whole
leaf, so that nobody can plant one inside a sentence. Which of these counts for what, the engine decides.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from perdure.kernel.events import Json, ToolResult
from perdure.kernel.labels import Label

from . import forms
from .fold import fold
from .words import plain, urls_in, whole

KEPT = 4_000_000
"""Characters of results that are kept; the oldest go first. What is gone can endorse nothing."""
MOST_LEAVES = 5_000
"""Of one result."""
MOST_KEPT = 100_000
DEEPEST = 8

_NAMES = frozenset(("name", "title", "filename", "subject"))
_DOTTED = re.compile(r"(?<!\w)\w++(?:\.\w++)+")
_RUN_ON = re.compile(r"(.+)\.[A-Z][a-z]*\Z")
"""A sentence that goes on without a blank, as `words.urls_in` knows it."""
_ENDING = re.compile(r"\.[a-z0-9]{1,5}\Z")
LONGEST = 200
"""Characters of a leaf that can be a value."""


@dataclass(slots=True, kw_only=True)
class Result:
    """One result of a call that went well."""

    tool: str
    origin: str
    """Of the tool; empty: the owner's machine."""
    label: Label
    text: str
    asked: bool
    """What was looked up is what the owner spoke of, or everything there is."""
    search: bool
    """From a search engine."""
    echo: frozenset[str]
    """Texts in the call's own arguments, folded."""
    kept: bool = True
    _folded: str | None = None

    @property
    def folded(self) -> str:
        if self._folded is None:  # not `fold`, which takes its time over long foreign texts
            text = unicodedata.normalize("NFKC", self.text).casefold()
            self._folded = " ".join(text.split())
        return self._folded


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """A record with a name: an event, a file, a payment, a person."""

    origin: str
    name: str
    """As `words.plain` gives it; empty: it has none."""
    ids: tuple[str, ...]
    leaves: frozenset[str]
    """All texts in it, folded."""
    amounts: frozenset[Decimal]
    own: bool
    """From the owner's own keeping: nobody else wrote it."""
    asked: bool


@dataclass(slots=True)
class Seen:
    results: deque[Result] = field(default_factory=deque)
    things: dict[str, list[Thing]] = field(default_factory=dict)
    """By name, without the ending of a file's."""
    leaves: dict[tuple[str, str], str] = field(default_factory=dict)
    """Origin and folded leaf to the tool that listed it."""
    listed: set[tuple[str, str]] = field(default_factory=set)
    """Tool and folded leaf."""
    full: bool = False
    _naming: dict[str, list[Result]] = field(default_factory=dict)
    """By each word with a dot in it, such as the end of a host's name: results in whose text it stands."""
    _unnamed: deque[Result] = field(default_factory=deque)
    """Those that are not in there yet."""
    _gone: int = 0
    """Results that were in there and are not kept any more."""
    _size: int = 0
    _count: int = 0

    def keep(self, result: ToolResult, found: Result) -> None:
        self.results.append(found)
        self._unnamed.append(found)
        self._size += len(found.text)
        while self._size > KEPT and len(self.results) > 1:
            gone = self.results.popleft()
            self._size -= len(gone.text)
            gone.text, gone.kept = "", False  # it may still be named
            self._gone += 1
        if self._gone > len(self.results):
            self._gone = 0
            self._naming.clear()
            self._unnamed = deque(self.results)
        values = list(itertools.islice(_walk(result.data, 0), MOST_LEAVES + 1))
        self._count += len(values)
        # Of what is too much to be kept whole nothing is used: the second of a name might be missing.
        self.full = self.full or len(values) > MOST_LEAVES or self._count > MOST_KEPT
        if self.full:
            self.things.clear()
            return
        own = not found.label.tainted
        folded = functools.cache(fold)  # a leaf is one of every record that it is in
        for value in values:
            if isinstance(value, dict):
                self._thing(value, found, own, folded)
            elif isinstance(value, str) and 0 < len(value) <= LONGEST:
                leaf = folded(value)
                if leaf not in found.echo:  # what only repeats the call is the model's word
                    self.leaves.setdefault((found.origin, leaf), found.tool)
                    self.listed.add((found.tool, leaf))

    def _thing(
        self, record: dict[str, Json], found: Result, own: bool, folded: Callable[[str], str]
    ) -> None:
        names = {
            plain(folded(v)) for k, v in record.items() if k in _NAMES and isinstance(v, str)
        } - {""}
        ids = tuple(
            str(v)
            for k, v in record.items()
            if _is_id(k) and isinstance(v, str | int) and v is not True
        )
        numbers = [
            forms.amount(str(v))
            for k, v in record.items()
            if isinstance(v, int | float) and not isinstance(v, bool) and not _is_id(k)
        ]
        inner = list(itertools.islice(_walk(record, DEEPEST - 2), 100))
        leaves = frozenset(folded(v) for v in inner if isinstance(v, str) and len(v) <= LONGEST)
        amounts = frozenset(n for n in numbers if n is not None)
        if not names and not amounts:
            return
        for name in names or {""}:
            thing = Thing(
                origin=found.origin, name=name, ids=ids, leaves=leaves, amounts=amounts,
                own=own and found.asked, asked=found.asked and not found.echo.intersection(ids),
            )  # fmt: skip
            self.things.setdefault(ending_off(name), []).append(thing)

    def where(self, value: str) -> str:
        """Where this text stands first, in plain words; empty: nowhere."""
        wanted = fold(value)
        for result in self.results:
            if wanted and whole(wanted, result.folded):
                said = next(iter(result.label.origins), "") or result.origin or "your own files"
                return f"from {said} (result of {result.tool})"
        return ""

    def holding_url(self, known: str, value: str) -> Iterator[Result]:
        """Results in whose text this very URL stands."""
        for result in self._with(value):
            if value in result.text and any(
                (found := forms.url(u)) is not None and forms.same_url(known, found)
                for u in urls_in(result.text)
            ):
                yield result

    def _with(self, value: str) -> Iterable[Result]:
        """Results in which it may stand."""
        name = _DOTTED.search(value)
        if name is None:
            return self.results
        while self._unnamed:
            one = self._unnamed.popleft()
            for word in _dotted(one.text) if one.kept else ():
                self._naming.setdefault(word, []).append(one)
        return [one for one in self._naming.get(name[0], ()) if one.kept]


def _dotted(text: str) -> set[str]:
    """Its words with a dot in them, as hosts' names have, without what `words.urls_in` takes off an end."""
    pieces = (piece for piece in set(text.split()) if "." in piece)
    found = {word for piece in pieces for word in _DOTTED.findall(piece)}
    found |= {word.rstrip("_") for word in found}
    return found | {m[1] for word in found if (m := _RUN_ON.match(word))}


def ending_off(name: str) -> str:
    """A file's name as people say it."""
    return _ENDING.sub("", name)


def _is_id(key: str) -> bool:
    return key in ("id", "id_") or key.endswith("_id")


def _walk(value: Json, depth: int) -> Iterator[Json]:
    """Dictionaries and leaves, outermost first."""
    if isinstance(value, dict):
        yield value
        if depth < DEEPEST:
            for inner in value.values():
                yield from _walk(inner, depth + 1)
    elif isinstance(value, list | tuple):
        if depth < DEEPEST:
            for inner in value:
                yield from _walk(inner, depth + 1)
    else:
        yield value
