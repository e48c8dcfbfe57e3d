"""A supervisor: the one process above one command.

It takes the folder's lock, writes `began`, starts the command in a session of its own, stores its output,
hands on its input, and writes `exit` when it is over and nothing of it is left running. It stays outside of
the sandbox; its child goes in, by what `walls` does with the plan in the spec.

Invariant: a command is started only by who holds its lock and has created `began`. So asking for a
supervisor twice is harmless, and `lock` free without `exit` means: never begun, or its supervisor was
killed, as `began` tells.
"""

# Paths are texts here: many are handled for every command.
# ruff: noqa: PTH104, PTH108, PTH110, PTH123, PTH211
from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import select
import signal
import time
from typing import Any

from ..walls import bounds
from ..walls.forwarding import close_all_but
from ..walls.plan import traits_of
from ..walls.ready import Waiting
from .becoming import LIBC, become, settle_in, terminal
from .processes import LINUX, descendants, send
from .streams import Input, Output

CHUNK = 1 << 18
GRACE = 0.25
"""Seconds between asking processes to end and killing them."""
LINGER = 0.25
"""Seconds that what a command left in the background gets to end by itself."""
KILLING = 2.0
"""Seconds after which processes that cannot be killed are given up."""
LOCK_TRIES = 50
_PR_SET_CHILD_SUBREAPER = 36


class Supervisor:
    def __init__(self, folder: str, tell: int, waiting: Waiting | None = None) -> None:
        """`tell`: where the launcher hears of groups that it is to remove. `waiting`: a child that is ready
        for a command like this one."""
        self.folder, self.waiting = folder, waiting
        self.tell = tell
        self.child = 0
        self.status: int | None = None
        """Wait status of the command itself, once it ended."""
        self.childless = False
        """Nothing below us is left, not even a zombie."""
        self.stop = False
        self.streams: dict[int, int] = {}
        """Read ends that are open, and which stream each is: 1 or 2."""
        self.input: Input | None = None
        self.groups: list[str] = []
        """Of the kernel, which hold the command's limits."""
        self.about = ""
        """What could not be done, where it was not executing the command."""

    def file(self, name: str, flags: int) -> int:
        return os.open(f"{self.folder}/{name}", flags | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def claim(self) -> bool:
        """Become the one supervisor of this command, or learn that there is or was another."""
        lock = self.file("lock", os.O_RDWR)
        for _ in range(LOCK_TRIES):  # a runtime that looks whether we live holds it for a moment
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.01)
        else:
            return False
        if os.path.exists(f"{self.folder}/began"):
            return False
        try:
            self.prepare()
        except OSError as error:
            # A name where content may find no space; a link's target needs none of its own.
            with contextlib.suppress(OSError):
                os.symlink(str(error.errno), f"{self.folder}/problem")
            return False
        return True

    def prepare(self) -> None:
        with open(f"{self.folder}/spec", encoding="utf-8") as file:
            self.spec: dict[str, Any] = {"plan": None} | json.load(file)
        # What could fail for want of space comes before `began`; the exit file takes its space now,
        # so that a full disk cannot lose the outcome.
        self.exit = self.file("exit.new", os.O_WRONLY | os.O_TRUNC)
        os.write(self.exit, b" " * 1024)
        output = self.file("output", os.O_WRONLY | os.O_TRUNC)
        marks = self.file("marks", os.O_WRONLY | os.O_TRUNC)
        self.output = Output(output, marks, self.spec["output_limit"])
        self.began = self.file("began.new", os.O_WRONLY | os.O_TRUNC)
        os.write(self.began, b"%d\n" % os.getpid())
        if self.spec["input"] != "none":
            self.input = Input(f"{self.folder}/input", self.spec["input"])
        os.rename(f"{self.folder}/began.new", f"{self.folder}/began")

    def run(self) -> None:
        adopt()
        self.listen()
        started = time.monotonic()
        try:
            self.clear()
            problem = self.start()
        except OSError as error:  # no process or descriptor to be had
            problem, self.about = error.errno or errno.EIO, str(error.filename or "")
        if problem:
            self.finish("unstarted", 0.0, 0, problem)
            return
        limit = self.spec["timeout"]
        reason = self.watch(math.inf if limit is None else started + limit)
        seconds = time.monotonic() - started
        left = self.end(reason)
        self.finish(reason, seconds, left, 0)

    def listen(self) -> None:
        self.wake, wake = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self.on_stop)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self.poller = select.poll()
        self.poller.register(self.wake, select.POLLIN)

    def on_stop(self, *_: object) -> None:
        self.stop = True

    def clear(self) -> None:
        """What the command's plan wants before it: a group of its own. Raises OSError."""
        plan, waiting = self.spec["plan"], self.waiting
        if waiting is not None and waiting.traits != traits_of(plan):
            waiting.dismiss()
            self.waiting = waiting = None
        if plan and plan["cgroups"]:
            name = f"{os.getpid()}"
            self.groups = waiting.groups if waiting else bounds.make_groups(plan["cgroups"], name)
            bounds.limit_groups(self.groups, plan["limits"])

    def start(self) -> int:
        """Fork and execute the command. Returns the errno of what went wrong, or 0.
        Raises OSError only as long as there is no process."""
        sink = -1
        if self.spec["input"] == "terminal":
            out, given = terminal()
            theirs = (given, given, given)
            self.streams = {out: 1}
            sink = os.dup(out)
        else:
            out, out_child = os.pipe()
            err, err_child = os.pipe()
            self.streams = {out: 1, err: 2}
            if self.spec["input"] == "pipe":
                given, sink = os.pipe()
            else:
                given = os.open("/dev/null", os.O_RDONLY)
            theirs = (given, out_child, err_child)
        fault, fault_child = os.pipe()
        self.child = self.begin(theirs, fault_child)
        with contextlib.suppress(OSError):
            os.write(self.began, b"%d\n" % self.child)
        os.close(fault_child)
        # A terminal that nobody held open would fail to be read whenever no process has it.
        for fd in theirs if self.spec["input"] != "terminal" else ():
            os.close(fd)
        problem = os.read(fault, 512)  # ends when the command has been executed
        os.close(fault)
        number, _, about = problem.decode("utf-8", "replace").partition(" ")
        self.about = about
        for fd in self.streams:
            os.set_blocking(fd, False)
            self.poller.register(fd, select.POLLIN)
        if self.input is not None:
            self.input.begin(sink, self.poller)
        return int(number) if number else 0

    def begin(self, streams: tuple[int, int, int], fault: int) -> int:
        """Have a child become the command: the one that waits, or else a new one. Its process id."""
        if self.waiting is not None:
            with contextlib.suppress(OSError):
                self.waiting.give(self.folder, streams, fault)
                return self.waiting.pid
        above = os.getpid()
        child = os.fork()
        if child == 0:
            settle_in(above)
            become(self.spec, streams, self.groups, fault)
        return child

    def watch(self, deadline: float) -> str:
        while self.status is None:
            if self.stop:
                return "stopped"
            rest = deadline - time.monotonic()
            if rest <= 0:
                return "timeout"
            self.pump(min(rest, 3600.0))
        return "exited"

    def pump(self, seconds: float) -> bool:
        """Wait for output or news of children, take what there is. False: there was nothing."""
        ready = self.poller.poll(max(0, int(seconds * 1000) + 1))
        for fd, _ in ready:
            if fd == self.wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(fd, 4096)
                continue
            if self.input is not None and fd == self.input.fifo:
                self.input.take()
                continue
            if self.input is not None and fd == self.input.sink:
                self.input.give()
                continue
            try:
                data = os.read(fd, CHUNK)
            except BlockingIOError:
                continue
            except OSError:  # a terminal that was hung up
                data = b""
            if data:
                self.output.store(self.streams[fd], data)
            else:
                self.poller.unregister(fd)
                os.close(fd)
                del self.streams[fd]
        self.reap()
        return bool(ready)

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.childless = True
                return
            if pid == 0:
                self.childless = False
                return
            if pid == self.child:
                self.status = status

    def end(self, reason: str) -> int:
        """Leave nothing running. Returns how many processes a finished command had left behind."""
        until = time.monotonic() + LINGER
        if reason == "exited":
            while not self.gone() and not self.stop and time.monotonic() < until:
                self.pump(0.01)
        left = 0 if self.gone() else len(self.living())
        if not self.gone():
            self.kill()
        until = time.monotonic() + LINGER
        while self.streams and time.monotonic() < until and self.pump(0.0):
            pass
        return left if reason == "exited" else 0

    def gone(self) -> bool:
        self.reap()
        return self.childless and (LINUX or not self.living())

    def living(self) -> list[int]:
        if LINUX:
            return descendants(os.getpid())
        try:  # elsewhere orphans cannot be found, but the command's group can
            os.killpg(self.child, 0)
        except OSError:
            return []
        return [-self.child]

    def kill(self) -> None:
        targets = self.living()
        send(targets, signal.SIGTERM)
        send(targets, signal.SIGCONT)
        until = time.monotonic() + GRACE
        while not self.gone() and time.monotonic() < until:
            self.pump(0.01)
        until = time.monotonic() + KILLING
        while not self.gone() and time.monotonic() < until:
            stopped: set[int] = set()
            while new := [pid for pid in self.living() if pid not in stopped]:
                send(new, signal.SIGSTOP)  # what stands still cannot fork away
                stopped.update(new)
                if time.monotonic() >= until:
                    break
            send(list(stopped), signal.SIGKILL)
            self.pump(0.005)

    def finish(self, reason: str, seconds: float, left: int, problem: int) -> None:
        plan = self.spec["plan"]
        if plan:
            self.tidy(plan)
        code = None if self.status is None else os.waitstatus_to_exitcode(self.status)
        if code is not None and code < 0:
            code = 128 - code
        outcome = {
            "reason": reason,
            "code": code if reason == "exited" else None,
            "seconds": round(seconds, 6),
            "size": self.output.size,
            "lines": self.output.lines,
            "dropped": self.output.dropped,
            "left": left,
            "errno": problem,
            "about": self.about[:400],
        }
        with contextlib.suppress(OSError):
            os.unlink(f"{self.folder}/input")
        os.pwrite(self.exit, json.dumps(outcome).encode(), 0)
        os.rename(f"{self.folder}/exit.new", f"{self.folder}/exit")
        if self.groups or traits_of(plan):
            self.hand_over()

    def tidy(self, plan: dict[str, list[str]]) -> None:
        """After the command: what it may not leave behind is set aside."""
        for path in plan["unwanted"]:
            # The name is out of reach of links: its folder could not be renamed by the command.
            with contextlib.suppress(OSError):
                os.lstat(path)
                os.rename(path, f"{path}.set-aside-{os.getpid()}")
        if plan["after"]:
            import subprocess

            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(plan["after"], timeout=10, capture_output=True, check=False)

    def hand_over(self) -> None:
        """The groups are removed by the launcher: that may take long, and somebody waits for our end."""
        try:
            os.write(self.tell, b"".join(os.fsencode(g) + b"\0" for g in self.groups) or b"\0")
        except OSError:  # it has ended, or cannot keep up
            bounds.remove_groups(self.groups)


def adopt() -> None:
    """What is left behind below us becomes our own."""
    if LIBC is not None:
        LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def let_go(kept: set[int]) -> None:
    """In a fork of the launcher: of its streams and other files, of its session and folder."""
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    close_all_but({0, 1, 2, *kept})
    os.chdir("/")
