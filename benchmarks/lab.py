"""Where measurements are made: scratch folders, the model server, a fresh process for each run."""

from __future__ import annotations

import compileall
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .meter import Facts
from .peers.environment import Peers, install

ROOT = Path(__file__).parent.parent
PLACE = ROOT / ".bench"
"""On the disk of the repository, not in /tmp, which may be memory and sync for nothing."""


class Failed(Exception):
    """A run gave no result; the message says why."""


@dataclass(kw_only=True)
class Contestant:
    name: str
    kind: str
    """perdure, floor or peer."""
    go: Callable[[], Facts]
    """One run. Raises Failed."""
    runs: int
    results: list[Facts] = field(default_factory=list)
    skipped: str = ""

    def median(self, fact: str) -> float | None:
        values = self.values(fact)
        return statistics.median(values) if values else None

    def values(self, fact: str) -> list[float]:
        return sorted(r[fact] for r in self.results if fact in r)


@dataclass(frozen=True, kw_only=True)
class Column:
    fact: str
    title: str
    digits: int = 2


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What the design demands of Perdure."""

    who: str
    fact: str
    least: float | None = None
    most: float | None = None
    times: str = ""
    """The limit is this contestant's value, `most` times."""


@dataclass(kw_only=True)
class Row:
    key: str
    title: str
    about: str
    columns: list[Column]
    contestants: list[Contestant]
    limits: list[Limit]

    def run(self, say: Callable[[str], None]) -> None:
        """In turns, so that a noisy minute hits all of them."""
        for n in range(max((c.runs for c in self.contestants), default=0)):
            for contestant in self.contestants:
                if n < contestant.runs and not contestant.skipped:
                    say(f"{self.key}: {contestant.name} ({n + 1}/{contestant.runs})")
                    try:
                        contestant.results.append(contestant.go())
                    except Failed as error:
                        contestant.skipped = str(error)


class Lab:
    def __init__(self, url: str, scratch: Path, peers: Peers | None, *, quick: bool) -> None:
        self.url, self.peers, self.quick = url, peers, quick
        self._scratch = scratch
        home = scratch / "home"
        home.mkdir()
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "TERM")}
        self._env = kept | {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
            "OPENAI_API_KEY": "none",
            "AGNO_TELEMETRY": "false",
            "OPENAI_AGENTS_DISABLE_TRACING": "1",
            "LANGSMITH_TRACING": "false",
        }

    def runs(self, full: int) -> int:
        return max(1, full // 3) if self.quick else full

    def folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._scratch))

    def house(self, *, stream: bool = True) -> Path:
        from .house import prepare

        return prepare(self.folder(), self.url, stream=stream)

    def call(
        self,
        module: str,
        function: str,
        *,
        peer: bool = False,
        seconds: float = 400,
        **given: object,
    ) -> Facts:
        """`benchmarks.<module>.<function>(**given)` in a process of its own."""
        python = sys.executable
        if peer:
            assert self.peers is not None
            python = str(self.peers.python)
        argv = [python, "-m", "benchmarks.child", module, function, json.dumps(given)]
        try:
            done = subprocess.run(
                argv,
                cwd=self._scratch,
                env=self._env,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"not done after {seconds:.0f} s") from None
        if done.returncode != 0:
            raise Failed(_reason(done.stderr) or f"exit code {done.returncode}")
        facts: Facts = json.loads(done.stdout.splitlines()[-1])
        return facts


def _reason(said: str) -> str:
    """The error of a traceback, which libraries may have complained after."""
    lines = said.strip().splitlines()
    errors = [
        line
        for line in lines
        if re.match(r"[\w.]+(Error|Exception|NotFound|Locked|Damaged): ", line)
    ]
    return (errors or lines or [""])[-1][:300]


class Seed:
    """A folder that is made once, when first wanted, and can be put back to what it was then."""

    def __init__(self, lab: Lab, folder: Path, make: Callable[[Path], Facts]) -> None:
        self._folder, self._make = folder, make
        self._copy = lab.folder()
        self._facts: Facts | None = None

    def kept(self) -> tuple[Path, Facts]:
        """As the runs before have left it. Raises Failed."""
        if self._facts is None:
            self._facts = self._make(self._folder)
        return self._folder, self._facts

    def fresh(self) -> tuple[Path, Facts]:
        """As it was made. Raises Failed."""
        if self._facts is None:
            self._facts = self._make(self._folder)
            shutil.copytree(self._folder, self._copy, dirs_exist_ok=True)
        else:
            shutil.rmtree(self._folder)
            shutil.copytree(self._copy, self._folder)
        return self._folder, self._facts


@contextlib.contextmanager
def opened(*, quick: bool, with_peers: bool) -> Iterator[Lab]:
    PLACE.mkdir(exist_ok=True)
    (PLACE / ".gitignore").write_text("*\n")
    peers = install(PLACE / "peers") if with_peers else None
    # As an installation is; what was edited since would be compiled at every start.
    compileall.compile_dir(ROOT / "src" / "perdure", quiet=2)
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=PLACE))
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.model_server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None and server.stdout is not None
    try:
        port = int(server.stdout.readline())
        yield Lab(f"http://127.0.0.1:{port}/v1", scratch, peers, quick=quick)
    finally:
        server.stdin.close()
        server.wait(10)
        shutil.rmtree(scratch, ignore_errors=True)
