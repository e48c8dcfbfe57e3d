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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from perdure.kernel.errors import Conflict

from .aside import aside, whole
from .background import Background
from .claims import Claims, Contain, launch
from .contained import Contained
from .containment import Confines, Containment
from .ending import held
from .environment import boot_id, clean_environment
from .following import Following, Outcome
from .launcher import Launcher
from .means import Choice
from .tail import Stream

OUTPUT_LIMIT = 4 << 30
"""Bytes of output kept per command; more is taken from it and dropped."""
OVERDUE = 5.0
"""Seconds beyond the time limit after which the supervisor itself is taken to be stuck."""
KEPT = 7 * 24 * 3600.0
"""Seconds that folders stay whose sessions did not come back for them."""
BACKGROUND_LIMIT = 8
"""Processes that a session may have running at once."""


def _name(key: str) -> str:
    return hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=12).hexdigest()


class SupervisedCommands:
    """Runs commands at most once per key. Implements tools.Commands."""

    def __init__(
        self,
        root: Path,
        *,
        environment: Mapping[str, str] | None = None,
        boot: str | None = None,
        output_limit: int = OUTPUT_LIMIT,
        background_limit: int = BACKGROUND_LIMIT,
        before_forgetting: Callable[[], object] = lambda: None,
    ) -> None:
        """`root`: folder `processes`, made when needed. `environment`: what commands see, by default
        the allowed part of ours. `boot`: id of this run of the machine. `background_limit`: processes
        that one session may have running at once. `before_forgetting` is called before the traces of a
        command are removed."""
        self._root, self._before_forgetting = root, before_forgetting
        seen = clean_environment(os.environ if environment is None else environment)
        self._boot = boot_id() if boot is None else boot
        self._claims = Claims(
            root=root,
            environment={**seen, **(environment or {})},
            boot=self._boot,
            output_limit=output_limit,
        )
        self._launcher = Launcher(clean_environment(os.environ))
        self.choice = Choice(root.parent / "run/sandbox.json", self._claims.environment)
        self.background = Background(self._claims, self._launcher, limit=background_limit)
        self._going: set[str] = set()
        """Keys whose folders are to be removed."""
        self._released: set[str] = set()
        """Beginnings of keys."""
        self.online = True
        self.writable: tuple[Path, ...] = ()
        """See tools.Commands."""
        self._swept = False
        self._sweeping = threading.Lock()

    def within(
        self,
        containment: Callable[[], Containment],
        confines: Callable[[], Confines] | None = None,
    ) -> Contained:
        """The same commands, each inside what `containment` says at that moment. `confines`: only the
        owner's settings, where they can be had for less."""
        return Contained(self, containment, confines, self._claims.environment, self._root)

    def folder(self, key: str) -> Path:
        return self._root / _name(key)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a command sees, but for what is its own alone."""
        return self._claims.environment

    def known(self, key: str) -> bool:
        # As text: this stands before every call that has effects.
        return os.path.exists(f"{self._root}/{_name(key)}")  # noqa: PTH110

    def running(self, key: str) -> bool:
        """Does it run still? Where that cannot be told, it does."""
        try:
            return held(self.folder(key))
        except OSError:
            return True

    def forget(self, key: str) -> None:
        """Its result is on record: remove its folder, or the next time, if its supervisor still tidies
        up."""
        if not self._going and not self.known(key):
            return  # as after most tools
        self._before_forgetting()
        self._going.add(key)
        for one in tuple(self._going):
            folder = self.folder(one)
            with contextlib.suppress(OSError):  # it cannot be told: let it stay
                if folder.exists():
                    if held(folder):
                        continue
                    shutil.rmtree(folder, ignore_errors=True)
            self._going.discard(one)

    def release(self, prefix: str = "") -> None:
        """From now on a cancelled `run` under a key that begins so leaves its command running, to be
        joined again: by the next process after an orderly shutdown, or when a session that the disk
        refused is reopened."""
        self._released.add(prefix)

    def hold(self, prefix: str) -> None:
        """Takes a `release` back."""
        self._released.discard(prefix)

    async def close(self) -> None:
        """What runs goes on."""
        await aside(self._launcher.close)
        await aside(self.background.close)

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
        contain: Contain | None = None,
    ) -> Outcome:
        """See tools.Commands. `env` is added to what commands see. `contain`: see Claims."""
        folder = self.folder(key)
        run = Following(folder, self._boot, on_output)

        def start() -> None:
            if not self._claim(folder, command, cwd, timeout, env, contain) and not resumed:
                raise Conflict(f"a command was already run under the key {key}")
            if resumed and not run.unbegun():
                return
            run.launched(again())

        def again() -> int | None:
            return launch(self._launcher, folder)

        try:
            await whole(aside(start))
            return await run.follow(timeout + OVERDUE, again)
        except asyncio.CancelledError:
            if not key.startswith(tuple(self._released)):
                await whole(run.stop())
            raise

    def _claim(
        self,
        folder: Path,
        command: str | Sequence[str],
        cwd: Path,
        timeout: float,
        env: Mapping[str, str] | None,
        contain: Contain | None = None,
    ) -> bool:
        self._sweep()
        make = self._claims.make
        return make(folder, command, cwd, timeout=timeout, env=env, contain=contain)

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
