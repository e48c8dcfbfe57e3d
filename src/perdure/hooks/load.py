"""Reads hook files. A file that is broken keeps its last good version; one that has none, but says that
something in it fails closed, stands for a hook that always fails: what it would have guarded is blocked
until somebody mends it (S1)."""

from __future__ import annotations

import errno
import os
import re
import stat
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import msgspec

from perdure.kernel.ports import HookPoint

from .declare import DEFAULT_TIMEOUT, MARK, Declaration, Handler, declare
from .points import BLOCKING

MAX_SOURCE = 4 << 20


class PythonHook(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """`file.py:function`"""
    declaration: Declaration
    handler: Handler


class BrokenHook(msgspec.Struct, frozen=True, kw_only=True):
    """Stands where a guard would, in a file that cannot be read."""

    name: str
    declaration: Declaration
    why: str


class HookFile(msgspec.Struct, frozen=True, kw_only=True):
    path: Path
    stamp: tuple[int, int]
    """Modification time in ns and size, to see changes by."""
    hooks: tuple[PythonHook | BrokenHook, ...] = ()
    error: str = ""
    """`file:line: what`"""


def stamp_of(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


def load(path: Path, stamp: tuple[int, int], last: HookFile | None) -> HookFile:
    """Run the file and collect what it declares. Never raises."""
    source = ""
    try:
        source = _source(path)
        hooks = _declared(path, source)
    except Exception as error:
        why = _where(path, error)
        kept = last.hooks if last is not None else _guards(path, source, why)
        return HookFile(path=path, stamp=stamp, hooks=kept, error=why)
    return HookFile(path=path, stamp=stamp, hooks=hooks)


def _source(path: Path) -> str:
    """Raises OSError for what is no regular file, such as a pipe, which would never end."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with os.fdopen(fd, encoding="utf-8", closefd=False) as file:
            source = file.read(MAX_SOURCE + 1)
    finally:
        os.close(fd)
    if len(source) > MAX_SOURCE:
        raise ValueError(f"is larger than {MAX_SOURCE:,} characters")
    return source


def _declared(path: Path, source: str) -> tuple[PythonHook, ...]:
    module = ModuleType(f"perdure_hook_{path.stem}")
    module.__file__ = str(path)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - the owner's own code
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        raise RuntimeError(f"the file ended itself ({type(error).__name__})") from error
    found: list[PythonHook] = []
    for function in module.__dict__.values():
        own = getattr(function, "__module__", None) == module.__name__
        declarations: tuple[Declaration, ...] = getattr(function, MARK, ()) if own else ()
        found += [
            PythonHook(name=f"{path.name}:{function.__name__}", declaration=one, handler=function)
            for one in declarations
        ]
    return tuple(found)


_CLOSED = re.compile(r"""\bfail\s*=\s*["']closed["']""")


def _guards(path: Path, source: str, why: str) -> tuple[BrokenHook, ...]:
    """Hooks for what a file that cannot be run seems to guard. Of one that cannot even be read it is
    supposed that it guards the tools."""
    if source and not _CLOSED.search(source):
        return ()
    points: list[HookPoint] = [
        point for point in get_args(HookPoint) if point in BLOCKING and point in source
    ]
    return tuple(
        BrokenHook(
            name=path.name,
            declaration=declare(point, fail="closed", timeout=DEFAULT_TIMEOUT),
            why=why,
        )
        for point in points or ["before_tool"]
    )


def _where(path: Path, error: Exception) -> str:
    """`file:line: what went wrong`, the line being the last one of the owner's file."""
    if isinstance(error, SyntaxError):
        line: Any = error.lineno or 0
        what = error.msg
    else:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(frames) if f.filename == str(path)), 0)
        what = f"{type(error).__name__}: {error}"
    return f"{path}:{line}: {what}" if line else f"{path}: {what}"
