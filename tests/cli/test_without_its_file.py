"""A workspace whose perdure.yaml is wrong or gone: what runs there is reached, and what is kept read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.agents import Refused, scaffold
from perdure.cli.place import Gone, Place, locate, locate_server
from perdure.kernel.labels import Label
from perdure.storage.attributes import SUPPORTED, write

from .conftest import HERE, Ran, Run, child_env, wait_for

WRONG = "modle: x\n"
WEB = Label(trust="third_party", origins=("web:evil.example",))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Place]:
    """A workspace whose server, the fake one, runs."""
    place = Place(root=tmp_path / "w")
    place.root.mkdir()
    scaffold(place.root)
    server = subprocess.Popen(
        [sys.executable, str(HERE / "fake_server.py"), str(place.root)], env=child_env()
    )
    wait_for(place.server_file.exists, "the fake server")
    yield place
    server.kill()
    server.wait()


def spoil(place: Place, how: str) -> str:
    """What is said of it."""
    file = place.root / "perdure.yaml"
    if how == "wrong":
        file.write_text(WRONG)
        return "perdure.yaml:1"
    file.unlink()
    return "perdure.yaml is gone"


@pytest.mark.parametrize("how", ["wrong", "gone"])
def test_the_server_that_runs_is_reached(running: Place, how: str, perdure: Run) -> None:
    first = perdure("run", "--json", "hello", cwd=running.root)
    assert first.code == 0
    perdure("run", "edit")
    said = spoil(running, how)
    below = running.root / "sub"
    below.mkdir()
    assert perdure("serve", "status", cwd=below).code == 0
    for command in (
        ("session", "list"),
        ("session", "show"),
        ("session", "stop", "last"),
        ("approvals",),
        ("context",),
    ):
        ran = perdure(*command)
        assert ran.code == 0, (command, ran.err)
        assert said in ran.err and "Make one" not in ran.err, command
    away = perdure("-w", str(running.root), "session", "list", cwd=Path("/"))
    assert away.code == 0
    assert "the server listens" in perdure("doctor", cwd=running.root).out
    asked: list[Ran] = [perdure("run", "hello"), perdure("chat", "--plain")]
    for ran in asked:
        assert ran.code == 4 and said in ran.err and "init" not in ran.err


@pytest.mark.parametrize("how", ["wrong", "gone"])
def test_what_is_kept_is_read_without_a_server(tmp_path: Path, how: str, perdure: Run) -> None:
    place = Place(root=tmp_path)
    scaffold(tmp_path)
    perdure("token", "create", "phone", cwd=tmp_path)
    said = spoil(place, how)
    for command in (
        ("token", "list"),
        ("token", "revoke", "phone"),
        ("secrets", "list"),
        ("egress", "log"),
        ("label", "show", "."),
        ("session", "verify", "--all"),
    ):
        ran = perdure(*command)
        assert ran.code == 0 and said in ran.err, (command, ran.err)
    for refused in (("session", "list"), ("approvals",), ("run", "hello")):
        ran = perdure(*refused)
        assert ran.code == 4 and said in ran.err, (refused, ran.err)


def test_one_whose_file_is_gone_is_not_taken_for_the_homes(
    running: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    scaffold(home)
    monkeypatch.setenv("PERDURE_HOME", str(home))
    (running.root / "perdure.yaml").unlink()
    monkeypatch.chdir(running.root)
    found = locate_server(None)
    assert found.root == running.root and isinstance(found.wrong, Gone)
    assert locate(None).root == home


def test_one_within_another_workspace_is_not_taken(
    running: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (running.root / "perdure.yaml").unlink()
    scaffold(tmp_path)
    monkeypatch.chdir(running.root)
    assert locate_server(None).root == tmp_path


@pytest.mark.skipif(not SUPPORTED, reason="no extended attributes")
@pytest.mark.parametrize(("how", "name"), [("gone", ".perdure"), ("wrong", "perdure.yaml")])
def test_one_that_others_wrote_is_refused(
    running: Place, how: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    spoil(running, how)
    if not write(os.fspath(running.root / name), WEB):
        pytest.skip("no extended attributes here")
    monkeypatch.chdir(running.root)
    with pytest.raises(Refused, match="what others said"):
        locate_server(None)
