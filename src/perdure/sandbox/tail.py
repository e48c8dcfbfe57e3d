"""Following the output of a running command, without ever holding much of it."""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

Stream = Literal["stdout", "stderr"]

STEP = 32 << 10
"""Bytes shown at once."""
BEHIND = 128 << 10
"""Bytes of lag beyond which the middle is left out: it is for people to watch, and is kept whole."""

_NAMES: dict[int, Stream] = {1: "stdout", 2: "stderr"}


class Tail:
    def __init__(
        self, folder: Path, show: Callable[[Stream, str], None], *, after: int = 0
    ) -> None:
        """`after`: byte of the output to begin at."""
        self._folder, self._show = folder, show
        self._at = after
        self._marks: list[tuple[int, Stream]] = []
        self._marks_read = 0
        self._mark = -1
        """Index of the mark that `_at` lies behind."""
        self._decoders: dict[Stream, codecs.IncrementalDecoder] = {}

    def pump(self, *, last: bool = False) -> None:
        """Show what was written since; with `last`, all of it, as far as it is shown at all. What
        cannot be read now, for want of a descriptor, is shown the next time."""
        with contextlib.suppress(OSError):
            self._pump((self._folder / "output").stat().st_size, last)

    def _pump(self, size: int, last: bool) -> None:
        if size <= self._at:
            return
        self._read_marks()
        if size - self._at > BEHIND:
            skipped = size - self._at - STEP
            self._at += skipped
            self._decoders.clear()
            self._show("stdout", f"\n[… {skipped:,} bytes not shown …]\n")
        while self._at < size:
            self._piece(min(size, self._at + STEP))
            if not last:
                break

    def _piece(self, stop: int) -> None:
        with (self._folder / "output").open("rb") as file:
            file.seek(self._at)
            data = file.read(stop - self._at)
        end = self._at + len(data)
        at = self._at
        while at < end:
            while self._mark + 1 < len(self._marks) and self._marks[self._mark + 1][0] <= at:
                self._mark += 1
            stream: Stream = self._marks[self._mark][1] if self._mark >= 0 else "stdout"
            upto = end
            if self._mark + 1 < len(self._marks):
                upto = min(end, self._marks[self._mark + 1][0])
            decoder = self._decoders.get(stream)
            if decoder is None:
                decoder = self._decoders[stream] = codecs.getincrementaldecoder("utf-8")("replace")
            if text := decoder.decode(data[at - self._at : upto - self._at]):
                self._show(stream, text)
            at = upto
        self._at = max(end, self._at)

    def _read_marks(self) -> None:
        with (self._folder / "marks").open("rb") as file:
            file.seek(self._marks_read)
            data = file.read()
        whole = len(data) // 9 * 9
        for i in range(0, whole, 9):
            stream = _NAMES.get(data[i + 8], "stdout")
            self._marks.append((int.from_bytes(data[i : i + 8], "big"), stream))
        self._marks_read += whole
