"""Readers of what strangers made run apart: in a process with an empty environment, which may use little and
is then gone. A file can be made to keep its reader busy for ever, or to fill the memory, or to break it.

A reader is a script that stands for itself: it imports nothing of Perdure, takes bytes on its standard
input and gives bytes on its standard output. When it has loaded its library and read its input, it gives
up, see `confine`, to open files and sockets and to start processes. This is no sandbox: it runs as the
same user, and for root the system does not count processes.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

SECONDS = 30
MISSING = 3
"""Exit code of a reader whose library is not installed."""


class Unreadable(Exception):
    """Why nothing could be read."""


async def read_apart(script: Path, data: bytes, *arguments: str) -> bytes:
    """What a reader makes of it. Raises Unreadable."""
    code, out = await run_apart(script, data, *arguments, seconds=SECONDS)
    if code == MISSING:
        raise Unreadable("the library that reads it is not installed; install Perdure again")
    if code != 0:
        raise Unreadable("it is damaged, or made so that it is too much work to read")
    return out


async def run_apart(
    script: Path, data: bytes, *arguments: str, seconds: float
) -> tuple[int, bytes]:
    """Exit code, negative for a signal, and output. Raises Unreadable when it takes too long."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(script),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        cwd="/",
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            out, _ = await process.communicate(data)
    except TimeoutError:
        raise Unreadable("reading it took too long") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode or 0, out
