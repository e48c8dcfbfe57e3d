"""Runtimes of their own that start processes, to be killed, and other things these tests share."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from perdure.sandbox.supervision.processes import pids, stat_of

BACKGROUND = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from perdure.sandbox import ProcessWatch, SupervisedCommands

    async def told(session, text, key):
        with open(sys.argv[1] + "/told", "a") as file:
            file.write(key + "\\n")

    async def main():
        root, command, notify = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
        commands = SupervisedCommands(root / "processes")
        watch = ProcessWatch(commands.background, told)
        await watch.start()
        if command:
            await commands.background.start("s_1", command, key="k", cwd=root, notify=notify)
        (root / "started").touch()
        await asyncio.sleep(60)

    asyncio.run(main())
""")


def background_runtime(root: Path, command: str, notify: str = "") -> subprocess.Popen[bytes]:
    """Starts this in the background, then waits to be killed."""
    return subprocess.Popen([sys.executable, "-c", BACKGROUND, str(root), command, notify])


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def alive_with(mark: str) -> list[int]:
    """Processes whose command line holds this text."""
    found = []
    for pid in pids():
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            stat = stat_of(pid)
            if mark.encode() in line and stat is not None and stat[0] not in "ZX":
                found.append(pid)
    return found


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come true"
        await asyncio.sleep(0.01)
