"""Landlock: rules on files that hold whatever is mounted; the second layer, or the only one there is."""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterable

from .syscalls import call

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION = 1
_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
REFER, TRUNCATE, IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
_FIRST = (1 << 13) - 1
READ = EXECUTE | READ_FILE | READ_DIR
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
_DEVICE = 1 << 6 | 1 << 11
"""Making device nodes of characters and blocks."""
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1, 2
BIND, CONNECT = 1, 2


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("ports", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Rule(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """Of the kernel's Landlock; 0 without."""
    try:
        return call(_CREATE, 0, 0, _VERSION)
    except OSError:
        return 0


def known(abi: int) -> int:
    """All rights on files that this version can rule on."""
    rights = _FIRST
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEVICE)):
        if abi >= since:
            rights |= right
    return rights


def scopes(abi: int) -> int:
    return SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS if abi >= 6 else 0


def restrict(
    *, read: Iterable[str], write: Iterable[str], use: Iterable[str], ports: bool = False
) -> None:
    """From now on: what is below `read` can be read and executed, below `write` changed too, the
    files and devices of `use` written to as well; nothing else can be opened. What is not there is
    left out. `ports`: no connection of TCP either. The caller has promised to gain no privileges.
    Raises OSError without Landlock."""
    abi = version()
    if not abi:
        raise OSError(38, "this kernel has no Landlock")
    rights = known(abi)
    wanted = _Ruleset(files=rights, ports=(BIND | CONNECT) if ports and abi >= 4 else 0)
    wanted.scoped = scopes(abi)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = call(_CREATE, wanted, size, 0)
    try:
        for paths, access in (
            (read, READ),
            (write, rights & ~_DEVICE),
            (use, (READ | WRITE_FILE | IOCTL_DEVICE | TRUNCATE) & rights),
        ):
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    _allow(ruleset, path, access)
        call(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def scope() -> bool:
    """Signals and abstract sockets stay among this process and those it starts. Files are not touched
    on, so that mounting goes on being possible. False: this kernel cannot."""
    abi = version()
    if not scopes(abi):
        return False
    wanted = _Ruleset(scoped=scopes(abi))
    ruleset = call(_CREATE, wanted, 24, 0)
    try:
        call(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: str, access: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            access &= _OF_FILES
        call(_ADD, ruleset, _BENEATH, _Rule(access=access, parent=fd), 0)
    finally:
        os.close(fd)
