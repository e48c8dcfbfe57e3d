"""Finding the server: by its lock, not by a file that anybody may have left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.agents import scaffold
from perdure.cli import server_process
from perdure.cli.place import Place
from perdure.cli.problems import Problem

from .conftest import HERE, Run, child_env, wait_for
from .fake_server import FakeServer, hold, play


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeServer]:
    async with FakeServer(play) as server:
        server.write_file(Place(root=tmp_path).server_file)
        yield server


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "TAKEN_SECONDS", 0.2)
    monkeypatch.setattr(server_process, "PROBE_SECONDS", 0.2)


async def test_a_file_without_the_lock_is_not_trusted(server: FakeServer, tmp_path: Path) -> None:
    place = Place(root=tmp_path)
    assert await server_process.running(place) is not None
    place.server_lock.unlink()
    assert await server_process.running(place) is None
    found = server_process.look(place)
    assert (found.alive, found.held) == (False, False)


async def test_a_server_whose_file_is_gone_is_named_with_what_to_do(
    server: FakeServer, tmp_path: Path, soon: None
) -> None:
    place = Place(root=tmp_path)
    place.server_file.unlink()
    with pytest.raises(Problem, match="nothing says how to reach it") as caught:
        await server_process.ensure(place)
    assert "kill " in caught.value.hint
    assert caught.value.code == 5


def test_status_stop_and_doctor_name_a_server_whose_file_is_gone(
    tmp_path: Path, perdure: Run
) -> None:
    place = Place(root=tmp_path)
    scaffold(tmp_path)
    lock = hold(place.server_lock.parent)
    try:
        for command in ("status", "stop", "reload"):
            ran = perdure("serve", command, cwd=tmp_path)
            assert ran.code == 5, command
            assert "has this workspace" in ran.err
        assert "has this workspace" in perdure("doctor").out
    finally:
        os.close(lock)
    assert "does not run" in perdure("serve", "stop").out


def test_a_suspended_server_is_named_soon(tmp_path: Path, perdure: Run, soon: None) -> None:
    place = Place(root=tmp_path)
    scaffold(tmp_path)
    child = subprocess.Popen(
        [sys.executable, str(HERE / "fake_server.py"), str(tmp_path)], env=child_env()
    )
    try:
        wait_for(place.server_file.exists, "the fake server")
        child.send_signal(signal.SIGSTOP)
        for command in (["session", "list"], ["serve", "status"], ["serve", "stop"]):
            ran = perdure(*command, cwd=tmp_path)
            assert ran.code == 5, command
            if sys.platform == "linux":
                assert f"kill -CONT {child.pid}" in ran.err
    finally:
        child.kill()
        child.wait()


def test_a_server_whose_parent_does_not_ask_for_it_counts_as_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(root=tmp_path)
    code = "import os, time\nif (p := os.fork()) == 0: os._exit(0)\nprint(p, flush=True)\ntime.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        zombie = int(parent.stdout.readline())
        if not Path("/proc/self/stat").exists():
            pytest.skip("no /proc here")
        wait_for(lambda: not server_process.alive(zombie), "its end")
        assert server_process.gone(place, zombie)
        # Where the system does not tell, the lock does.
        monkeypatch.setattr(server_process, "_state", lambda pid: "")
        lock = hold(place.server_lock.parent)
        assert not server_process.gone(place, zombie)
        os.close(lock)
        assert server_process.gone(place, zombie)
    finally:
        parent.kill()
        parent.wait()


async def test_whoever_starts_a_server_does_not_keep_it_listed_after_its_end(
    tmp_path: Path,
) -> None:
    scaffold(tmp_path)
    server = await server_process.start(Place(root=tmp_path))
    os.kill(server.pid, signal.SIGTERM)
    wait_for(lambda: not Path(f"/proc/{server.pid}").exists(), "its end")
