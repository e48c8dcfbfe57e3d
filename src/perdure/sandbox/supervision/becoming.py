"""In a supervisor's child: from the fork to the command, or to what builds its walls."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import struct
from typing import Any, NoReturn

from ..walls import enter
from ..walls.apart import Apart
from ..walls.marking import MARKER, mark
from .processes import LINUX

ROWS, COLUMNS = 50, 160
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True) if LINUX else None


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
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != above:
            os._exit(127)


def become(
    spec: dict[str, Any],
    streams: tuple[int, int, int],
    groups: list[str],
    fault: int,
    *,
    done: Apart | None = None,
) -> NoReturn:
    """In the child: be the command, or what starts it behind its walls."""
    try:
        execute(spec, streams, groups, fault, done)
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
    done: Apart | None,
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
        mark(env.get(MARKER, ""))
        enter.enter(plan, argv, cwd, env, terminal=typed, groups=groups, fault=fault, done=done)
    os.chdir(cwd)
    os.execvpe(argv[0], argv, env)


def complaint(spec: dict[str, Any], error: Exception) -> bytes:
    if spec["plan"] is not None:
        return enter.complaint(error)
    return b"%d" % (getattr(error, "errno", None) or errno.EIO)
