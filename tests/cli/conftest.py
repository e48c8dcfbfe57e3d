from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from perdure.agents import scaffold
from perdure.cli.app import invoke
from perdure.cli.place import Place

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"


def child_env(**more: str) -> dict[str, str]:
    """Of a `perdure` started by a test: this source tree, no colours, nothing of the developer's."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "TMPDIR")}
    return {**kept, "PYTHONPATH": str(SOURCE), "LANG": "C.UTF-8", **more}


@dataclass
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A workspace whose server is the fake one, in a process of its own."""
    place = Place(root=tmp_path_factory.mktemp("workspace"))
    scaffold(place.root)
    server = subprocess.Popen(
        [sys.executable, str(HERE / "fake_server.py"), str(place.root)],
        env=child_env(),
        start_new_session=True,
    )
    wait_for(lambda: place.server_file.exists(), "the fake server")
    yield place
    server.kill()
    server.wait()


@pytest.fixture
def perdure(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line in this process."""

    def run(*args: str, cwd: Path | None = None) -> Ran:
        if cwd is not None:
            monkeypatch.chdir(cwd)
        capfd.readouterr()
        code = invoke(list(args))
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    monkeypatch.delenv("PERDURE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")
    return run


def wait_for(true: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what} did not come in {seconds:g} s"
        time.sleep(0.02)
