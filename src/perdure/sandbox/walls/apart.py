"""What can be done before a command is known, by who is to become it: the slow part of its walls.

Its groups, its namespaces, what all commands of this machine have hidden from them, and, where it is not
bubblewrap that does it, the beginning of the root that it will see.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from . import bounds, landlock, newroot, places, syscalls
from .forwarding import Forwarder, close_all_but
from .marking import mark
from .plan import Traits
from .syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_PRIVATE,
    MS_REC,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    prctl,
)

NAME = "sandbox"
"""Of the machine, as commands see it."""
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


@dataclass(slots=True)
class Apart:
    traits: Traits
    grouped: frozenset[str]
    """See `bounds.limited_by`."""
    forwarder: Forwarder | None
    tell: int = -1
    """On which the one who stands outside is told the command's mark and a newline, then how it ended."""
    outside: int = -1
    """By which it is known when that one is gone: see `syscalls.open_process`."""
    root: str = ""
    """Where the root has been begun."""


def apart(traits: Traits, groups: Sequence[str], kept: set[int]) -> Apart:
    """Into the groups, and into namespaces of our own. Where it is not bubblewrap that builds the root, this
    returns in a new process, the first of its namespace of processes, and we stand outside until it ends
    and hand on how the command did. `kept`: files that it needs of ours. Raises OSError."""
    bounds.join(groups)
    grouped = bounds.limited_by(groups)
    _into_namespaces(userns=traits.userns, alone=traits.alone)
    if traits.means == "bubblewrap":
        # Before anybody is forked who is to be killed by us, or by our death.
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        landlock.scope()
    forwarder = Forwarder() if traits.proxied else None
    places.prepare(traits.base)
    done = Apart(traits, grouped, forwarder)
    if traits.means == "launcher":
        _into_first(done, kept)
    done.root = newroot.begin(traits.system, traits.base[0][1])
    return done


def _into_namespaces(*, userns: bool, alone: bool) -> None:
    """What the machine has mounted is still in view."""
    user, group = os.getuid(), os.getgid()
    flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | (CLONE_NEWNET if alone else 0)
    syscalls.unshare(flags | (CLONE_NEWUSER if userns else 0))
    if userns:
        bounds.write("/proc/self/setgroups", "deny")
        bounds.write("/proc/self/uid_map", f"{user} {user} 1")
        bounds.write("/proc/self/gid_map", f"{group} {group} 1")
    socket.sethostname(NAME)
    syscalls.mount("none", "/", "", MS_REC | MS_PRIVATE)
    if alone:
        _loopback()


def _loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_one:
        asked = struct.pack("16sH22x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(any_one, _SIOCGIFFLAGS, asked), 16)
        fcntl.ioctl(any_one, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def _into_first(done: Apart, kept: set[int]) -> None:
    told, done.tell = os.pipe()
    done.outside = syscalls.open_process(os.getpid())
    syscalls.unshare(CLONE_NEWPID)
    first = os.fork()
    if first:
        _stand_outside(first, told)
    # When it ends, so does all that is in its namespace.
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.close(told)
    syscalls.bound_capabilities()
    if done.forwarder is not None:
        # It stays behind in the mounts that there were: moving the root would take it along.
        syscalls.unshare(CLONE_NEWNS)
    # Above all the supervisor's lock would outlive it in us, and the command's input would never end.
    forwarding = done.forwarder.files if done.forwarder is not None else ()
    close_all_but({0, 1, 2, done.tell, done.outside, *kept, *forwarding})


def _stand_outside(first: int, told: int) -> NoReturn:
    """Hand on how the command ended."""
    code = 127
    try:
        # What is asked to end is the command; we end with it.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        let_go((0, 1, 2))
        close_all_but({0, 1, 2, told})
        said = _told(told)
        code = int(said) if said else code_of(os.waitpid(first, 0)[1])
    finally:
        os._exit(code)


def _told(pipe: int) -> bytes:
    """How the command ended; nothing when its first process ended without a word. Before that it tells of
    the mark that we shall carry as well."""
    said = b""
    while data := os.read(pipe, 1 << 10):
        said += data
        first, is_marked, rest = said.partition(b"\n")
        if is_marked and first:
            mark(os.fsdecode(first))
            said = b"\n" + rest
        if is_marked and rest:
            return rest
    return b""


def let_go(streams: Sequence[int]) -> None:
    """Nobody may wait for output that we shall never write."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in streams:
        os.dup2(null, fd)
    os.close(null)


def code_of(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
