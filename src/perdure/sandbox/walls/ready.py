"""A child that is made before its command is known, so that the slow part of its walls has been done.

Joining a group of the kernel's and making namespaces take longer than most commands. So beside each
launcher waits one supervisor without a command, and its child, already apart: what they wait for is a
folder, and the streams. Who receives them is the child or, where it is the first process of a namespace
of processes, its own: see `apart`.
"""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
# ruff: noqa: PTH123
from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket

from . import bounds
from .plan import Traits, traits_of


def traits_in(folder: str) -> Traits | None:
    """Of the command prepared in a folder."""
    try:
        with open(f"{folder}/spec", encoding="utf-8") as file:
            return traits_of(json.load(file).get("plan"))
    except (OSError, ValueError, KeyError):
        return None


class Waiting:
    """The child, seen from its supervisor."""

    def __init__(self, traits: Traits) -> None:
        """Forks. In the child this returns with `pid` 0. Raises OSError."""
        self.traits = traits
        self.groups = bounds.make_groups(traits.cgroups, f"ready-{os.getpid()}")
        try:
            self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.pid = os.fork()
        except OSError:
            bounds.remove_groups(self.groups)
            raise
        if self.pid == 0:
            self._door.close()
            self._door = theirs
        else:
            theirs.close()

    def give(self, folder: str, streams: tuple[int, int, int], fault: int) -> None:
        """Have it become the command of this folder. Raises OSError: it has not, and never will; it was
        gone before, or came to its end on the way, as when a wall of its failed."""
        with self._door:
            told = [os.fsencode(folder)]
            socket.send_fds(self._door, told, [*streams, fault], socket.MSG_NOSIGNAL)
            # Without its word a closed `fault` could mean an end before the command as well.
            if not self._door.recv(1):
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    @property
    def files(self) -> set[int]:
        """In the child: what `receive` needs."""
        return {self._door.fileno()}

    def receive(self) -> tuple[str, tuple[int, int, int], int] | None:
        """In the child: what `give` was given; None when nobody will."""
        data, fds, _, _ = socket.recv_fds(self._door, 1 << 16, 4)
        if not data or len(fds) != 4:
            return None
        for fd in fds:
            os.set_inheritable(fd, False)
        return os.fsdecode(data), (fds[0], fds[1], fds[2]), fds[3]

    def accept(self) -> None:
        """In the child, once it has all it needs: from here on it tells of a failure on `fault`, and nobody
        else becomes the command. Raises OSError."""
        with self._door:
            self._door.send(b"+", socket.MSG_NOSIGNAL)

    def dismiss(self) -> None:
        """Whoever calls this has no other children, and inherits those of the child's."""
        with contextlib.suppress(OSError):
            self._door.close()
            os.kill(self.pid, signal.SIGKILL)
            while True:  # until there are none
                os.wait()
        bounds.remove_groups(self.groups)
