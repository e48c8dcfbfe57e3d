"""The way in: in the supervisor's child, from the fork to the command's first instruction."""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
from collections.abc import Mapping, Sequence
from typing import NoReturn

from . import bounds, landlock, newroot, places, seccomp, syscalls
from .apart import Apart, apart, code_of, let_go
from .forwarding import close_all_but
from .marking import MARKER, find_room
from .plan import Plan, traits_of
from .syscalls import PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, prctl

_PR_SET_DUMPABLE = 4
_USABLE = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")

_programs: dict[bool, bytes] = {}


def filter_program(*, sockets: bool = True) -> bytes:
    """For this machine; assembled once per process, before it forks for a command."""
    if sockets not in _programs:
        _programs[sockets] = seccomp.filter_for(syscalls.MACHINE, sockets=sockets)
    return _programs[sockets]


def prepared() -> None:
    """Work that every command would do again."""
    find_room()
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
    done: Apart | None = None,
) -> NoReturn:
    """Become the command, or what starts it. `groups`: made for it. `fault`: a pipe that closes when the
    command has been executed. `done`: what has been done of it. Raises OSError, naming what could not be
    done, as long as it is us."""
    argv = [*plan["wrap"], *argv]
    traits = traits_of(plan)
    if traits is not None:
        if done is None:
            done = apart(traits, groups, {fault})
        bounds.limit(plan["limits"], grouped=done.grouped, counted=plan["userns"])
        if done.forwarder is not None:
            done.forwarder.lead(plan["proxy"], env.get(MARKER, ""))
        places.hide_again(traits.base)
        places.prepare(plan["stage"])
        places.hide_again(traits.base, done.root)
        newroot.add(plan["root"], done.root)
        newroot.close(done.root)
        if plan["means"] == "bubblewrap":
            _bubblewrap(plan, argv, cwd, env, terminal, done.root)
        _first(plan, argv, cwd, env, terminal, fault, done)
    match plan["means"]:
        case "landlock":
            bounds.join(groups)
            grouped = bounds.limited_by(groups)
            bounds.limit(plan["limits"], grouped=grouped, counted=False)
            os.chdir(cwd)
            _shut(plan["read"], plan["write"], terminal, sockets=plan["network"] == "open")
            _execute(argv, env)
        case _:
            bounds.limit(plan["limits"], grouped=(), counted=False)
            os.chdir(cwd)
            _execute(argv, env)


def _bubblewrap(
    plan: Plan, argv: Sequence[str], cwd: str, env: Mapping[str, str], terminal: bool, root: str
) -> NoReturn:
    program = filter_program()
    fd = os.memfd_create("filter", 0)
    os.write(fd, program)
    os.lseek(fd, 0, os.SEEK_SET)
    args = [plan["program"], "--unshare-pid", "--cap-drop", "ALL", "--seccomp", str(fd)]
    if plan["userns"]:
        args.append("--unshare-user")
    # One mount of a root that is complete: for each it would read all there are. What is mounted in it has
    # its restrictions already. To /proc root could write the machine's settings, capabilities or not.
    args += ["--dev-bind", root, "/", "--proc", "/proc", "--remount-ro", "/proc"]
    args += ["--chdir", cwd, "--", *argv]
    if terminal:
        fcntl.ioctl(0, _tiocsctty(), 0)
    os.chdir("/")
    os.execve(args[0], args, dict(env))


def _first(
    plan: Plan,
    argv: Sequence[str],
    cwd: str,
    env: Mapping[str, str],
    terminal: bool,
    fault: int,
    done: Apart,
) -> NoReturn:
    """The first process of the command's own namespace: see `apart`."""
    tell = done.tell
    os.write(tell, os.fsencode(env.get(MARKER, "")) + b"\n")
    close_all_but({0, 1, 2, fault, tell, done.outside})
    newroot.move_into(done.root)
    command = os.fork()
    if command == 0:
        try:
            os.setsid()
            if terminal:
                fcntl.ioctl(0, _tiocsctty(), 0)
            os.chdir(cwd)
            _shut(("/",), plan["write"], terminal, are_bounded=True)
            _execute(argv, env)
        except BaseException as error:
            _complain(fault, error)
        finally:
            os._exit(127)
    os.close(fault)
    os.chdir("/")
    let_go((0, 1, 2))
    prctl(_PR_SET_DUMPABLE, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    syscalls.drop_capabilities(are_bounded=True)
    with contextlib.suppress(ChildProcessError):
        while True:
            ended, status = os.wait()
            if ended != command:
                continue
            # What the command left behind gets its moment, so we outlive the one who waits for us.
            prctl(PR_SET_PDEATHSIG, 0)
            os.write(tell, b"%d" % code_of(status))
            while os.waitpid(-1, os.WNOHANG)[0]:  # raises when nothing is left, as mostly
                pass
            _until_gone(done.outside)
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os._exit(0)


def _until_gone(process: int) -> None:
    """`process`: see `syscalls.open_process`. It has nothing left to do, and ends at the latest with the
    supervisor."""
    poller = select.poll()
    poller.register(process, select.POLLIN)
    poller.poll()


def _shut(
    read: Sequence[str],
    write: Sequence[str],
    terminal: bool,
    *,
    sockets: bool = True,
    are_bounded: bool = False,
) -> None:
    """Give up all that the command must not have; what comes after this is the command."""
    program = filter_program(sockets=sockets)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    syscalls.drop_capabilities(are_bounded=are_bounded)
    if landlock.version():
        use = [f"/dev/{name}" for name in _USABLE] + (["/proc/self/fd/0"] if terminal else [])
        landlock.restrict(read=read, write=[*write, "/dev/shm"], use=use, ports=not sockets)
    seccomp.apply(program)


def _execute(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    os.execvpe(argv[0], list(argv), dict(env))


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
