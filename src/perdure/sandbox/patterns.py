"""Looking for a pattern in a growing output.

A model writes these patterns, and some take exponential time, in which an interpreter does nothing
else. So another process searches, and is killed when it does not answer.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import subprocess
import sys
import threading
from pathlib import Path

from perdure.kernel.errors import InvalidInput

from . import patterns_child
from .aside import aside

PATIENCE = 2.0
"""Seconds for one search."""
PIECE = 64 << 10
"""Bytes of output searched at once."""
OVERLAP = 4 << 10
"""Bytes searched again with the next piece: a match may lie across the border."""


def check_pattern(pattern: str) -> None:
    """Raises InvalidInput."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidInput(f"{pattern[:200]!r} is no regular expression: {error}") from None


class Patterns:
    """Thread-safe. One search at a time; starts its process with the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def search(self, pattern: str, text: str) -> bool:
        """Blocking. Raises InvalidInput for a pattern that is none or takes too long, OSError."""
        question = json.dumps([pattern, text]).encode() + b"\n"
        with self._lock:
            try:
                answer = self._ask(question)
            except OSError:  # it had ended, or could not be asked
                self._end()
                answer = self._ask(question)
            if answer not in (b"0\n", b"1\n", b"?\n"):
                self._end()
                raise InvalidInput(f"searching for {pattern[:200]!r} takes too long")
        if answer == b"?\n":
            raise InvalidInput(f"{pattern[:200]!r} is no regular expression")
        return answer == b"1\n"

    def close(self) -> None:
        with self._lock:
            self._end()

    def _ask(self, question: bytes) -> bytes:
        """Its answer; empty when there was none in time."""
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(question)
        poller = select.poll()
        poller.register(process.stdout, select.POLLIN)
        if not poller.poll(PATIENCE * 1000):
            return b""
        if not (answer := process.stdout.read(8)):
            raise BrokenPipeError
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", patterns_child.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            bufsize=0,
            start_new_session=True,
        )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class Scan:
    """One pattern, one output, from some byte on; every byte is searched once."""

    def __init__(self, patterns: Patterns, pattern: str, output: Path, after: int) -> None:
        self._patterns, self._pattern, self._output = patterns, pattern, output
        self.at = after
        """Searched so far."""
        self._before = b""

    async def found(self) -> bool:
        """Search what was written since. Raises InvalidInput for an impossible pattern."""
        try:
            while self.at < self._output.stat().st_size:
                if await aside(self._piece):
                    return True
        except OSError:  # no output yet, or no process to be had: it is searched the next time
            pass
        return False

    def _piece(self) -> bool:
        with self._output.open("rb") as file:
            file.seek(self.at)
            data = file.read(PIECE)
        if not data:
            raise FileNotFoundError
        text = (self._before + data).decode("utf-8", "replace")
        found = self._patterns.search(self._pattern, text)
        self.at += len(data)
        self._before = (self._before + data)[-OVERLAP:]
        return found
