"""The scanner: known values in all their forms, and credentials by how they look."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from perdure.kernel.errors import PerdureError

from . import decoding
from .forms import SHORTEST, Own
from .harmless import is_harmless

if TYPE_CHECKING:
    from .known import Known
    from .rules import Rules

_GENERAL = ("escaped", "encoded")
DEPTH = 3
"""Encodings inside of encodings that are undone."""
MOST_DECODED = 4
"""Times the size of the data: more than that is not decoded of it."""


class Unavailable(PerdureError):
    """The libraries that scan for leaked secrets are missing, so nothing may pass."""

    code = "leak_scan"


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """That there is a secret in some data, and where; never the secret."""

    kind: str
    """`own`, or which format: `aws-access-key`, …"""
    name: str
    """`secret://github`; for a format what it is called, e.g. `an AWS access key`."""
    form: str
    """plain, base64, hex, escaped …"""
    start: int
    end: int
    """In bytes of the data, encoded as UTF-8."""

    @property
    def own(self) -> bool:
        return self.kind == "own"

    @property
    def mark(self) -> str:
        """What stands in its place after a redaction."""
        return f"[redacted: {self.name if self.own else self.kind}]"

    def __str__(self) -> str:
        return self.name if self.form == "plain" else f"{self.name} ({self.form})"


class Leaks:
    """Thread-safe. Loads its libraries at the first scan."""

    def __init__(self, own: Callable[[], Sequence[Own]]) -> None:
        """`own` is asked at every scan, and should return the same object until something changed."""
        self._own = own
        self._lock = threading.Lock()
        self._engine: _Engine | None = None

    def check(self) -> None:
        """Raises Unavailable where nothing could be scanned."""
        self._current()

    def spares(self, text: str) -> bool:
        """Whether it is certain, without the libraries, that a scan would find nothing. Never once they
        are loaded: then scanning is the quicker way. Raises ConfigError as `scan`."""
        return self._engine is None and is_harmless(_bytes(text), self._own())

    def scan(self, data: bytes | str, *, formats: bool = True) -> tuple[Leak, ...]:
        """All that is found, in order. Without `formats`, only the installation's own secrets.
        Raises Unavailable, and ConfigError when the own secrets cannot be read."""
        return self._current().scan(_bytes(data), formats=formats)

    def clear(self, texts: Iterable[str]) -> bool:
        """Whether it is certain that none of them holds one of the installation's own secrets: all are
        searched at once. Where one does, or that would take more, False. Raises as `scan`."""
        long = [_bytes(text) for text in texts if len(text) >= SHORTEST]
        return not long or self._current().clear(decoding.BETWEEN.join(long))

    def redact(self, text: str, *, formats: bool = True) -> tuple[str, int]:
        """The text with a mark in place of each secret, and how many there were. Raises as `scan`."""
        raw = _bytes(text)
        found = self._current().scan(raw, formats=formats)
        if not found:
            return text, 0
        out: list[bytes] = []
        at = count = 0
        for start, end, mark in _merged(found):
            out += [raw[at:start], mark.encode()]
            at, count = end, count + 1
        out.append(raw[at:])
        return b"".join(out).decode("utf-8", "replace"), count

    def _current(self) -> _Engine:
        own = self._own()
        engine = self._engine
        if engine is None or engine.own is not own:
            with self._lock:
                engine = self._engine
                if engine is None or engine.own is not own:
                    if engine is None or tuple(engine.own) != tuple(own):
                        engine = _Engine(own)
                    else:
                        engine.own = own
                    self._engine = engine
        return engine


class _Engine:
    """What is compiled for one set of own secrets."""

    def __init__(self, own: Sequence[Own]) -> None:
        try:
            import re2  # type: ignore[import-untyped]

            from .known import Known
            from .rules import Rules
        except ImportError as error:
            raise Unavailable(
                f"Nothing can be scanned for leaked secrets: {error.name} is not installed.",
                hint="Install Perdure again: google-re2 comes with it.",
            ) from error
        self.own = own
        self._rules: Rules = Rules()
        options = re2.Options()
        options.log_errors = False
        options.encoding = re2.Options.Encoding.LATIN1
        shortest = min((len(secret.value.strip()) for secret in own), default=20)
        self._escaped: Any = re2.compile(decoding.words(shortest), options)
        self._run: Any = re2.compile(decoding.RUN, options)
        self._known: Known = Known(own)

    def scan(self, data: bytes, *, formats: bool) -> tuple[Leak, ...]:
        found = self._look(data, formats, DEPTH, MOST_DECODED * len(data) + 4_096)
        return tuple(_joined(found))

    def clear(self, data: bytes) -> bool:
        """Of own secrets. Texts that stand in it with `BETWEEN` between them are read as each alone would
        be: nothing that is decoded goes on over it. What came of several may run together, so that an
        encoding within an encoding is not for here."""
        for view in (None, *self._views(data)):
            inner = data if view is None else view.data
            if next(self._known.find(inner), None) is not None:
                return False
            if view is not None and any(self._views(inner)):
                return False
        return True

    def _views(self, data: bytes) -> Iterator[decoding.View]:
        if (view := decoding.unescaped(data, self._escaped)) is not None:
            yield view
        if (view := decoding.decoded_runs(data, self._run)) is not None:
            yield view

    def _look(self, data: bytes, formats: bool, depth: int, budget: int) -> Iterator[Leak]:
        yield from self._plain(data, formats)
        if depth == 0 or budget <= 0:
            return
        for view in self._views(data):
            if len(view.data) > budget:
                continue
            budget -= len(view.data)
            for leak in self._look(view.data, formats, depth - 1, budget):
                start, end = view.back(leak.start, leak.end)
                form = leak.form if leak.form not in ("plain", "escaped") else view.form
                yield Leak(kind=leak.kind, name=leak.name, form=form, start=start, end=end)

    def _plain(self, data: bytes, formats: bool) -> Iterator[Leak]:
        for start, end, secret, form in self._known.find(data):
            if form == "plain":
                start, end = _grown(data, start, end, secret.value)
            yield Leak(kind="own", name=secret.name, form=form, start=start, end=end)
        if formats:
            for rule, start, end in self._rules.find(data):
                yield Leak(kind=rule.id, name=rule.title, form="plain", start=start, end=end)


def _grown(data: bytes, start: int, end: int, value: str) -> tuple[int, int]:
    """A part of a value was found: take in what stands around it and belongs to the value too."""
    raw = value.strip().encode("utf-8", "surrogatepass")
    at = raw.find(data[start:end])
    if at < 0:
        return start, end
    before, after = at, at + end - start
    while before > 0 and start > 0 and data[start - 1] == raw[before - 1]:
        start, before = start - 1, before - 1
    while after < len(raw) and end < len(data) and data[end] == raw[after]:
        end, after = end + 1, after + 1
    return start, end


def _joined(found: Iterable[Leak]) -> list[Leak]:
    """One for each secret and place; of several forms the one that says most."""
    out: list[Leak] = []
    for leak in sorted(set(found), key=lambda leak: (leak.name, leak.start, -leak.end)):
        if out and out[-1].name == leak.name and leak.start < out[-1].end:
            last = out[-1]
            form = min(last.form, leak.form, key=lambda form: (form in _GENERAL, form != "plain"))
            out[-1] = replace(last, end=max(last.end, leak.end), form=form)
        else:
            out.append(leak)
    return sorted(out, key=lambda leak: (leak.start, leak.end))


def _merged(found: Sequence[Leak]) -> Iterator[tuple[int, int, str]]:
    """Spans that overlap as one; an own secret names it before a format does."""
    spans: list[list[Any]] = []
    for leak in found:
        if spans and leak.start < spans[-1][1]:
            last = spans[-1]
            last[1] = max(last[1], leak.end)
            if leak.own and not last[2].own:
                last[2] = leak
        else:
            spans.append([leak.start, leak.end, leak])
    for start, end, leak in spans:
        yield start, end, leak.mark


def _bytes(data: bytes | str) -> bytes:
    return data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
