"""Commands inside of walls, for tests: a working folder, and the backends that there are."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path

import pytest

from perdure.sandbox import Confines, Contained, Containment, Outcome, SupervisedCommands
from perdure.sandbox.containment import Backend
from perdure.sandbox.environment import clean_environment
from perdure.sandbox.means import attempt, candidates
from perdure.sandbox.supervision.processes import descendants
from perdure.sandbox.walls.marking import MARKER, ROOM

BACKENDS: tuple[Backend, ...] = ("bubblewrap", "launcher")
_works: dict[str, str] = {}


def needs(backend: Backend) -> None:
    """Skip, and say why, where it does not work."""
    if sys.platform != "linux":
        pytest.skip("Linux only")
    if backend == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed (Debian: apt-get install bubblewrap)")
    if backend not in _works:
        found = [m for m in candidates(backend) if m.name == backend]
        tried = attempt(found[0], clean_environment(os.environ), Confines())
        _works[backend] = "" if tried.works else tried.said
    if _works[backend]:
        pytest.skip(f"{backend} does not work here: {_works[backend]}")


def environment_of(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []


def namespace(pid: int | str, kind: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


class Inside:
    """A session's commands, contained."""

    def __init__(self, root: Path, backend: Backend, **confines: object) -> None:
        self.root = root
        self.work = root / "work"
        self.work.mkdir(exist_ok=True)
        self.commands = SupervisedCommands(root / "state/processes")
        self.confines = Confines(backend=backend, **confines)  # type: ignore[arg-type]
        self.proxy: Path | None = None
        self.control: tuple[Path, ...] = ()
        self._count = 0

    def session(self, name: str = "s_1") -> Contained:
        return self.commands.within(
            lambda: Containment(
                session=name,
                workdir=self.work,
                control=self.control,
                confines=self.confines,
                proxy_socket=self.proxy,
            )
        )

    def standing_by(self, mounted: str = "") -> list[int]:
        """Processes that are apart and have no command yet; with this mounted."""
        launcher = self.commands._launcher._process
        below = descendants(launcher.pid) if launcher else []
        own = namespace("self", "net")
        found = []
        for pid in below:
            with contextlib.suppress(OSError):
                apart = namespace(pid, "net") != own
                mounts = Path(f"/proc/{pid}/mounts").read_text()
                waits = f"{MARKER}={ROOM}".encode() in environment_of(pid)
                if apart and waits and mounted in mounts:
                    found.append(pid)
        return found

    async def run(
        self, command: str, *, session: str = "s_1", key: str = "", timeout: float = 30.0
    ) -> Outcome:
        self._count += 1
        key = key or f"{self.root}-{self._count}"
        return await self.session(session).run(command, key=key, cwd=self.work, timeout=timeout)

    async def says(self, command: str, *, session: str = "s_1") -> str:
        """What it prints; it must succeed."""
        outcome = await self.run(command, session=session)
        text = outcome.output.read_text()
        assert (outcome.state, outcome.exit_code) == ("exited", 0), (outcome, text)
        return text.strip()
