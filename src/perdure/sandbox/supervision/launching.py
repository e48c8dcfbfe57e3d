"""The launcher: a process of each runtime's that forks a supervisor for every command.

It reads folders of prepared commands from its standard input, and answers with the process id of each
one's supervisor. It ends with its input; supervisors do not.

What takes long for a command of the same kind is done while nothing else is: a spare supervisor is made
when the command before it is over, or has been running for a while. Beside a command that starts, it
would slow it down: joining a group of the kernel's makes everybody's forks wait. A spare has the mounts
of the moment it was made; so with each change of the machine's they all end, and no command gets to see
what has been unmounted.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from ..walls import bounds, enter, ready
from ..walls.plan import Traits
from .mounts import Mounts
from .processes import LINUX
from .spare import Spare
from .supervisor import Supervisor, adopt, let_go

PAUSE = 0.05
"""Seconds after which a command is one that takes its time."""
KINDS = 2
"""Of commands, as their traits tell, for which a spare is kept."""
MOMENT = 0.005
"""Seconds that whoever waits for a command gets to learn of its end, before its traces are removed."""


class Launching:
    def __init__(self) -> None:
        self.news, self.tell = os.pipe()
        """On which supervisors tell of their end, and of the groups that are to be removed."""
        os.set_blocking(self.news, False)
        os.set_blocking(self.tell, False)
        self.mounts = Mounts()
        self._spares: dict[Traits, Spare] = {}
        self._wanted: dict[Traits, None] = {}
        """What there is to be a spare for, last what was last used."""
        self._due = math.inf
        """When it is time for chores."""
        self._left: list[str] = []
        self._swept: set[str] = set()

    def patience(self) -> int | None:
        """Milliseconds until there is something to be done; None: nothing is."""
        if self._due == math.inf:
            return None
        return max(0, math.ceil((self._due - time.monotonic()) * 1000))

    def start(self, folder: bytes) -> int:
        """A supervisor's process id, or the errno for which there is none, negative."""
        traits = ready.traits_in(os.fsdecode(folder))
        pid = 0
        if traits is not None:
            if self.mounts.have_changed():
                self.dismiss()
            spare = self._spares.pop(traits, None)
            if spare is not None and spare.take(folder):
                pid = spare.pid
            self._wanted.pop(traits, None)
            self._wanted[traits] = None
            self._due = time.monotonic() + PAUSE
        return pid or self._fork(folder)

    def _fork(self, folder: bytes) -> int:
        try:
            pid = os.fork()
        except OSError as error:
            return -(error.errno or errno.EAGAIN)
        if pid == 0:
            supervise(os.fsdecode(folder), self.tell)
        return pid

    def hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            told = os.read(self.news, 1 << 16)
            self._left += [os.fsdecode(name) for name in told.split(b"\0") if name]
        self._due = min(self._due, time.monotonic() + MOMENT)

    def dismiss(self) -> None:
        """All spares. New ones are made after the next command: mounts may be changing all the time."""
        for spare in self._spares.values():
            spare.dismiss()
        self._spares.clear()

    def chores(self) -> None:
        """What no command waits for."""
        if time.monotonic() < self._due:
            return
        self._due = math.inf
        self.clean()
        while len(self._wanted) > KINDS:
            oldest = next(iter(self._wanted))
            del self._wanted[oldest]
            if (spare := self._spares.pop(oldest, None)) is not None:
                spare.dismiss()
        for traits in self._wanted if self.mounts.are_told else ():
            if traits in self._spares:
                continue
            self._sweep(traits.cgroups)
            with contextlib.suppress(OSError), no_stop():  # the next one is made when it is needed
                self._spares[traits] = Spare(traits, self.tell)

    def clean(self) -> None:
        bounds.remove_groups(self._left)
        self._sweep(group.rpartition("/")[0] for group in self._left)  # whatever the walls
        self._left.clear()

    def _sweep(self, folders: Iterable[str]) -> None:
        new = set(folders) - self._swept
        bounds.sweep(sorted(new))
        self._swept |= new


@contextlib.contextmanager
def no_stop() -> Iterator[None]:
    """Who is forked meanwhile is ready for one that is sent at once before it arrives."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))


def launch() -> None:
    if LINUX:
        enter.prepared()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are nobody's zombies
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    launching = Launching()
    poller = select.poll()
    poller.register(0, select.POLLIN)
    poller.register(launching.news, select.POLLIN)
    if launching.mounts.are_told:
        poller.register(launching.mounts.fd, launching.mounts.TELLING)
    pending = b""
    while True:
        found = {fd for fd, _ in poller.poll(launching.patience())}
        if launching.mounts.fd in found:  # told once: before any spare is taken
            launching.dismiss()
        if 0 in found:
            if not (data := os.read(0, 65536)):
                break
            *folders, pending = (pending + data).split(b"\0")
            try:
                for folder in folders:
                    with no_stop():
                        pid = launching.start(folder)
                    os.write(1, b"%d\n" % pid)
            except BrokenPipeError:  # who asked is gone, as if the input had ended
                break
        if launching.news in found:
            launching.hear()
        if 0 not in found:
            launching.chores()
    launching.hear()
    launching.clean()


def supervise(folder: str, tell: int) -> NoReturn:
    """In a fork of the launcher: be a supervisor, and end."""
    code = 1
    try:
        let_go({tell})
        supervisor = Supervisor(folder, tell)
        if supervisor.claim():
            supervisor.run()
        code = 0
    finally:
        os._exit(code)


def attempt() -> None:
    """Contain one command, given as JSON, and be it: for finding out what works here."""
    spec: dict[str, Any] = json.load(sys.stdin)
    plan = spec["plan"]
    made: list[str] = []
    try:
        made = bounds.make_groups(plan["cgroups"], f"try-{os.getpid()}")
        bounds.limit_groups(made, plan["limits"])
        adopt()
        child = os.fork()
        if child == 0:
            os.setsid()
            null = os.open("/dev/null", os.O_RDONLY)
            os.dup2(null, 0)
            fault = os.dup(2)
            enter.enter(
                plan, spec["argv"], spec["cwd"], spec["env"],
                terminal=False, groups=made, fault=fault,
            )  # fmt: skip
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(ChildProcessError):
            while True:  # what it left behind is ours, and in the groups
                os.wait()
    except OSError as error:
        sys.exit(f"{error.strerror} ({error.filename or 'no file'})")
    finally:
        bounds.remove_groups(made)
    sys.exit(os.waitstatus_to_exitcode(status))
