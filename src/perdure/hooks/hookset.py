"""All hooks of one agent, kept current with its files, and how well each of them does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from perdure.kernel.ports import HookPoint

from .command import CommandHook
from .declare import DEFAULT_TIMEOUT, Declaration, declare
from .load import BrokenHook, HookFile, PythonHook, load, stamp_of
from .points import BLOCKING
from .side import Side

LOOK_EVERY = 1.0
"""Seconds between looks at the files."""
PATIENCE = 3
"""Failures in a row after which a hook is left alone for a while."""
FIRST_REST, LONGEST_REST = 30.0, 600.0
"""Seconds; each further failure doubles it."""

AnyHook = PythonHook | BrokenHook | CommandHook


class Entry:
    """A hook in its place, with its record of failures."""

    __slots__ = ("declaration", "failures", "hook", "resting_until")

    def __init__(self, hook: AnyHook, declaration: Declaration) -> None:
        self.hook, self.declaration = hook, declaration
        self.failures = 0
        self.resting_until = 0.0

    def succeeded(self) -> None:
        self.failures, self.resting_until = 0, 0.0

    def failed(self, now: float) -> float:
        """Seconds it will be left alone from now; 0 while there is patience."""
        self.failures += 1
        if self.failures < PATIENCE:
            return 0.0
        rest = min(LONGEST_REST, FIRST_REST * 2.0 ** (self.failures - PATIENCE))
        self.resting_until = now + rest
        return rest


class HookSet:
    """Shared by the sessions of an agent.

    `folders`: where hook files are, the workspace's before the agent's. `commands`: what the
    configuration names now. `cwd`: where commands run; by default the folder that holds the
    `.perdure` of the first of `folders`.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        commands: Callable[[], Sequence[CommandHook]] = tuple,
        *,
        cwd: Path | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folders, self._commands = tuple(folders), commands
        self.cwd = cwd or (self._folders[0].parent.parent if self._folders else Path.cwd())
        self.monotonic = monotonic
        self.side = Side()
        self._files: dict[Path, HookFile] = {}
        self._entries: dict[AnyHook, Entry] = {}
        self._at: dict[HookPoint, tuple[Entry, ...]] = {}
        self._errors: tuple[str, ...] = ()
        self._look_at = float("-inf")

    @property
    def errors(self) -> tuple[str, ...]:
        """What is wrong with hook files and command hooks, by `file:line: what`."""
        return self._errors

    def at(self, point: HookPoint) -> tuple[Entry, ...]:
        """The hooks of a point, in order: the workspace's files, the agent's, then commands."""
        now = self.monotonic()
        if now >= self._look_at:
            self._look()
            self._look_at = now + LOOK_EVERY
        return self._at.get(point, ())

    def reload(self) -> list[str]:
        """Look at the files now. Returns what is wrong with them."""
        self._look()
        self._look_at = self.monotonic() + LOOK_EVERY
        return list(self._errors)

    def close(self) -> None:
        self.side.close()

    def _look(self) -> None:
        files: dict[Path, HookFile] = {}
        for path in self._found():
            known = self._files.get(path)
            try:
                stamp = stamp_of(path)
            except OSError:
                continue  # it went between listing and looking
            if known is None or known.stamp != stamp:
                known = load(path, stamp, known)
            files[path] = known
        self._files = files
        errors = [file.error for file in files.values() if file.error]
        hooks: list[tuple[AnyHook, Declaration]] = [
            (hook, hook.declaration) for file in files.values() for hook in file.hooks
        ]
        for command in self._commands():
            try:
                hooks.append((command, command.declaration))
            except ValueError as error:
                errors.append(f"hook {command.command!r} on {command.on}: {error}")
                if command.fail == "closed" and command.on in BLOCKING:
                    declaration = declare(command.on, fail="closed", timeout=DEFAULT_TIMEOUT)
                    broken = BrokenHook(name=command.name, declaration=declaration, why=str(error))
                    hooks.append((broken, declaration))
        # Unchanged hooks are equal, so their record of failures stays.
        entries = {hook: self._entries.get(hook) or Entry(hook, what) for hook, what in hooks}
        self._entries = entries
        at: dict[HookPoint, list[Entry]] = {}
        for entry in entries.values():
            at.setdefault(entry.declaration.on, []).append(entry)
        self._at = {point: tuple(there) for point, there in at.items()}
        self._errors = tuple(errors)

    def _found(self) -> list[Path]:
        found: list[Path] = []
        for folder in self._folders:
            try:
                names = sorted(path for path in folder.iterdir() if path.suffix == ".py")
            except OSError:
                continue  # there need be no such folder
            found += [path for path in names if not path.name.startswith(("_", "."))]
        return found
