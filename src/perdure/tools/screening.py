"""Keeping the owner's secrets out of what tools return, and credentials out of what is read later."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from perdure.kernel.events import AnyDelta, Json, OutputDelta, Part, Text, ToolResult

from .base import Touch

LONGEST = 8_192
"""Characters of output that wait for the end of their line."""
KEPT = 2_048
"""Of a longer line, those that wait on: a secret may have begun in them."""


class Screen(Protocol):
    """Knows the owner's secrets. Called from worker threads too; never raises."""

    def clean(self, text: str) -> str:
        """The text with a mark in place of each; the very text where there is none."""

    def clear(self, texts: Sequence[str]) -> bool:
        """Whether it is certain that `clean` would change none of them: one search through them all."""

    def refusal(self, paths: Sequence[Path], texts: Sequence[str]) -> str:
        """Why these texts must not be written to these files; empty when they may."""


def refusal(screen: Screen, touches: Sequence[Touch], arguments: Json) -> str:
    """Why a call must not write what it would write."""
    paths = [touch.path for touch in touches if touch.write]
    return screen.refusal(paths, list(_texts(arguments))) if paths else ""


def cleaned(screen: Screen, result: ToolResult) -> ToolResult:
    """The result without the owner's secrets; the very result where there is none."""
    texts = [part.text for part in result.parts if isinstance(part, Text)]
    if screen.clear([*texts, *_texts(result.data, keys=True)]):
        return result
    parts = tuple(_part(screen, part) for part in result.parts)
    data = _value(screen, result.data) if result.data else result.data
    same = all(new is old for new, old in zip(parts, result.parts, strict=True))
    if same and data == result.data:
        return result
    assert isinstance(data, dict)
    return msgspec.structs.replace(result, parts=parts, data=data)


class Showing:
    """Shows a call's output while it runs, without them: whole lines, so that one which comes in pieces is
    found. A line without an end is shown when it has grown long, but for its last part."""

    def __init__(self, screen: Screen, emit: Callable[[AnyDelta], None]) -> None:
        self._screen, self._emit = screen, emit
        self._lock = threading.Lock()
        self._waiting: dict[str, OutputDelta] = {}
        """By stream: what has come of a line."""
        self._over = False

    def __call__(self, delta: AnyDelta) -> None:
        if not isinstance(delta, OutputDelta):
            self._emit(delta)
            return
        with self._lock:
            if self._over:
                return
            before = self._waiting.pop(delta.stream, None)
            text = delta.text if before is None else before.text + delta.text
            at = max(text.rfind("\n"), text.rfind("\r")) + 1
            if len(text) - at > LONGEST:
                at = self._between(text)
            if at < len(text):
                self._waiting[delta.stream] = msgspec.structs.replace(delta, text=text[at:])
            self._show(delta, text[:at])

    def flush(self) -> None:
        """The call is over: what comes now is shown to nobody."""
        with self._lock:
            self._over = True
            for delta in self._waiting.values():
                self._show(delta, delta.text)
            self._waiting.clear()

    def _between(self, text: str) -> int:
        """Where it can be cut so that no secret is."""
        whole = self._screen.clean(text)
        for at in range(len(text) - KEPT, 0, -KEPT):
            if self._screen.clean(text[:at]) + self._screen.clean(text[at:]) == whole:
                return at
        return len(text)

    def _show(self, delta: OutputDelta, text: str) -> None:
        if text and (clean := self._screen.clean(text)):
            self._emit(msgspec.structs.replace(delta, text=clean))


def _part(screen: Screen, part: Part) -> Part:
    if isinstance(part, Text) and (text := screen.clean(part.text)) is not part.text:
        return Text(text=text)
    return part


def _value(screen: Screen, value: Json) -> Json:
    if isinstance(value, str):
        return screen.clean(value)
    if isinstance(value, list | tuple):
        return [_value(screen, v) for v in value]
    if isinstance(value, dict):
        return {screen.clean(str(k)): _value(screen, v) for k, v in value.items()}
    return value


def _texts(value: Json, *, keys: bool = False) -> Iterator[str]:
    """All texts in it; with `keys`, the names of fields too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one, keys=keys)
    elif isinstance(value, dict):
        for name, one in value.items():
            if keys:
                yield str(name)
            yield from _texts(one, keys=keys)
