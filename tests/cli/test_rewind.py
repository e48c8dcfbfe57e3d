"""`perdure rewind` on the real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from perdure.agents import scaffold
from perdure.cli.place import Place
from perdure.cli.server_process import look

from .conftest import child_env, wait_for

SCRIPT = """\
replies:
  - calls:
      - {tool: write, arguments: {path: one.txt, content: "one\\n"}}
  - text: The first is written.
  - calls:
      - {tool: bash, arguments: {command: "echo two > two.txt; rm mine.txt"}}
  - text: The second, too.
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(root=tmp_path_factory.mktemp("workspace"))
    (place.root / "script.yaml").write_text(SCRIPT)
    scaffold(place.root, model=f"script:{place.root / 'script.yaml'}")
    (place.state / "policy.yaml").write_text("mode: auto\n")
    yield place
    found = look(place)
    if found.file is not None and found.alive:
        os.kill(found.file.pid, signal.SIGTERM)
        wait_for(lambda: not place.server_file.exists(), "the end of the server")


def perdure(place: Place, *args: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perdure", *args],
        cwd=place.root,
        env=child_env(HOME=str(place.root)),
        capture_output=True,
        text=True,
        input=said,
    )


@pytest.fixture(scope="module")
def talked(place: Place) -> str:
    """Two turns that changed files, one of them by a shell command."""
    (place.root / "mine.txt").write_text("mine")
    ran = perdure(place, "run", "--json", "write the first")
    assert ran.returncode == 0, ran.stderr
    id_ = str(json.loads(ran.stdout)["session"])
    ran = perdure(place, "run", "-s", id_, "and the second")
    assert ran.returncode == 0, ran.stderr
    return id_


@pytest.fixture
def session(place: Place, talked: str) -> str:
    """That session, with the files as its last turn left them."""
    (place.root / "one.txt").write_text("one\n")
    (place.root / "two.txt").write_text("two\n")
    (place.root / "mine.txt").unlink(missing_ok=True)
    return talked


def events(place: Place, id_: str) -> list[dict[str, Any]]:
    shown = perdure(place, "session", "show", id_, "--events").stdout
    return [json.loads(line) for line in shown.splitlines()]


def files(place: Place) -> set[str]:
    return {p.name for p in place.root.iterdir() if p.suffix == ".txt"}


def points(place: Place, id_: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        perdure(place, "rewind", id_, "--list", "--json").stdout
    )
    return found


def test_the_last_turn_is_undone_and_that_too(place: Place, session: str) -> None:
    ran = perdure(place, "rewind", session, "--files", "--yes")
    assert ran.returncode == 0, ran.stderr
    assert "+ mine.txt" in ran.stdout and "- two.txt" in ran.stdout
    assert "2 changes done" in ran.stdout
    assert files(place) == {"one.txt", "mine.txt"}
    back = perdure(place, "rewind", session, "--undo", "--yes")
    assert back.returncode == 0, back.stderr
    assert files(place) == {"one.txt", "two.txt"}
    again = perdure(place, "rewind", session, "--undo", "--yes")
    assert again.returncode == 0, again.stderr
    assert files(place) == {"one.txt", "mine.txt"}


def test_both_go_back_to_before_the_first_turn(place: Place, session: str) -> None:
    first, second = points(place, session)
    assert (first["message"], second["message"]) == ("write the first", "and the second")
    before = events(place, session)
    ran = perdure(place, "rewind", session, "--to", str(first["to"]), "--json", "--yes")
    assert ran.returncode == 0, ran.stderr
    done = json.loads(ran.stdout)
    assert {c["path"] for c in done["files"]["changes"]} == {"one.txt", "two.txt", "mine.txt"}
    assert files(place) == {"mine.txt"}
    assert done["session"]["parent"] == session
    assert [r["event"]["type"] for r in events(place, done["session"]["id"])] == [
        *(r["event"]["type"] for r in before[: first["to"]]),
        "session_forked",
    ]
    *kept, told = events(place, session)
    assert kept == before and told["event"]["type"] == "notice_added"


def test_the_conversation_alone_leaves_the_files(place: Place, session: str) -> None:
    had = files(place)
    ran = perdure(place, "rewind", session, "--conversation", "--yes")
    assert ran.returncode == 0, ran.stderr
    assert files(place) == had
    fork = ran.stdout.split("perdure attach ")[1].strip()
    said = perdure(place, "session", "show", fork).stdout
    assert "write the first" in said and "and the second" not in said


def test_nothing_is_done_before_it_was_shown_and_allowed(place: Place, session: str) -> None:
    had = files(place)
    ran = perdure(place, "rewind", session, "--files", said="n\n")
    assert ran.returncode == 130
    assert "+ mine.txt" in ran.stdout and "Do it?" in ran.stdout
    assert files(place) == had
    assert perdure(place, "rewind", session, "--files", said="y\n").returncode == 0
    assert files(place) != had


def test_the_list_names_what_each_turn_was_about(place: Place, session: str) -> None:
    listed = perdure(place, "rewind", session, "--list").stdout.splitlines()
    assert listed[0].startswith("TO")
    assert "and the second" in listed[1] and "write the first" in listed[2]
    assert "files" in listed[1]


def test_a_place_in_the_middle_of_a_turn_says_what_happens_to_the_files(
    place: Place, session: str
) -> None:
    turns = [r for r in events(place, session) if r["event"]["type"] == "turn_ended"]
    ended = max(r["seq"] for r in turns)
    ran = perdure(place, "rewind", session, "--files", "--to", str(ended - 1), said="n\n")
    assert "within a turn" in ran.stdout


def test_files_that_were_never_rewound_cannot_be_undone(place: Place, session: str) -> None:
    fork = perdure(place, "session", "fork", session).stdout.strip()
    ran = perdure(place, "rewind", fork, "--undo")
    assert ran.returncode == 1
    assert "never rewound" in ran.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--to", "100000"), "has"),
        (("--json",), "--json needs"),
    ],
)
def test_what_cannot_be_done_is_said(
    place: Place, session: str, args: tuple[str, ...], says: str
) -> None:
    ran = perdure(place, "rewind", session, *args)
    assert ran.returncode in (1, 2)
    assert says in ran.stderr
