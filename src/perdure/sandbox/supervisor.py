"""The process that stands above a command. Runs as a script of its own, on the standard library alone.

Started once per runtime as a launcher: it reads folders of prepared commands from its standard input,
forks a supervisor for each and answers with its process id. It ends with its input; supervisors do not.

A supervisor owns one command: takes the folder's lock, writes `began`, starts the command in a session
of its own, stores its output, hands on its input, and writes `exit` when it is over and nothing of it
is left running. It stays outside of the sandbox; its child goes in, by what `walls` does with the plan
in the spec. All else is one file because an isolated interpreter finds no file beside it.

Invariant: a command is started only by who holds its lock and has created `began`. So asking for a
supervisor twice is harmless, and `lock` free without `exit` means: never begun, or its supervisor was
killed, as `began` tells.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import math
import os
import select
import signal
import struct
import sys
import time
from typing import Any, NoReturn

CHUNK = 1 << 18
GRACE = 0.25
"""Seconds between asking processes to end and killing them."""
LINGER = 0.25
"""Seconds that what a command left in the background gets to end by itself."""
KILLING = 2.0
"""Seconds after which processes that cannot be killed are given up."""
MAX_MARKS = 1 << 20
LOCK_TRIES = 50
MARKER = "PERDURE_PROCESS"
"""Environment variable that every process of a command inherits."""
INPUT_PIECE = 4096
"""Bytes of input taken at once; what the command does not read stays with the sender."""
END_OF_INPUT = b"\x04"
"""Ends the input of a command without a terminal; a terminal understands it by itself."""
ROWS, COLUMNS = 50, 160

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LINUX = sys.platform == "linux"
_LIBC = ctypes.CDLL(None, use_errno=True) if _LINUX else None
_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")  # noqa: PTH110


# Finding processes -------------------------------------------------------------------------------


def stat_of(pid: int) -> tuple[str, int, int] | None:
    """State, parent and session of a process; None when it is gone or cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return fields[0].decode(), int(fields[1]), int(fields[3])


def pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    except OSError:
        return []


def descendants(root: int) -> list[int]:
    """Living processes below `root`, whatever session or group they moved to."""
    if not _LINUX:
        return []
    found: list[int] = []
    if _CHILDREN:
        todo = [root]
        while todo:
            below = _children(todo.pop())
            found.extend(below)
            todo.extend(below)
    else:
        parents: dict[int, list[int]] = {}
        for pid in pids():
            if (stat := stat_of(pid)) is not None:
                parents.setdefault(stat[1], []).append(pid)
        todo = [root]
        while todo:
            below = parents.get(todo.pop(), [])
            found.extend(below)
            todo.extend(below)
    return [pid for pid in found if (stat := stat_of(pid)) is not None and stat[0] not in "ZX"]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123
                found.extend(int(child) for child in file.read().split())
        except OSError:
            continue
    return found


def send(targets: list[int], number: int) -> None:
    for pid in targets:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


# One command -------------------------------------------------------------------------------------


class Supervisor:
    def __init__(self, folder: str, waiting: Any = None) -> None:
        """`waiting`: a child that is ready for a command like this one."""
        self.folder, self.waiting = folder, waiting
        self.child = 0
        self.status: int | None = None
        """Wait status of the command itself, once it ended."""
        self.childless = False
        """Nothing below us is left, not even a zombie."""
        self.stop = False
        self.size = self.lines = self.dropped = 0
        self.limit = 0
        self.streams: dict[int, int] = {}
        """Read ends that are open, and which stream each is: 1 or 2."""
        self.stream = 0
        self.marked = 0
        self.full = False
        self.fifo = self.sink = -1
        """Where input comes from, and where it goes to; -1 without, or when it has ended."""
        self.groups: list[str] = []
        """Of the kernel, which hold the command's limits."""
        self.about = ""
        """What could not be done, where it was not executing the command."""
        self.typed = b""
        """Taken from the one and not yet by the other."""
        self.last = False
        """After `typed` the input ends."""

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
        if os.path.exists(f"{self.folder}/began"):  # noqa: PTH110
            return False
        try:
            self.prepare()
        except OSError as error:
            # A name where content may find no space; a link's target needs none of its own.
            with contextlib.suppress(OSError):
                os.symlink(str(error.errno), f"{self.folder}/problem")  # noqa: PTH211
            return False
        return True

    def prepare(self) -> None:
        with open(f"{self.folder}/spec", encoding="utf-8") as file:  # noqa: PTH123
            self.spec: dict[str, Any] = {"plan": None} | json.load(file)
        self.limit = self.spec["output_limit"]
        # What could fail for want of space comes before `began`; the exit file takes its space now,
        # so that a full disk cannot lose the outcome.
        self.exit = self.file("exit.new", os.O_WRONLY | os.O_TRUNC)
        os.write(self.exit, b" " * 1024)
        self.output = self.file("output", os.O_WRONLY | os.O_TRUNC)
        self.marks = self.file("marks", os.O_WRONLY | os.O_TRUNC)
        self.began = self.file("began.new", os.O_WRONLY | os.O_TRUNC)
        os.write(self.began, b"%d\n" % os.getpid())
        if self.spec["input"] != "none":
            with contextlib.suppress(FileExistsError):
                os.mkfifo(f"{self.folder}/input", 0o600)
            # For both directions, so that it never ends however many senders come and go.
            self.fifo = self.file("input", os.O_RDWR | os.O_NONBLOCK)
        os.rename(f"{self.folder}/began.new", f"{self.folder}/began")  # noqa: PTH104

    def run(self) -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
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
        ready = walls().ready if _LINUX else None
        if waiting is not None and (ready is None or waiting.traits != ready.traits_of(plan)):
            waiting.dismiss()
            self.waiting = waiting = None
        if plan and plan["cgroups"] and ready is not None:
            bounds = walls().bounds
            name = f"{os.getpid()}"
            self.groups = waiting.groups if waiting else bounds.make_groups(plan["cgroups"], name)
            bounds.limit_groups(self.groups, plan["limits"])

    def start(self) -> int:
        """Fork and execute the command. Returns the errno of what went wrong, or 0.
        Raises OSError only as long as there is no process."""
        if self.spec["input"] == "terminal":
            out, given = terminal()
            theirs = (given, given, given)
            self.streams = {out: 1}
            self.sink = os.dup(out)
        else:
            out, out_child = os.pipe()
            err, err_child = os.pipe()
            self.streams = {out: 1, err: 2}
            if self.spec["input"] == "pipe":
                given, self.sink = os.pipe()
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
        if self.sink >= 0:
            os.set_blocking(self.sink, False)
            self.poller.register(self.fifo, select.POLLIN)
        return int(number) if number else 0

    def begin(self, streams: tuple[int, int, int], fault: int) -> int:
        """Have a child become the command: the one that waits, or else a new one. Its process id."""
        if self.waiting is not None:
            with contextlib.suppress(OSError):
                self.waiting.give(self.folder, streams, fault)
                pid: int = self.waiting.pid
                return pid
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
            if fd == self.fifo:
                self.take()
                continue
            if fd == self.sink:
                self.give()
                continue
            try:
                data = os.read(fd, CHUNK)
            except BlockingIOError:
                continue
            except OSError:  # a terminal that was hung up
                data = b""
            if data:
                self.store(self.streams[fd], data)
            else:
                self.poller.unregister(fd)
                os.close(fd)
                del self.streams[fd]
        self.reap()
        return bool(ready)

    def take(self) -> None:
        """Take some input, and no more before the command has it."""
        try:
            self.typed = os.read(self.fifo, INPUT_PIECE)
        except BlockingIOError:
            return
        if self.spec["input"] == "pipe":
            self.typed, end, _ = self.typed.partition(END_OF_INPUT)
            self.last = bool(end)
        self.poller.unregister(self.fifo)
        self.poller.register(self.sink, select.POLLOUT)

    def give(self) -> None:
        try:
            self.typed = self.typed[os.write(self.sink, self.typed) :] if self.typed else b""
        except BlockingIOError:
            return
        except OSError:  # it reads no more
            self.typed, self.last = b"", True
        if not self.typed:
            self.poller.unregister(self.sink)
            if self.last:
                self.close_input()
            else:
                self.poller.register(self.fifo, select.POLLIN)

    def close_input(self) -> None:
        for fd in (self.sink, self.fifo):
            os.close(fd)
        self.fifo = self.sink = -1
        with contextlib.suppress(OSError):
            os.unlink(f"{self.folder}/input")  # noqa: PTH108

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

    def store(self, stream: int, data: bytes) -> None:
        keep = data if self.size + len(data) <= self.limit else data[: self.limit - self.size]
        if self.full:
            keep = b""
        self.dropped += len(data) - len(keep)
        try:
            if keep and stream != self.stream and self.marked < MAX_MARKS:
                # Before the bytes it is about, so that who follows never takes one stream for another.
                os.write(self.marks, self.size.to_bytes(8, "big") + bytes((stream,)))
                self.stream = stream
                self.marked += 9
            view = memoryview(keep)
            while view:
                written = os.write(self.output, view)
                self.size += written
                self.lines += bytes(view[:written]).count(b"\n")
                view = view[written:]
        except OSError:  # the disk is full: what has been stored stays, the rest is only counted
            self.full = True
            self.dropped += len(view) if keep else 0

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
        return self.childless and (_LINUX or not self.living())

    def living(self) -> list[int]:
        if _LINUX:
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
            "size": self.size,
            "lines": self.lines,
            "dropped": self.dropped,
            "left": left,
            "errno": problem,
            "about": self.about[:400],
        }
        with contextlib.suppress(OSError):
            os.unlink(f"{self.folder}/input")  # noqa: PTH108
        os.pwrite(self.exit, json.dumps(outcome).encode(), 0)
        os.rename(f"{self.folder}/exit.new", f"{self.folder}/exit")  # noqa: PTH104

    def tidy(self, plan: dict[str, list[str]]) -> None:
        """After the command: its groups go, and what it may not leave behind is set aside."""
        if self.groups:
            walls().bounds.remove_groups(self.groups)
        for path in plan["unwanted"]:
            # The name is out of reach of links: its folder could not be renamed by the command.
            with contextlib.suppress(OSError):
                os.lstat(path)
                os.rename(path, f"{path}.set-aside-{os.getpid()}")  # noqa: PTH104
        if plan["after"]:
            import subprocess

            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(plan["after"], timeout=10, capture_output=True, check=False)


def terminal() -> tuple[int, int]:
    """A new one: our side, and the command's."""
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    modes = termios.tcgetattr(theirs)
    modes[1] &= ~termios.ONLCR  # lines end as programs write them
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    return ours, theirs


def settle_in(above: int) -> None:
    """In a child of a supervisor: out of its group, so that `kill 0` does not reach it, and not to outlive
    it."""
    os.setsid()
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != above:
            os._exit(127)


def become(
    spec: dict[str, Any],
    streams: tuple[int, int, int],
    groups: list[str],
    fault: int,
    *,
    is_apart: bool = False,
) -> NoReturn:
    """In the child: be the command, or what starts it behind its walls."""
    try:
        execute(spec, streams, groups, fault, is_apart)
    except Exception as error:
        with contextlib.suppress(OSError):
            os.write(fault, complaint(spec, error))
    finally:
        os._exit(127)


def execute(
    spec: dict[str, Any],
    streams: tuple[int, int, int],
    groups: list[str],
    fault: int,
    is_apart: bool,
) -> None:
    for fd, given in enumerate(streams):
        os.dup2(given, fd)
    signal.set_wakeup_fd(-1)
    for number in (
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGCHLD,
        signal.SIGPIPE,
        signal.SIGXFSZ,
    ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    argv, cwd, env, plan = spec["argv"], spec["cwd"], spec["env"], spec["plan"]
    inside = plan is not None and plan["means"] in ("bubblewrap", "launcher")
    typed = spec["input"] == "terminal"
    if typed and not inside:
        import termios

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if plan is not None:
        walls().enter.enter(
            plan, argv, cwd, env, terminal=typed, groups=groups, fault=fault, is_apart=is_apart
        )
    os.chdir(cwd)
    os.execvpe(argv[0], argv, env)


def complaint(spec: dict[str, Any], error: Exception) -> bytes:
    if spec["plan"] is not None:
        said: bytes = walls().enter.complaint(error)
        return said
    return b"%d" % (getattr(error, "errno", None) or errno.EIO)


def walls() -> Any:
    """The package beside this file, which is not found by itself; loaded once, before forks."""
    if "walls" in sys.modules:
        return sys.modules["walls"]
    import importlib

    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    if here not in sys.path:
        sys.path.append(here)  # at the end: nothing here stands in for a standard module
    importlib.import_module("walls.enter")
    importlib.import_module("walls.ready")
    return importlib.import_module("walls")


# The launcher ------------------------------------------------------------------------------------


def supervise(folder: str) -> None:
    """In a fork of the launcher: be a supervisor, and end."""
    code = 1
    try:
        let_go()
        supervisor = Supervisor(folder)
        if supervisor.claim():
            supervisor.run()
        code = 0
    finally:
        os._exit(code)


def let_go() -> None:
    """Of the launcher's streams, session and folder."""
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    os.chdir("/")


class Spare:
    """A supervisor that has no command yet; see `walls.ready`. Seen from the launcher."""

    def __init__(self, traits: Any) -> None:
        """Raises OSError."""
        self.traits = traits
        orders, self._order = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(self._order)
            raise
        finally:
            if getattr(self, "pid", -1) != 0:
                os.close(orders)
        if self.pid == 0:
            os.close(self._order)
            stand_by(traits, orders)

    def take(self, folder: bytes) -> bool:
        """Have it supervise this command. False: it is not there any more."""
        try:
            os.write(self._order, folder)
        except OSError:
            return False
        finally:
            os.close(self._order)
        return True

    def dismiss(self) -> None:
        os.close(self._order)


def stand_by(traits: Any, orders: int) -> None:
    """In a fork of the launcher: have a child made ready, wait for a command, supervise it, and end."""
    code = 1
    try:
        let_go()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        above = os.getpid()
        waiting = walls().ready.Waiting(traits)
        if waiting.pid == 0:
            os.close(orders)
            settle_in(above)
            be_ready(waiting)
        folder = os.read(orders, 1 << 16)  # ends with the launcher
        os.close(orders)
        if not folder:
            waiting.dismiss()
            return
        supervisor = Supervisor(os.fsdecode(folder), waiting)
        if supervisor.claim():
            supervisor.run()
        else:
            waiting.dismiss()
        code = 0
    finally:
        os._exit(code)


def be_ready(waiting: Any) -> NoReturn:
    """In the child of one that stands by."""
    try:
        traits = waiting.traits
        walls().enter.apart(waiting.groups, userns=traits.userns, alone=traits.alone)
        given = waiting.receive()
        if given is None:
            os._exit(0)
        folder, streams, fault = given
        with open(f"{folder}/spec", encoding="utf-8") as file:  # noqa: PTH123
            spec = json.load(file)
        become(spec, streams, waiting.groups, fault, is_apart=True)
    finally:
        os._exit(127)


def launch() -> None:
    ready = None
    if _LINUX:
        walls().enter.prepared()
        ready = walls().ready
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are nobody's zombies
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    pending = b""
    spare: Spare | None = None
    swept: set[str] = set()
    while data := os.read(0, 65536):
        *folders, pending = (pending + data).split(b"\0")
        for folder in folders:
            # A stop sent at once must find the supervisor ready for it.
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
            traits = ready.traits_in(os.fsdecode(folder)) if ready else None
            pid = 0
            if spare is not None and traits is not None:
                if spare.traits != traits:
                    spare.dismiss()
                elif spare.take(folder):
                    pid = spare.pid
                spare = None
            if not pid:
                pid = fork_for(folder)
            os.write(1, b"%d\n" % pid)
            if traits is not None and spare is None:
                walls().bounds.sweep([f for f in traits.cgroups if f not in swept])
                swept.update(traits.cgroups)
                with contextlib.suppress(OSError):  # the next one is made when it is needed
                    spare = Spare(traits)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))


def fork_for(folder: bytes) -> int:
    """A supervisor's process id, or the errno for which there is none, negative."""
    try:
        pid = os.fork()
    except OSError as error:
        return -(error.errno or errno.EAGAIN)
    if pid == 0:
        supervise(os.fsdecode(folder))
    return pid


def attempt() -> None:
    """Contain one command, given as JSON, and be it: for finding out what works here."""
    spec: dict[str, Any] = json.load(sys.stdin)
    plan = spec["plan"]
    try:
        bounds = walls().bounds
        made = bounds.make_groups(plan["cgroups"], f"try-{os.getpid()}")
        bounds.limit_groups(made, plan["limits"])
        child = os.fork()
        if child == 0:
            os.setsid()
            null = os.open("/dev/null", os.O_RDONLY)
            os.dup2(null, 0)
            fault = os.dup(2)
            walls().enter.enter(
                plan, spec["argv"], spec["cwd"], spec["env"],
                terminal=False, groups=made, fault=fault,
            )  # fmt: skip
        _, status = os.waitpid(child, 0)
        bounds.remove_groups(made)
    except OSError as error:
        sys.exit(f"{error.strerror} ({error.filename or 'no file'})")
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    if sys.argv[1:] == ["try"]:
        attempt()
    else:
        launch()
