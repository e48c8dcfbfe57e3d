"""The way in: in the supervisor's child, from the fork to the command's first instruction."""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn

from . import bounds, forwarding, landlock, newroot, places, seccomp, syscalls
from .plan import Plan
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
_PR_SET_DUMPABLE = 4
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_USABLE = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")

_programs: dict[bool, bytes] = {}


def filter_program(*, sockets: bool = True) -> bytes:
    """For this machine; assembled once per process, before it forks for a command."""
    if sockets not in _programs:
        _programs[sockets] = seccomp.filter_for(syscalls.MACHINE, sockets=sockets)
    return _programs[sockets]


def prepared() -> None:
    """Work that every command would do again."""
    if syscalls.supported():
        filter_program()


def enter(
    plan: Plan,
    argv: Sequence[str],
    cwd: str,
    env: Mapping[str, str],
    *,
    terminal: bool,
    groups: Sequence[str],
    fault: int,
    is_apart: bool = False,
) -> NoReturn:
    """Become the command, or what starts it. `groups`: made for it. `fault`: a pipe that closes when the
    command has been executed. `is_apart`: `apart` has been called. Raises OSError, naming what could not
    be done, as long as it is us."""
    argv = [*plan["wrap"], *argv]
    match plan["means"]:
        case "bubblewrap" | "launcher":
            if not is_apart:
                apart(groups, userns=plan["userns"], alone=plan["network"] != "open")
            bounds.limit(plan["limits"], groups=groups, counted=plan["userns"])
            if plan["means"] == "bubblewrap":
                # Before anybody is forked who is to be killed by us, or by our death.
                prctl(PR_SET_NO_NEW_PRIVS, 1)
                landlock.scope()
            if plan["proxy"]:
                forwarding.begin(plan["proxy"])
            places.prepare(plan["stage"])
            if plan["means"] == "bubblewrap":
                _bubblewrap(plan, argv, cwd, env, terminal)
            _launch(plan, argv, cwd, env, terminal, fault)
        case "landlock":
            bounds.join(groups)
            bounds.limit(plan["limits"], groups=groups, counted=False)
            os.chdir(cwd)
            _shut(plan["read"], plan["write"], terminal, sockets=plan["network"] == "open")
            _execute(argv, env)
        case _:
            bounds.limit(plan["limits"], groups=groups, counted=False)
            os.chdir(cwd)
            _execute(argv, env)


def apart(groups: Sequence[str], *, userns: bool, alone: bool) -> None:
    """Into the groups, and into namespaces of our own, with what the machine has mounted still in view."""
    bounds.join(groups)
    user, group = os.getuid(), os.getgid()
    flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | (CLONE_NEWNET if alone else 0)
    syscalls.unshare(flags | (CLONE_NEWUSER if userns else 0))
    if userns:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    socket.sethostname(NAME)
    syscalls.mount("none", "/", "", MS_REC | MS_PRIVATE)
    if alone:
        _loopback()


def _loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_one:
        asked = struct.pack("16sH22x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(any_one, _SIOCGIFFLAGS, asked), 16)
        fcntl.ioctl(any_one, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def _bubblewrap(
    plan: Plan, argv: Sequence[str], cwd: str, env: Mapping[str, str], terminal: bool
) -> NoReturn:
    program = filter_program()
    fd = os.memfd_create("filter", 0)
    os.write(fd, program)
    os.lseek(fd, 0, os.SEEK_SET)
    args = [plan["program"], "--unshare-pid", "--cap-drop", "ALL", "--seccomp", str(fd)]
    if plan["userns"]:
        args.append("--unshare-user")
    names = {"ro": "--ro-bind", "rw": "--bind", "symlink": "--symlink", "tmpfs": "--tmpfs"}
    for kind, *paths in plan["root"]:
        if kind in ("proc", "dev"):
            args += [f"--{kind}", f"/{kind}"]
        else:
            args += [names[kind], *paths]
    # Root could write to the machine's settings, capabilities or not.
    args += ["--remount-ro", "/", "--remount-ro", "/proc", "--chdir", cwd, "--", *argv]
    if terminal:
        fcntl.ioctl(0, _tiocsctty(), 0)
    os.chdir("/")
    os.execve(args[0], args, dict(env))


def _launch(
    plan: Plan,
    argv: Sequence[str],
    cwd: str,
    env: Mapping[str, str],
    terminal: bool,
    fault: int,
) -> NoReturn:
    """Stand outside, hand on how the command ended."""
    # The supervisor's lock would outlive it in us, and the command's input would never end.
    forwarding.close_all_but({0, 1, 2, fault})
    told, tell = os.pipe()
    # Who forwards stays behind in the mounts that there were: moving the root would take it along.
    syscalls.unshare(CLONE_NEWPID | (CLONE_NEWNS if plan["proxy"] else 0))
    first = os.fork()
    if first == 0:
        try:
            os.close(told)
            _first(plan, argv, cwd, env, terminal, fault, tell)
        except BaseException as error:
            _complain(fault, error)
        finally:
            os._exit(127)
    # What is asked to end is the command; we end with it.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    _let_go((0, 1, 2))
    os.close(fault)
    os.close(tell)
    said = os.read(told, 8)
    if not said:
        _, status = os.waitpid(first, 0)
        said = b"%d" % _code(status)
    os._exit(int(said))


def _first(
    plan: Plan,
    argv: Sequence[str],
    cwd: str,
    env: Mapping[str, str],
    terminal: bool,
    fault: int,
    tell: int,
) -> NoReturn:
    """The first process of the command's own namespace: when it ends, so does all that is in there."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    newroot.build(plan["root"], plan["stage"][0][1])
    command = os.fork()
    if command == 0:
        try:
            os.setsid()
            if terminal:
                fcntl.ioctl(0, _tiocsctty(), 0)
            os.chdir(cwd)
            _shut(("/",), plan["write"], terminal)
            _execute(argv, env)
        except BaseException as error:
            _complain(fault, error)
        finally:
            os._exit(127)
    os.close(fault)
    os.chdir("/")
    _let_go((0, 1, 2))
    prctl(_PR_SET_DUMPABLE, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    syscalls.drop_capabilities()
    with contextlib.suppress(ChildProcessError):
        while True:
            ended, status = os.wait()
            if ended != command:
                continue
            # What the command left behind gets its moment, so we outlive the one who waits for us.
            prctl(PR_SET_PDEATHSIG, 0)
            os.write(tell, b"%d" % _code(status))
            while os.waitpid(-1, os.WNOHANG)[0]:  # raises when nothing is left, as mostly
                pass
            _until_closed(tell)
            time.sleep(0.05)  # its files are closed a moment before it is gone
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os._exit(0)


def _until_closed(pipe: int) -> None:
    import select

    poller = select.poll()
    poller.register(pipe, 0)
    poller.poll(1000)


def _shut(
    read: Sequence[str], write: Sequence[str], terminal: bool, *, sockets: bool = True
) -> None:
    """Give up all that the command must not have; what comes after this is the command."""
    program = filter_program(sockets=sockets)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    syscalls.drop_capabilities()
    if landlock.version():
        use = [f"/dev/{name}" for name in _USABLE] + (["/proc/self/fd/0"] if terminal else [])
        landlock.restrict(read=read, write=[*write, "/dev/shm"], use=use, ports=not sockets)
    seccomp.apply(program)


def _execute(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    os.execvpe(argv[0], list(argv), dict(env))


def _let_go(streams: Sequence[int]) -> None:
    """Nobody may wait for output that we shall never write."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in streams:
        os.dup2(null, fd)
    os.close(null)


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _complain(fault: int, error: BaseException) -> None:
    with contextlib.suppress(OSError):
        os.write(fault, complaint(error))


def complaint(error: BaseException) -> bytes:
    """What a supervisor is told of a failure before the command: an errno, and about what."""
    number = getattr(error, "errno", None) or 5
    about = getattr(error, "filename", None) or (
        "" if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    )
    return f"{number} {about}".encode("utf-8", "replace")[:400]


def _tiocsctty() -> int:
    import termios

    return termios.TIOCSCTTY


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
