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
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            self._door.close()
            self._door = theirs
        else:
            theirs.close()

    def give(self, folder: str, streams: tuple[int, int, int], fault: int) -> None:
        """Have it become the command of this folder. Raises OSError: it is not there any more."""
        socket.send_fds(self._door, [os.fsencode(folder)], [*streams, fault], socket.MSG_NOSIGNAL)
        self._door.close()

    @property
    def files(self) -> set[int]:
        """In the child: what `receive` needs."""
        return {self._door.fileno()}

    def receive(self) -> tuple[str, tuple[int, int, int], int] | None:
        """In the child: what `give` was given; None when nobody will."""
        data, fds, _, _ = socket.recv_fds(self._door, 1 << 16, 4)
        self._door.close()
        if not data or len(fds) != 4:
            return None
        for fd in fds:
            os.set_inheritable(fd, False)
        return os.fsdecode(data), (fds[0], fds[1], fds[2]), fds[3]

    def dismiss(self) -> None:
        """Whoever calls this has no other children, and inherits those of the child's."""
        with contextlib.suppress(OSError):
            self._door.close()
            os.kill(self.pid, signal.SIGKILL)
            while True:  # until there are none
                os.wait()
        bounds.remove_groups(self.groups)
