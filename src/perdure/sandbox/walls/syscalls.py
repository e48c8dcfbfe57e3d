"""System calls that Python has no function for, on x86_64 and aarch64. Each raises OSError."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable
from typing import Any

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x00020000, 0x02000000, 0x04000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = 0x08000000, 0x10000000, 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 1 << 18
MNT_DETACH = 2

AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x02, 0x04, 0x08
MOVE_F_EMPTY, MOVE_T_EMPTY = 0x04, 0x40
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4

PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 24, 22, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4

_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPSET = {"x86_64": 126, "aarch64": 91}
_PIDFD_OPEN = 434
_OPEN_TREE, _MOVE_MOUNT, _OPENAT2, _MOUNT_SETATTR = 428, 429, 437, 442
_LAST_CAP = 63
_COPY = 1 | os.O_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE
"""OPEN_TREE_CLONE and what goes with it."""

O_PATH = getattr(os, "O_PATH", 0)
MACHINE = platform.machine() if hasattr(os, "uname") else ""
_LIBC = ctypes.CDLL(None, use_errno=True)


def supported() -> bool:
    """Is this a machine whose numbers are known?"""
    return MACHINE in _PIVOT_ROOT


def _raw(*kinds: Any) -> Callable[..., int]:
    """`syscall` for arguments of these kinds; saying them once spares most of what a call costs."""
    function = _LIBC["syscall"]
    function.restype, function.argtypes = ctypes.c_long, (ctypes.c_long, *kinds)
    return function


_INT, _TEXT, _AT = ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p
_plain = _raw(*[_AT] * 5)
_openat2 = _raw(_INT, _TEXT, _AT, _INT)
_open_tree = _raw(_INT, _TEXT, _INT)
_move_mount = _raw(_INT, _TEXT, _INT, _TEXT, _INT)
_mount_setattr = _raw(_INT, _TEXT, _INT, _AT, _INT)
_prctl: Any = getattr(_LIBC, "prctl", None)
"""Not on macOS, where these modules are imported all the same."""
if _prctl is not None:
    _prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


def call(number: int, *args: Any) -> int:
    """Any other; integers and addresses."""
    words = [a if isinstance(a, int) else ctypes.addressof(a) for a in args]
    return _done(_plain(number, *words, *[0] * (5 - len(words))))


def _done(done: int, what: str = "") -> int:
    if done < 0:
        _fail(what)
    return done


def _fail(what: str = "") -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), what or None)


def open_process(pid: int) -> int:
    """A descriptor that can be read from when this process has ended, and what it leaves behind has been
    told so and has another parent. Python's own is not in all builds."""
    return _done(_plain(_PIDFD_OPEN, pid, 0, 0, 0, 0), f"process {pid}")


def unshare(flags: int) -> None:
    if _LIBC.unshare(ctypes.c_int(flags)) < 0:
        _fail("new namespaces")


def prctl(option: int, *args: int) -> None:
    if _prctl(option, *args, *[0] * (4 - len(args))) < 0:
        _fail(f"prctl {option}")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = [os.fsencode(w) if w else None for w in (source, target, kind)]
    done = _LIBC.mount(*words, ctypes.c_ulong(flags), os.fsencode(data) if data else None)
    if done < 0:
        _fail(f"mount {kind or 'flags'} on {target}")


def unmount(target: str) -> None:
    if _LIBC.umount2(os.fsencode(target), MNT_DETACH) < 0:
        _fail(f"unmount {target}")


def pivot_root(new: str, old: str) -> None:
    words = [ctypes.create_string_buffer(os.fsencode(w)) for w in (new, old)]
    call(_PIVOT_ROOT[MACHINE], *words)


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_PLAINLY = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH


def open_plainly(folder: int, path: str, flags: int = O_PATH) -> int:
    """Open what lies at a path below a folder, with no link on the way and none at its end."""
    how = _How(flags | os.O_CLOEXEC, 0, _PLAINLY)
    at = ctypes.addressof(how)
    return _done(_openat2(_OPENAT2, folder, os.fsencode(path), at, ctypes.sizeof(how)), path)


class _Attributes(ctypes.Structure):
    _fields_ = tuple((n, ctypes.c_uint64) for n in ("set", "clear", "propagation", "userns"))


def clone_tree(fd: int) -> int:
    """A copy of the mounts at and below an open path, belonging nowhere yet."""
    return _done(_open_tree(_OPEN_TREE, fd, b"", _COPY), "copy of a mount")


def restrict(fd: int, attributes: int, *, below: bool = True) -> None:
    """Add attributes to a mount, and to those below it."""
    wanted = _Attributes(attributes)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if below else 0)
    at = ctypes.addressof(wanted)
    size = ctypes.sizeof(wanted)
    _done(_mount_setattr(_MOUNT_SETATTR, fd, b"", flags, at, size), "attributes of a mount")


def attach(tree: int, place: int) -> None:
    """Put a copy made by `clone_tree` on an open path."""
    _done(_move_mount(_MOVE_MOUNT, tree, b"", place, b"", MOVE_F_EMPTY | MOVE_T_EMPTY), "mount")


def bound_capabilities() -> None:
    """No program that is executed from now on can gain any; those that there are stay."""
    for capability in range(_LAST_CAP + 1):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break  # beyond the last one this kernel knows, or there are none to be had


def drop_capabilities(*, are_bounded: bool = False) -> None:
    """All of them, for good. `are_bounded`: `bound_capabilities` has been called."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    if not are_bounded:
        bound_capabilities()
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    call(_CAPSET[MACHINE], header, (ctypes.c_uint32 * 6)())
