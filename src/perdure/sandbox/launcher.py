"""Our end of the launcher process: started with the first command, replaced when it dies."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from .supervision import script
from .walls.marking import MARKER, ROOM

ANSWER_SECONDS = 5.0


def _readable(pipe: IO[bytes]) -> bool:
    poller = select.poll()  # select() takes no descriptors above 1023
    poller.register(pipe, select.POLLIN)
    return bool(poller.poll(ANSWER_SECONDS * 1000))


class Launcher:
    """Thread-safe; its calls block for about a millisecond."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self, folder: Path) -> int:
        """Start a supervisor for a prepared folder; returns its process id. Raises OSError."""
        request = os.fsencode(folder) + b"\0"
        with self._lock:
            for attempt in (1, 2):
                try:
                    answer = self._ask(request)
                    break
                except OSError:
                    # Asking again is harmless: of two supervisors one finds the other's claim.
                    self._end()
                    if attempt == 2:
                        raise
        if answer < 0:
            raise OSError(-answer, os.strerror(-answer))
        return answer

    def close(self) -> None:
        with self._lock:
            self._end()

    def _ask(self, request: bytes) -> int:
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        os.write(process.stdin.fileno(), request)
        answer = b""
        while not answer.endswith(b"\n"):
            data = os.read(process.stdout.fileno(), 64) if _readable(process.stdout) else b""
            if not data:
                raise OSError("the process that starts commands does not answer")
            answer += data
        return int(answer)

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            # Isolated and without site: nothing in the environment or the folder changes what runs.
            [sys.executable, "-I", "-S", script.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={**self._environment, MARKER: ROOM},
            bufsize=0,
            start_new_session=True,
        )
        return self._process

    def _end(self) -> None:
        """Close its input, with which it ends. Its supervisors live on."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
