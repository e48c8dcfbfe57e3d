"""The one way out of a network of its own: a port of the loopback that leads to a unix socket outside.

It runs in the command's network but sees the files of the machine, and no process inside can see it.
"""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
# ruff: noqa: PTH112, PTH208
from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket

from . import syscalls
from .marking import mark
from .plan import PROXY_PORT
from .syscalls import PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, prctl

PIECE = 64 << 10
MOST = 256
"""Connections at once; others wait."""


class Forwarder:
    """Who hands on. It listens from the beginning on, and is told later where to."""

    def __init__(self) -> None:
        """Fork it; it ends with this process. Raises OSError."""
        door = socket.create_server(("127.0.0.1", PROXY_PORT), backlog=MOST)
        self._way, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        above = os.getpid()
        if os.fork() == 0:
            try:
                prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() == above:
                    _stand_by(door, theirs)
            finally:
                os._exit(0)
        door.close()
        theirs.close()

    @property
    def files(self) -> set[int]:
        return {self._way.fileno()}

    def lead(self, path: str, mark: str) -> None:
        """Have it hand on to the unix socket at this path, and carry this mark. Raises OSError."""
        folder, _, name = path.rpartition("/")
        # By descriptor: what lies at the path may be covered before the first connection.
        fd = os.open(folder or "/", os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY)
        try:
            told = os.fsencode(name) + b"\0" + os.fsencode(mark)
            socket.send_fds(self._way, [told], [fd], socket.MSG_NOSIGNAL)
        finally:
            os.close(fd)
            self._way.close()


def _stand_by(door: socket.socket, way: socket.socket) -> None:
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    close_all_but({0, 1, 2, door.fileno(), way.fileno()})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    syscalls.drop_capabilities()
    told, fds, _, _ = socket.recv_fds(way, 1 << 16, 1)
    way.close()
    if told and fds:
        name, _, value = told.partition(b"\0")
        mark(os.fsdecode(value))
        forward(door, f"/proc/self/fd/{fds[0]}/{os.fsdecode(name)}")


def close_all_but(kept: set[int]) -> None:
    """Descriptors that were inherited are not ours to hold open."""
    for name in os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(name))


class _Way:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source, self.target = source, target
        self.held = b""
        self.over = False
        """Nothing more comes from the source."""


def forward(door: socket.socket, path: str) -> None:
    """Hand every connection on, both ways, until we are killed."""
    door.setblocking(False)
    ways: list[_Way] = []
    while True:
        poller = select.poll()
        sockets: dict[int, socket.socket] = {}
        events: dict[int, int] = {}
        if len(ways) < 2 * MOST:
            events[door.fileno()] = select.POLLIN
        for way in ways:
            for end in (way.source, way.target):
                sockets[end.fileno()] = end
            if way.held:
                fd = way.target.fileno()
                events[fd] = events.get(fd, 0) | select.POLLOUT
            elif not way.over:
                fd = way.source.fileno()
                events[fd] = events.get(fd, 0) | select.POLLIN
        for fd, event in events.items():
            poller.register(fd, event)
        ready = dict(poller.poll())
        if door.fileno() in ready:
            ways += _accept(door, path)
        for way in ways:
            if way.held and way.target.fileno() in ready:
                _give(way)
            elif not way.held and not way.over and way.source.fileno() in ready:
                _take(way)
        ways = _still_open(ways)


def _accept(door: socket.socket, path: str) -> list[_Way]:
    try:
        inner, _ = door.accept()
    except OSError:
        return []
    outer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        outer.connect(path)
    except OSError:  # nobody is there: the connection ends at once
        inner.close()
        outer.close()
        return []
    for end in (inner, outer):
        end.setblocking(False)
    return [_Way(inner, outer), _Way(outer, inner)]


def _take(way: _Way) -> None:
    try:
        way.held = way.source.recv(PIECE)
    except BlockingIOError:
        return
    except OSError:
        way.held = b""
    if not way.held:
        way.over = True
        with contextlib.suppress(OSError):
            way.target.shutdown(socket.SHUT_WR)


def _give(way: _Way) -> None:
    try:
        way.held = way.held[way.target.send(way.held) :]
    except BlockingIOError:
        return
    except OSError:
        way.held, way.over = b"", True
        with contextlib.suppress(OSError):
            way.source.shutdown(socket.SHUT_RD)


def _still_open(ways: list[_Way]) -> list[_Way]:
    """A connection stays until both its ways are over."""
    left: list[_Way] = []
    for there, back in zip(ways[::2], ways[1::2], strict=True):
        if there.over and back.over and not there.held and not back.held:
            there.source.close()
            there.target.close()
        else:
            left += [there, back]
    return left
