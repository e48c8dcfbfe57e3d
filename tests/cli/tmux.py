"""Drives a terminal of a given size with tmux: types, reads the screen, changes the size."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import HERE, child_env, wait_for

needs_tmux = pytest.mark.skipif(
    shutil.which("tmux") is None and os.environ.get("CI") != "true",
    reason="tmux is not installed; the terminal itself is not tested",
)


class Terminal:
    def __init__(self, socket: str, name: str) -> None:
        self._socket, self._name = socket, name

    def tmux(self, *command: str) -> str:
        ran = subprocess.run(
            ["tmux", "-S", self._socket, *command], capture_output=True, text=True, check=True
        )
        return ran.stdout

    def type(self, *keys: str) -> None:
        """Names of keys as tmux knows them (`Enter`, `C-c`), anything else literally."""
        self.tmux("send-keys", "-t", self._name, *keys)

    def paste(self, file: Path) -> None:
        self.tmux("load-buffer", str(file))
        self.tmux("paste-buffer", "-p", "-t", self._name)

    def resize(self, columns: int, rows: int) -> None:
        self.tmux("resize-window", "-t", self._name, "-x", str(columns), "-y", str(rows))

    def screen(self, *, scrollback: bool = False) -> str:
        more = ("-S", "-20000") if scrollback else ()
        return self.tmux("capture-pane", "-p", "-t", self._name, *more)

    def sees(self, text: str, *, scrollback: bool = False, seconds: float = 20) -> str:
        """The screen, once it shows `text`."""
        try:
            wait_for(lambda: text in self.screen(scrollback=scrollback), f"{text!r}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen:\n{self.screen()}") from None
        return self.screen(scrollback=scrollback)

    def sees_no(self, text: str, *, seconds: float = 20) -> str:
        wait_for(lambda: text not in self.screen(), f"the end of {text!r}", seconds)
        return self.screen()


@contextmanager
def terminal(
    command: list[str],
    *,
    cwd: Path,
    columns: int = 80,
    rows: int = 24,
    hurried: bool = False,
    **env: str,
) -> Iterator[Terminal]:
    """`perdure COMMAND` in a terminal of its own; its exit code is shown as `EXIT n`. `hurried`: a key
    answers a question as soon as that is seen."""
    program = [str(HERE / "hurried.py")] if hurried else ["-m", "perdure"]
    given = " ".join(f"{k}={shlex.quote(v)}" for k, v in child_env(**env).items() if k != "PATH")
    line = f"{given} {shlex.join([sys.executable, *program, *command])}; echo EXIT $?; cat"
    folder = tempfile.mkdtemp(prefix="tmux-")
    place = Terminal(f"{folder}/socket", "t")
    place.tmux(
        *("-f", "/dev/null", "new-session", "-d", "-s", "t"),
        *("-x", str(columns), "-y", str(rows), "-c", str(cwd), line),
    )
    try:
        yield place
    finally:
        place.tmux("kill-server")
        shutil.rmtree(folder)
