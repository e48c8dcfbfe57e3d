"""A person, a terminal, the real server: install, talk, act, leave, come back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.agents import scaffold
from perdure.cli.place import Place
from perdure.cli.server_process import look

from .conftest import child_env, wait_for
from .tmux import needs_tmux, terminal


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A workspace with the built-in rehearsal model; its server is stopped at the end."""
    place = Place(root=tmp_path)
    scaffold(place.root)
    yield place
    found = look(place)
    if found.file is not None and found.alive:
        os.kill(found.file.pid, signal.SIGTERM)
        wait_for(lambda: not place.server_file.exists(), "the end of the server")


def perdure(place: Place, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perdure", *args],
        cwd=place.root,
        env=child_env(HOME=str(place.root)),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def test_one_command_starts_the_server_and_the_next_finds_it(place: Place) -> None:
    (place.root / "notes.txt").write_text("buy milk\n")
    ran = perdure(place, "run", "read notes.txt")
    assert ran.returncode == 0, ran.stderr
    assert "buy milk" in ran.stdout
    pid = json.loads(place.server_file.read_bytes())["pid"]
    assert place.server_file.stat().st_mode & 0o077 == 0
    status = json.loads(perdure(place, "serve", "status", "--json").stdout)
    assert (status["running"], status["pid"]) == (True, pid)
    assert perdure(place, "session", "verify", "--all").returncode == 0
    exported = perdure(place, "session", "export", "last").stdout
    assert "read notes.txt" in exported
    assert "model: rehearsal" in perdure(place, "context").stdout
    assert perdure(place, "serve", "stop").stdout == "Stopped.\n"
    assert perdure(place, "serve", "status").returncode == 1
    assert perdure(place, "run", "--session", "last", "hello").returncode == 0


def test_a_second_server_for_a_workspace_is_refused(place: Place) -> None:
    perdure(place, "serve", "--detach")
    second = perdure(place, "serve")
    assert second.returncode == 5
    assert "perdure serve stop" in second.stderr


def test_two_commands_at_once_share_one_server(place: Place) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "perdure", "run", "hello"],
            cwd=place.root,
            env=child_env(HOME=str(place.root)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    told = [one.communicate() for one in both]
    assert [one.returncode for one in both] == [0, 0], told


@needs_tmux
def test_a_killed_server_is_started_again_and_the_turn_goes_on_in_view(place: Place) -> None:
    command = "for i in 1 2 3 4; do echo tick $i | tee -a ticks; sleep 0.4; done"
    with terminal(["chat"], cwd=place.root, hurried=True, HOME=str(place.root.parent)) as it:
        it.sees("/help says")
        it.type(f"run `{command}`", "Enter")
        it.sees("Allow bash?")
        it.type("y")
        it.sees("tick 2")
        found = look(place)
        assert found.file is not None
        os.kill(found.file.pid, signal.SIGKILL)
        it.sees("exit code 0.", seconds=30)
        assert (place.root / "ticks").read_text().split() == [
            word for i in range(1, 5) for word in ("tick", str(i))
        ]
        again = look(place)
        assert again.file is not None
        assert again.file.pid != found.file.pid
        it.type("C-d")
        it.sees("EXIT 0")
    with terminal(["attach"], cwd=place.root, HOME=str(place.root)) as it:
        it.sees("exit code 0.")
        it.type("what did you do?", "Enter")
        it.sees("1 tool call")
