"""Finding the workspace's background server, or starting it.

A listening server leaves `P/run/server.json` and removes it when it stops on purpose; a file whose
process is gone therefore means that it crashed.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import msgspec

from perdure.cli.place import Place
from perdure.cli.problems import SERVER, Problem

START_SECONDS = 30.0
"""How long a new server may take until it listens. On a loaded machine seconds; normally 0.5."""
PROBE_SECONDS = 2.0
AGAIN_SECONDS = 0.3
LOG_LINES = 20


class ServerFile(msgspec.Struct, frozen=True, kw_only=True):
    """What the terminal reads of `server.json`."""

    pid: int
    url: str
    token: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    file: ServerFile | None
    alive: bool
    """Its process exists. False with a file means: it crashed."""


def look(place: Place) -> Found:
    """Reads `server.json`, without talking to the server. A broken file counts as none."""
    try:
        file = msgspec.json.decode(place.server_file.read_bytes(), type=ServerFile)
    except (OSError, msgspec.DecodeError):
        return Found(None, False)
    return Found(file, alive(file.pid))


async def answers(server: ServerFile) -> bool:
    """Whether it says so itself; guards against a process id used again by another program."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=PROBE_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(f"{server.url.rstrip('/')}/livez") as response,
        ):
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def running(place: Place) -> ServerFile | None:
    found = look(place)
    if found.file is not None and found.alive and await answers(found.file):
        return found.file
    return None


async def ensure(place: Place) -> ServerFile:
    """The running server, or a new one in the background. Raises Problem with the end of its log."""
    return await running(place) or await start(place)


async def start(place: Place) -> ServerFile:
    """A new server in the background; or the one that another terminal started just now."""
    place.server_log.parent.mkdir(parents=True, exist_ok=True)
    begins = place.server_log.stat().st_size if place.server_log.exists() else 0
    child = _spawn(place)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        server = await running(place)
        if server is not None:
            if server.pid != child.pid and child.poll() is None:
                child.terminate()  # another terminal's was first
            return server
        code = child.poll()
        if code == SERVER:
            # The workspace is taken by a server that is about to listen, or about to be gone.
            await asyncio.sleep(AGAIN_SECONDS)
            if not look(place).alive:
                child = _spawn(place)
        elif code is not None:
            raise Problem(
                f"the workspace's server did not start (exit code {code}).",
                log=log_end(place, begins),
                hint=f"The whole log: {place.server_log}\nSee it start in the foreground: perdure serve",
                code=SERVER,
            )
        await asyncio.sleep(0.02)
    child.terminate()
    raise Problem(
        f"the workspace's server did not listen within {START_SECONDS:.0f} seconds.",
        log=log_end(place, begins),
        hint=f"The whole log: {place.server_log}",
        code=SERVER,
    )


def _spawn(place: Place) -> subprocess.Popen[bytes]:
    """Detached: it outlives this terminal, and its Ctrl-C is not ours."""
    with place.server_log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "perdure", "--workspace", str(place.root), "serve"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=place.root,
            start_new_session=True,
        )


def log_end(place: Place, begins: int = 0) -> str:
    """The last lines of the server's log, from the byte `begins` on."""
    try:
        with place.server_log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(begins, size - 16_384))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-LOG_LINES:])


def alive(pid: int) -> bool:
    """Whether a process of this id runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A server that died as our own child stays a zombie until it is reaped.
    try:
        reaped, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True
    return reaped == 0
