"""What bash really runs: stub programs on a private PATH that record how they were called."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from perdure.guard.shell import HOLE, Command, Parsed

STUBS = ("rm", "git", "cc1", "gcat", "grep", "make", "python3", "node", "awk", "sed", "gecho", "sort", "tee",
         "id", "x1", "curl")  # fmt: skip
"""They record, and do nothing."""
REAL = ("env", "xargs", "timeout", "nohup", "nice", "find", "sh", "bash", "cat", "stdbuf")
"""They record, and do their work."""


class Trace:
    def __init__(self, root: Path) -> None:
        self.bin = root / "bin"
        self.work = root / "work"
        self._log = root / "log"
        self.bin.mkdir()
        self.work.mkdir()
        self._log.mkdir()
        real = {name: shutil.which(name, path="/usr/bin:/bin") for name in REAL}
        # One file per process: what runs at once must not write between each other's words.
        record = (
            f"""{{ printf '%s\\0' "${{0##*/}}" "$@"; printf '\\001\\0'; }} >>{self._log}/$$\n"""
        )
        for name in STUBS:
            self._put(name, f"#!/bin/sh\n{record}printf x1\n")
        for name, path in real.items():
            if path is not None:
                # In a process group of its own it would outlive the line.
                path += " --foreground" if name == "timeout" else ""
                self._put(name, f'#!/bin/sh\n{record}exec {path} "$@"\n')

    def _put(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def prepare(self) -> None:
        shutil.rmtree(self.work)
        self.work.mkdir()
        (self.work / "f.txt").write_text("rm from-a-file\n")
        (self.work / "sub").mkdir()
        (self.work / "sub" / "g.txt").write_text("x\n")
        for file in self._log.iterdir():
            file.unlink()

    def run(self, line: str, *, shell: str = "bash") -> list[list[str]]:
        """Argument vectors of all programs that ran."""
        self.prepare()
        program = shutil.which(shell, path="/usr/bin:/bin")
        assert program is not None
        environment = {
            "PATH": str(self.bin),
            "HOME": str(Path.home()),
            "FUNCNEST": "8",
            "LC_ALL": "C.UTF-8",
        }
        running = subprocess.Popen(
            [program, "-c", line],
            cwd=self.work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            running.wait(timeout=3)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with_children(running.pid)
            running.wait()
        calls: list[list[str]] = []
        for file in sorted(self._log.iterdir()):
            text = file.read_bytes().decode("utf-8", "surrogateescape")
            calls += [call.split("\0")[:-1] for call in text.split("\1\0")]
        return [call for call in calls if call]


def with_children(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def told(parsed: Parsed, call: Sequence[str]) -> bool:
    """Is a call that happened among the commands that were said to happen?"""
    return any(_is(command, call) for command in parsed.commands)


def _is(command: Command, call: Sequence[str]) -> bool:
    if command.builtin or command.name != call[0]:
        return False
    # One text per word; what may become several words, or none, stands for any number of them.
    pattern = ""
    for word in command.words[1:]:
        part = "[^\0]*".join(re.escape(piece) for piece in word.shape.split(HOLE))
        if word.many:
            pattern += "(?:\0[^\0]*)*"
        else:
            pattern += f"\0{part}"
    text = "".join(f"\0{argument}" for argument in call[1:])
    return re.fullmatch(pattern, text, re.DOTALL) is not None
