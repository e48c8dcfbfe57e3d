"""Standard output and error of a process that knows secrets: nothing passes that holds one.

All that Python itself writes goes this way: the log, tracebacks of the main thread, of other threads
and of tasks, warnings, what a hook prints. What C code writes past it (a fatal error of the
interpreter, faulthandler) names places in the code and never values.
"""

from __future__ import annotations

import threading
from typing import TextIO

from perdure.kernel.errors import PerdureError

from .scanner import Leaks

WITHHELD = "[a line is withheld: it could not be searched for secrets]\n"
LONGEST = 65_536
"""Characters that wait for the end of their line."""


class CleanStream:
    """Stands in for a text stream. Whole lines are searched, so that a value written in pieces is found."""

    def __init__(self, stream: TextIO, leaks: Leaks) -> None:
        self._stream, self._leaks = stream, leaks
        self._lock = threading.RLock()
        self._waiting: list[str] = []

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # click finds out so whether a stream takes bytes
            raise TypeError(f"write() takes text, not {type(text).__name__}")
        with self._lock:
            self._waiting.append(text)
            if "\n" in text or sum(map(len, self._waiting)) > LONGEST:
                whole, newline, rest = "".join(self._waiting).rpartition("\n")
                if not newline:
                    whole, rest = rest, ""
                self._waiting = [rest] if rest else []
                self._pass(whole + newline)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._lock:
            rest, self._waiting = "".join(self._waiting), []
            if rest:
                self._pass(rest)
            self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def encoding(self) -> str:
        return self._stream.encoding

    @property
    def errors(self) -> str | None:
        return self._stream.errors

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    @property
    def closed(self) -> bool:
        return self._stream.closed

    def _pass(self, text: str) -> None:
        try:
            clean = text if self._leaks.spares(text) else self._leaks.redact(text)[0]
        except PerdureError:
            clean = WITHHELD
        except (RecursionError, MemoryError):
            clean = WITHHELD
        self._stream.write(clean)
