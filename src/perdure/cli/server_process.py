"""Finding the workspace's background server, or starting it.

A listening server leaves `P/run/server.json` and removes it when it stops on purpose. As long as it
lives it holds the lock of `P/run/server.lock`. A file without the lock therefore means that it crashed,
and nothing is sent to where such a file points: another program may listen there by now.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from perdure.cli.place import Place
from perdure.cli.problems import SERVER, Problem

START_SECONDS = 30.0
"""How long a new server may take until it listens. On a loaded machine seconds; normally 0.5."""
PROBE_SECONDS = 2.0
TAKEN_SECONDS = 10.0
"""How long a server that holds the workspace may take until it answers: it may be starting or stopping."""
AGAIN_SECONDS = 0.1
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
    """The file is of the server that lives. False with a file means: that one crashed."""
    held: bool = False
    """A server has this workspace, even if no file says where it listens."""


def look(place: Place) -> Found:
    """Reads `server.json`, without talking to the server. A broken file counts as none."""
    taken = held(place)
    try:
        file = msgspec.json.decode(place.server_file.read_bytes(), type=ServerFile)
    except (OSError, msgspec.DecodeError):
        return Found(None, False, taken)
    of_this = taken and alive(file.pid) and holder(place) in (None, file.pid)
    return Found(file, of_this, taken)


def held(place: Place) -> bool:
    """Whether a server has this workspace."""
    try:
        lock = os.open(place.server_lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def holder(place: Place) -> int | None:
    """The process that has the workspace, where the system tells (Linux: proc_locks(5))."""
    try:
        inode = place.server_lock.stat().st_ino
        with Path("/proc/locks").open() as locks:
            for line in locks:
                fields = line.split()
                if fields[1] == "FLOCK" and fields[5].endswith(f":{inode}") and fields[4] != "0":
                    return int(fields[4])
    except (OSError, ValueError, IndexError):
        pass
    return None


def suspended(pid: int | None) -> bool:
    """Whether the process was stopped by a signal, where the system tells."""
    return _state(pid) in ("T", "t")


def _state(pid: int | None) -> str:
    """One letter (Linux: proc_pid_stat(5)); empty where the system does not tell."""
    try:
        with Path(f"/proc/{pid}/stat").open() as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def unreachable(place: Place, found: Found) -> Problem:
    """What a person should know about a server that has the workspace and cannot be talked to."""
    pid = found.file.pid if found.file is not None and found.alive else holder(place)
    who = "the server" + (f" (process {pid})" if pid else "")
    kill = f"kill {pid}" if pid else f"kill the process that `fuser {place.server_lock}` names"
    if suspended(pid):
        return Problem(
            f"{who} is suspended and does not answer.",
            hint=f"Let it go on: kill -CONT {pid}\nOr end it, losing nothing: kill -9 {pid}",
            code=SERVER,
        )
    if found.alive:
        return Problem(
            f"{who} runs but does not answer.",
            hint=f"Its log: {place.server_log}\nEnd it, losing nothing: {kill}   (or kill -9); the next "
            "command starts another",
            code=SERVER,
        )
    return Problem(
        f"{who} has this workspace, but nothing says how to reach it: "
        f"{place.server_file} is missing or not its own.",
        hint="If it is just starting or stopping: try again in a moment.\n"
        f"Else end it, losing nothing, and the next command starts another: {kill}",
        code=SERVER,
    )


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
    if not place.server_file.exists():
        return None  # without a look at the lock, which a server that starts must find free
    found = look(place)
    if found.file is not None and found.alive and await answers(found.file):
        return found.file
    return None


async def ensure(place: Place) -> ServerFile:
    """The running server, or a new one in the background. Raises Problem with the end of its log."""
    return await _holding(place) or await start(place)


async def _holding(place: Place) -> ServerFile | None:
    """The server that has the workspace, once it answers; None when none has it. Raises Problem."""
    deadline = time.monotonic() + TAKEN_SECONDS
    while (found := look(place)).held:
        if found.file is not None and found.alive:
            if await answers(found.file):
                return found.file
            if suspended(found.file.pid):
                raise unreachable(place, found)
        if time.monotonic() > deadline:
            raise unreachable(place, found)
        await asyncio.sleep(AGAIN_SECONDS)
    return None


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
            # Asked for when it ends, however long this terminal lives: else it would stay listed as a zombie.
            threading.Thread(target=child.wait, daemon=True, name="server-ended").start()
            return server
        code = child.poll()
        if code == SERVER:
            # The workspace is taken by a server that is about to listen, or about to be gone.
            taken = await _holding(place)
            if taken is not None:
                return taken
            await asyncio.sleep(AGAIN_SECONDS)
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
    """Whether a process of this id runs. One that has ended, and that its parent has not asked for, does
    not."""
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
        return _state(pid) not in ("Z", "X")
    return reaped == 0


def gone(place: Place, pid: int) -> bool:
    """Whether a server that was told to stop has. The lock says so too, for its process may stay listed
    while whoever started it does not ask for it."""
    return not alive(pid) or (_state(pid) == "" and not held(place))
