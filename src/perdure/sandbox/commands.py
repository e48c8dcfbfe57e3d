"""Supervised commands, seen from the runtime: claim, launch, follow, join again, stop."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from perdure.kernel.errors import Conflict

from .ending import held
from .environment import boot_id, clean_environment
from .following import Following, Outcome
from .launcher import Launcher
from .supervisor import MARKER
from .tail import Stream

T = TypeVar("T")

OUTPUT_LIMIT = 4 << 30
"""Bytes of output kept per command; more is taken from it and dropped."""
OVERDUE = 5.0
"""Seconds beyond the time limit after which the supervisor itself is taken to be stuck."""
KEPT = 7 * 24 * 3600.0
"""Seconds that folders stay whose sessions did not come back for them."""
LONG_COMMAND = 100_000
"""Bytes beyond which a command is passed in a file: systems limit the length of an argument."""


class SupervisedCommands:
    """Runs commands at most once per key. Implements tools.Commands."""

    def __init__(
        self,
        root: Path,
        *,
        environment: Mapping[str, str] | None = None,
        boot: str | None = None,
        output_limit: int = OUTPUT_LIMIT,
    ) -> None:
        """`root`: folder `processes`, made when needed. `environment`: what commands see, by default
        the allowed part of ours. `boot`: id of this run of the machine."""
        self._root = root
        self._environment = clean_environment(os.environ if environment is None else environment)
        if environment is not None:
            self._environment.update(environment)
        self._boot = boot_id() if boot is None else boot
        self._limit = output_limit
        self._launcher = Launcher(clean_environment(os.environ))
        self._released = False
        self._swept = False
        self._sweeping = threading.Lock()

    def folder(self, key: str) -> Path:
        name = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=12).hexdigest()
        return self._root / name

    def known(self, key: str) -> bool:
        return self.folder(key).exists()

    def forget(self, key: str) -> None:
        """Its result is on record: remove its folder, unless it still runs."""
        folder = self.folder(key)
        if folder.exists() and not held(folder):
            shutil.rmtree(folder, ignore_errors=True)

    def release(self) -> None:
        """From now on a cancelled `run` leaves its command running, to be joined by the next process:
        for an orderly shutdown."""
        self._released = True

    async def close(self) -> None:
        await asyncio.to_thread(self._launcher.close)

    async def run(
        self,
        command: str | Sequence[str],
        *,
        key: str,
        cwd: Path,
        timeout: float,
        on_output: Callable[[Stream, str], None] | None = None,
        resumed: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Outcome:
        """See tools.Commands. `env` is added to what commands see."""
        folder = self.folder(key)
        run = Following(folder, self._boot, on_output)

        def start() -> None:
            if not self._claim(folder, command, cwd, timeout, env) and not resumed:
                raise Conflict(f"a command was already run under the key {key}")
            if resumed and not run.unbegun():
                return
            run.launched(self._launcher.launch(folder))

        try:
            await _whole(asyncio.to_thread(start))
            return await run.follow(timeout + OVERDUE, lambda: self._launcher.launch(folder))
        except asyncio.CancelledError:
            if not self._released:
                await _whole(run.stop())
            raise

    def _claim(
        self,
        folder: Path,
        command: str | Sequence[str],
        cwd: Path,
        timeout: float,
        env: Mapping[str, str] | None,
    ) -> bool:
        """Make the folder with what is to be run in it. False: it was there."""
        self._sweep()
        fresh = True
        try:
            folder.mkdir(mode=0o700)
        except FileNotFoundError:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(mode=0o700)
        except FileExistsError:
            fresh = False
        if (folder / "spec").exists():
            return fresh
        process = folder.name
        spec = {
            "argv": self._argv(command, folder),
            "cwd": os.fspath(cwd),
            "env": {**self._environment, **(env or {}), "PWD": os.fspath(cwd), MARKER: process},
            "timeout": timeout,
            "output_limit": self._limit,
            "boot": self._boot,
            "created": time.time(),
        }
        new = folder / "spec.new"
        new.write_text(json.dumps(spec), encoding="utf-8")
        new.rename(folder / "spec")
        return fresh

    def _argv(self, command: str | Sequence[str], folder: Path) -> list[str]:
        if not isinstance(command, str):
            return list(command)
        path = self._environment["PATH"]
        shell = shutil.which("bash", path=path) or shutil.which("sh", path=path) or "/bin/sh"
        if len(data := command.encode("utf-8", "replace")) <= LONG_COMMAND:
            return [shell, "-c", data.decode()]
        script = folder / "command"
        script.write_bytes(data)
        return [shell, os.fspath(script)]

    def _sweep(self) -> None:
        """Once, remove what commands of an earlier run of the machine left behind.

        Invariant: while the machine has not gone down, only `forget` removes a folder: without it the
        command would be run again. After that a missing folder means "in doubt" (PolicyGate.recovery).
        """
        with self._sweeping:
            if self._swept:
                return
            self._swept = True
        before = time.time() - KEPT
        with contextlib.suppress(OSError):
            for folder in list(self._root.iterdir()):
                with contextlib.suppress(OSError, ValueError):
                    spec = folder / "spec"
                    if (
                        spec.stat().st_mtime < before
                        and json.loads(spec.read_bytes())["boot"] != self._boot
                        and not held(folder)
                    ):
                        shutil.rmtree(folder, ignore_errors=True)


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    """Finish this even when cancelled meanwhile; only then raise CancelledError."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
            cancelled = True
        except BaseException:
            break
    if cancelled:
        task.exception()
        raise asyncio.CancelledError
    return task.result()
