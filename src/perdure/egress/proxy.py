"""The sandbox's way out: an HTTP proxy on a unix socket, one per session, so that it is known who asks."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from perdure.kernel.labels import UNKNOWN, Label

from .authority import Authority
from .egress import Egress
from .errors import Refused
from .message import Caller
from .session_proxy import CONNECTIONS, TOOL, SessionProxy

SOCKETS = 256
"""Sessions that are listened for at once; of more, those that were quiet the longest are let go."""
FORGOTTEN = 7 * 24 * 3600.0
"""Seconds without a command, after which a session's proxy is not taken up again."""
SOCKET, NOTE = "proxy.sock", "session.json"


class Proxies:
    """The proxies of all sessions."""

    def __init__(
        self,
        egress: Egress,
        folder: Path,
        authority: Authority,
        loop: asyncio.AbstractEventLoop,
        *,
        heard: Callable[[str, str], None] = lambda session, host: None,
        label: Callable[[str], Label] = lambda session: UNKNOWN,
        refused: Callable[[str, Refused], None] = lambda session, error: None,
    ) -> None:
        """`folder`: for the sockets, a subfolder for each session. `loop`: where requests are served.
        `heard(session, host)`: its commands are about to get something from there; blocking. What it
        raises, a PerdureError, is what they get instead. `label(session)`: of what its context holds.
        `refused(session, error)`: its commands were refused something."""
        self._label, self._refused = label, refused
        self._egress, self._folder, self._loop, self._heard = egress, folder, loop, heard
        self.authority = authority
        self._open: dict[str, SessionProxy] = {}
        self._lock = threading.Lock()

    def socket(self, session: str) -> Path:
        """Where a session's proxy listens, or would: the same after a restart, which commands that
        are still running do not notice."""
        path = self._own(session) / SOCKET
        if len(os.fsencode(path)) < 100:  # what a unix socket's address can hold
            return path
        whole = hashlib.blake2b(os.fsencode(path), digest_size=12).hexdigest()
        return Path(tempfile.gettempdir()) / f"perdure-{os.getuid()}-{whole}" / SOCKET

    def _own(self, session: str) -> Path:
        return self._folder / hashlib.blake2b(session.encode(), digest_size=8).hexdigest()

    def listen(self, session: str, agent: str) -> Path:
        """Listen for a session's commands, if nobody does yet. From any thread. Raises OSError."""
        path = self.socket(session)
        with self._lock:
            if session in self._open:
                self._open[session] = self._open.pop(session)  # the latest
                with contextlib.suppress(OSError):
                    os.utime(self._own(session) / NOTE)  # for `again`
                return path
            door = _bound(path)
            # So that a command which outlives us finds the proxy again; see `again`.
            note = self._own(session) / NOTE
            note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            note.write_text(json.dumps({"session": session, "agent": agent}))
            caller = Caller(session=session, agent=agent, tool=TOOL)
            proxy = SessionProxy(
                self._egress, self.authority, caller, self._heard, self._label, self._refused
            )
            self._open[session] = proxy
            quiet = [name for name, kept in self._open.items() if not kept.busy][:-1]
            dropped = [self._open.pop(name) for name in quiet[: len(self._open) - SOCKETS]]
        # Until it is served, connections wait in the socket's own queue.
        self._loop.call_soon_threadsafe(proxy.start, door)
        for old in dropped:
            self._loop.call_soon_threadsafe(old.stop)
        return path

    def again(self) -> None:
        """After a restart: listen where commands of the last process may still look for us. Sockets that
        another process serves are left to it."""
        for note in sorted(self._folder.glob(f"*/{NOTE}"))[:SOCKETS]:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                found = json.loads(note.read_text())
                session, agent = str(found["session"]), str(found["agent"])
                path = self.socket(session)
                if time.time() - note.stat().st_mtime > FORGOTTEN:
                    for file in (path, note):
                        file.unlink(missing_ok=True)
                    note.parent.rmdir()
                elif not _served(path):
                    self.listen(session, agent)

    async def close(self, session: str | None = None) -> None:
        """Of one session, which is over; or of all, which may go on later: nobody listens any more, and
        no connection is left."""
        for name in [session] if session is not None else list(self._open):
            with self._lock:
                proxy = self._open.pop(name, None)
            if session is not None:
                door, note = self.socket(session), self._own(session) / NOTE
                for file in (door, note):
                    with contextlib.suppress(OSError):
                        file.unlink(missing_ok=True)
                        file.parent.rmdir()
            if proxy is not None:
                await proxy.close()


def _served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(1)
        try:
            door.connect(os.fspath(path))
        except OSError:
            return False
    return True


def _bound(path: Path) -> socket.socket:
    """Nobody but its owner can reach it. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    seen = path.parent.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid():
        raise PermissionError(f"{path.parent} is not a folder of ours")
    path.parent.chmod(0o700)
    path.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        door.bind(os.fspath(path))
        path.chmod(0o600)
        door.listen(CONNECTIONS)
        door.setblocking(False)
    except OSError:
        door.close()
        raise
    return door
