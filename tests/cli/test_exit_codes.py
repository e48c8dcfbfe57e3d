"""What `perdure run` leaves behind for a script: the exit codes of docs/guides/terminal.md."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure.agents import scaffold
from perdure.cli import problems
from perdure.cli.place import Place
from perdure.cli.server_process import look

from .conftest import child_env, wait_for

Perdure = Callable[..., subprocess.CompletedProcess[str]]
GUIDE = Path(__file__).parents[2] / "docs/guides/terminal.md"
SCRIPT = """replies:
- text: I try.
  calls: [{tool: bash, arguments: {command: 'date > when'}}]
- text: Done.
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A workspace with one server for all."""
    place = Place(root=tmp_path_factory.mktemp("w"))
    scaffold(place.root)
    (place.root / "acts.yaml").write_text(SCRIPT)
    (place.root / "fails.yaml").write_text("replies:\n- error: auth\n")
    yield place
    found = look(place)
    if found.file is not None and found.alive:
        os.kill(found.file.pid, signal.SIGTERM)
        wait_for(lambda: not look(place).held, "the end of the server")


@pytest.fixture
def perdure(place: Place) -> Perdure:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "perdure", *args],
            cwd=place.root,
            env=child_env(HOME=str(place.root)),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def put(place: Place) -> Iterator[Callable[[str, str], None]]:
    """Change a file of the workspace until the test is over."""
    before: dict[Path, str | None] = {}

    def put(name: str, text: str) -> None:
        path = place.root / name
        before.setdefault(path, path.read_text() if path.exists() else None)
        path.write_text(text)

    yield put
    for path, text in before.items():
        if text is None:
            path.unlink()
        else:
            path.write_text(text)


def test_done_is_0_and_a_wrong_command_line_2(perdure: Perdure) -> None:
    assert perdure("run", "hello").returncode == 0
    assert perdure("run").returncode == 2
    assert perdure("run", "--nonsense", "hello").returncode == 2


def test_a_failed_turn_and_an_unknown_agent_are_1(perdure: Perdure) -> None:
    ran = perdure("run", "-m", "script:fails.yaml", "hello")
    assert ran.returncode == 1 and "perdure: failed" in ran.stderr
    assert perdure("run", "-a", "nobody", "hello").returncode == 1


def test_a_met_budget_is_1_and_says_which(
    perdure: Perdure, put: Callable[[str, str], None]
) -> None:
    put(".perdure/policy.yaml", "mode: auto\n")
    put("perdure.yaml", "budget: {session: {calls: 1}}\n")
    ran = perdure("run", "-m", "script:acts.yaml", "--json", "go")
    said = json.loads(ran.stdout)
    assert ran.returncode == 1 and said["reason"] == "budget"
    assert "1 of 1 tool calls" in said["error"]
    again = perdure("run", "-s", "last", "and now?")
    assert again.returncode == 1 and "perdure: budget: This session has used" in again.stderr


def test_a_scripted_cost_passes_a_cap_in_dollars_by_one_reply_and_no_more(
    perdure: Perdure, put: Callable[[str, str], None]
) -> None:
    put("perdure.yaml", "budget: {session: {cost_usd: 0.5}}\n")
    put("dear.yaml", "replies:\n- {text: one, cost_usd: 0.6}\n- {text: two, cost_usd: 0.6}\n")
    assert perdure("run", "-m", "script:dear.yaml", "go").returncode == 0
    again = perdure("run", "-s", "last", "and now?")
    assert again.returncode == 1 and "budget" in again.stderr and "two" not in again.stdout


def test_a_wait_for_approval_is_3(perdure: Perdure, put: Callable[[str, str], None]) -> None:
    put(".perdure/policy.yaml", "mode: ask\n")
    ran = perdure("run", "-m", "script:acts.yaml", "go")
    assert ran.returncode == 3 and "perdure approvals" in ran.stderr
    assert perdure("session", "stop", "last").returncode == 0


def test_a_wait_for_approval_is_3_of_lines_from_a_pipe_too(
    place: Place, put: Callable[[str, str], None]
) -> None:
    put(".perdure/policy.yaml", "mode: ask\n")
    for command in ([], ["chat"]):
        ran = subprocess.run(
            [sys.executable, "-m", "perdure", *command],
            cwd=place.root,
            env=child_env(HOME=str(place.root)),
            capture_output=True,
            text=True,
            input='write "z" to z.txt\n',
        )
        assert ran.returncode == 3, (command, ran.stderr)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("perdure.yaml", "modle: x\n", "perdure.yaml:1"),
        (".perdure/policy.yaml", "mode: autoo\n", "policy.yaml:1"),
        (".perdure/policy.yaml", "mode: [\n", "policy.yaml"),
        (".perdure/agents/default/policy.yaml", "moed: ask\n", "policy.yaml:1"),
    ],
)
def test_a_broken_file_is_4_and_nothing_is_asked(
    perdure: Perdure, put: Callable[[str, str], None], file: str, text: str, said: str
) -> None:
    assert perdure("run", "hello").returncode == 0
    before = perdure("session", "list", "--json").stdout
    put(file, text)
    ran = perdure("run", "hello")
    assert ran.returncode == 4 and said in ran.stderr and not ran.stdout
    put(file, "apiVersion: perdure/v1\n" if file == "perdure.yaml" else "mode: ask\n")
    assert perdure("session", "list", "--json").stdout == before


def test_an_agent_that_never_was_good_is_4(perdure: Perdure, place: Place) -> None:
    folder = place.root / ".perdure/agents/bad"
    folder.mkdir()
    (folder / "agent.yaml").write_text("apiVersion: perdure/v1\nkind: Agent\nspek: {}\n")
    ran = perdure("run", "-a", "bad", "hello")
    assert ran.returncode == 4 and "agent.yaml" in ran.stderr


def test_an_agent_that_was_good_goes_on_and_says_so(
    perdure: Perdure, place: Place, put: Callable[[str, str], None]
) -> None:
    name = ".perdure/agents/default/agent.yaml"
    text = (place.root / name).read_text()
    assert perdure("run", "hello").returncode == 0
    put(name, text.replace("spec:", "spec:\n  modle: x"))
    ran = perdure("run", "hello")
    assert ran.returncode == 0 and "did you mean `model`" in ran.stderr
    assert "stays in use" in ran.stderr


def test_a_broken_trust_file_approves_nothing_and_is_said(
    perdure: Perdure, put: Callable[[str, str], None]
) -> None:
    put(".perdure/trust.yaml", "host: [a.example]\n")
    ran = perdure("run", "hello")
    assert ran.returncode == 0 and "trust.yaml:1" in ran.stderr


def test_a_server_that_cannot_start_is_told_with_its_cause(
    tmp_path: Path, perdure: Perdure
) -> None:
    scaffold(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        (tmp_path / "perdure.yaml").write_text(f"server: {{port: {port}}}\n")
        ran = perdure("-w", str(tmp_path), "run", "hello")
    assert ran.returncode == 5 and f"port {port}" in ran.stderr


def test_the_guide_lists_every_code(perdure: Perdure) -> None:
    listed = set(re.findall(r"^\| (\d+) \|", GUIDE.read_text(), re.MULTILINE))
    named = {
        value for name, value in vars(problems).items() if name.isupper() and isinstance(value, int)
    }
    assert {int(code) for code in listed} == named
    told = re.findall(r"^(\d+) ", str(problems.__doc__), re.MULTILINE)
    assert {int(code) for code in told} == named
