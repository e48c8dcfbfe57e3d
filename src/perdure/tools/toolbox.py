"""The registry: which tools an agent has. Owner's tool files are loaded, and reloaded when they change."""

from __future__ import annotations

import difflib
import errno
import importlib.util
import os
import stat
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import msgspec

from perdure.kernel.prompt import ToolSchema

from . import wasm
from .base import FAULTS, Tool
from .bash import Bash
from .edit import Edit
from .extract import Extract
from .isolation import Isolation
from .manifest import MODULES, SUFFIX, Wrong
from .process import Process
from .read import Read
from .schema import tool_schema
from .write import Write

CORE_TOOLS: tuple[type[Tool], ...] = (Read, Write, Edit, Bash, Process, Extract)
MAX_SOURCE = 4 << 20
"""Bytes of a tool file."""


class ToolFileError(msgspec.Struct, frozen=True, kw_only=True):
    """A tool file that could not be used; its last good version, if any, stays in use."""

    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        return (
            f"{self.file}:{self.line}: {self.message}"
            if self.line
            else f"{self.file}: {self.message}"
        )


@dataclass(slots=True)
class _File:
    stamp: tuple[int, ...]
    """Modification time in ns and size, of the version tried last; those of its module as well."""
    tools: tuple[type[Tool], ...] = ()
    error: ToolFileError | None = None


@dataclass(slots=True)
class Toolbox:
    """Tools by name. Later folders override earlier ones; a core tool cannot be overridden."""

    core: Sequence[type[Tool]] = CORE_TOOLS
    folders: Sequence[Path] = ()
    """Each may hold `*.py` with classes deriving from Tool, and WebAssembly modules with a `*.tool.yaml`
    beside them; a missing folder is an empty one."""
    also: Callable[[], Sequence[type[Tool]]] = tuple
    """Core tools that come and go with the owner's configuration."""
    isolation: Isolation = field(default_factory=Isolation)
    """Threads for those of its tools that may block."""
    _files: dict[Path, _File] = field(default_factory=dict)
    _tools: dict[str, type[Tool]] = field(default_factory=dict)
    _extra: tuple[type[Tool], ...] = ()
    _schemas: tuple[ToolSchema, ...] | None = None
    _clashes: tuple[ToolFileError, ...] = ()
    _generation: int = 0

    def __post_init__(self) -> None:
        self._collect()
        self.refresh()

    def get(self, name: str) -> type[Tool] | None:
        return self._tools.get(name)

    def names(self) -> tuple[str, ...]:
        return tuple(self._tools)

    def nearest(self, name: str) -> str | None:
        found = difflib.get_close_matches(name.lower(), self._tools, 1, cutoff=0.5)
        return found[0] if found else None

    def schemas(self) -> tuple[ToolSchema, ...]:
        """For the model, in a stable order. Picks up changed tool files first."""
        self.refresh()
        if self._schemas is None:
            self._schemas = tuple(tool_schema(t) for t in self._tools.values())
        return self._schemas

    @property
    def errors(self) -> tuple[ToolFileError, ...]:
        """What is wrong with the owner's tool files now."""
        broken = tuple(f.error for f in self._files.values() if f.error)
        return broken + self._clashes + self._unusable()

    def _unusable(self) -> tuple[ToolFileError, ...]:
        modules = [p for p, f in self._files.items() if f.tools and p.name.endswith(SUFFIX)]
        if not modules or wasm.installed():
            return ()
        return tuple(ToolFileError(file=p, line=0, message=wasm.NOT_INSTALLED) for p in modules)

    def refresh(self) -> bool:
        """Load what is new or changed, forget what is gone. True if the set of tools changed."""
        present: dict[Path, tuple[int, ...]] = {}
        for folder in self.folders:
            try:
                paths = sorted(p for p in folder.iterdir() if _holds_tools(p))
            except OSError:
                continue
            for path in paths:
                try:
                    stat = path.stat()
                except OSError:
                    continue
                present[path] = (stat.st_mtime_ns, stat.st_size)
                if path.name.endswith(SUFFIX):
                    present[path] += wasm.stamps(path)
        if {p: f.stamp for p, f in self._files.items()} == present:
            return tuple(self.also()) != self._extra and self._collect()
        files: dict[Path, _File] = {}
        for path, stamp in present.items():
            known = self._files.get(path)
            files[path] = (
                known if known and known.stamp == stamp else self._load(path, stamp, known)
            )
        self._files = files
        return self._collect()

    def _load(self, path: Path, stamp: tuple[int, ...], before: _File | None) -> _File:
        if path.suffix != ".py":
            return _load_module(path, stamp, before)
        self._generation += 1
        name = f"perdure_owner_tools.{path.stem}_{abs(hash(path)):x}_{self._generation}"
        try:
            tools = _import(name, path)
        except FAULTS as error:
            kept = before.tools if before else ()
            return _File(stamp, kept, _describe(path, error))
        return _File(stamp, tools)

    def _collect(self) -> bool:
        self._extra = tuple(self.also())
        core = (*self.core, *self._extra)
        tools = {t.name: t for t in core}
        clashes = []
        for path, file in self._files.items():
            for tool in file.tools:
                if tool.name in tools and tools[tool.name] in core:
                    message = (
                        f"{tool.__name__}: {tool.name} is a core tool; give yours another name"
                    )
                    clashes.append(ToolFileError(file=path, line=0, message=message))
                else:
                    tools[tool.name] = tool
        changed = tools != self._tools
        self._clashes = tuple(clashes)
        if changed:
            self._tools, self._schemas = tools, None
        return changed


def _holds_tools(path: Path) -> bool:
    """A module belongs to the manifest beside it; without one it is looked at for the error alone."""
    if path.name[0] in "._":
        return False
    alone = path.suffix in MODULES and not path.with_suffix(SUFFIX).exists()
    return path.suffix == ".py" or path.name.endswith(SUFFIX) or alone


def _load_module(path: Path, stamp: tuple[int, ...], before: _File | None) -> _File:
    try:
        if not path.name.endswith(SUFFIX):
            raise Wrong(f"no manifest is beside it: write {path.with_suffix(SUFFIX).name}")
        return _File(stamp, (wasm.load(path),))
    except Wrong as wrong:
        error = ToolFileError(file=path, line=wrong.line, message=str(wrong))
    except FAULTS as fault:
        error = _describe(path, fault)
    return _File(stamp, before.tools if before else (), error)


def _import(name: str, path: Path) -> tuple[type[Tool], ...]:
    """Run a tool file as a module of its own and return the tools it defines."""
    module = ModuleType(name)
    module.__file__ = str(path)
    spec = importlib.util.spec_from_file_location(name, path)
    module.__spec__ = spec
    # Compiled here, not by the import system: its bytecode cache sees only whole seconds.
    code = compile(_source(path), str(path), "exec")
    sys.modules[name] = module  # annotations are looked up there
    try:
        exec(code, module.__dict__)  # noqa: S102  # the owner's own code, from a folder tools cannot write
        tools = []
        for value in list(module.__dict__.values()):
            if isinstance(value, type) and issubclass(value, Tool) and value.__module__ == name:
                if value.execute is Tool.execute or value.__name__.startswith("_"):
                    continue
                value.model_rebuild()
                tool_schema(value)
                tools.append(value)
    except BaseException:
        del sys.modules[name]
        raise
    return tuple(tools)


def _source(path: Path) -> bytes:
    """Raises OSError for what is no regular file, such as a pipe, which would never end; ValueError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with os.fdopen(fd, "rb", closefd=False) as file:
            source = file.read(MAX_SOURCE + 1)
    finally:
        os.close(fd)
    if len(source) > MAX_SOURCE:
        raise ValueError(f"is larger than {MAX_SOURCE:,} bytes")
    return source


def _describe(path: Path, error: BaseException) -> ToolFileError:
    line = 0
    if isinstance(error, SyntaxError) and error.filename == str(path):
        line = error.lineno or 0
    else:
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename == str(path):
                line = frame.lineno or 0
    try:
        what = error.msg if isinstance(error, SyntaxError) else str(error)
    except FAULTS:
        what = "(what it says cannot be shown)"
    return ToolFileError(file=path, line=line, message=f"{type(error).__name__}: {what}")
