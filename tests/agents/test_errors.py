"""A file that is wrong is answered with its name, the line and what was expected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.agents import Agents, open_workspace
from perdure.kernel.errors import ConfigError

HEAD = "apiVersion: perdure/v1\nkind: Agent\nmetadata: {name: a}\n"


def fails(tmp_path: Path, text: str | bytes, env: dict[str, str] | None = None) -> ConfigError:
    folder = tmp_path / ".perdure/agents/a"
    folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "perdure.yaml").write_text("")
    (folder / "agent.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        Agents(open_workspace(tmp_path, env or {})).get("a")
    assert caught.value.file == str(folder / "agent.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (HEAD + "spec:\n  modle: x/y\n", 5, "unknown key `spec.modle`; did you mean `model`?"),
        (HEAD + "spek: {}\n", 4, "unknown key `spek`; did you mean `spec`?"),
        (
            HEAD + "spec:\n  model:\n    provider: x\n    nmae: y\n",
            7,
            "unknown key `spec.model.nmae`; did you mean `name`?",
        ),
        (
            HEAD + "spec:\n  model:\n    provider: x\n    fallbacks:\n      - {provder: y}\n",
            8,
            "unknown key `spec.model.fallbacks.0.provder`; did you mean `provider`?",
        ),
        (
            HEAD + "spec:\n  hooks:\n    - {on: before_tool, command: x, when: now}\n",
            6,
            "unknown key `spec.hooks.0.when`; known here: on, command, fail, timeout, tools",
        ),
        (
            HEAD + "spec:\n  budget: {rounds: many}\n",
            5,
            "`spec.budget.rounds`: must be a whole number, not 'many'; for example: rounds: 100",
        ),
        (HEAD + "spec:\n  budget: {rounds: 0}\n", 5, "must be at least 1, not 0"),
        (HEAD + "spec:\n  budget: {cost_usd: .nan}\n", 5, "`spec.budget.cost_usd`"),
        (HEAD + "spec:\n  skills_dir: x\n", 5, "`spec.skills_dir` is not supported yet"),
        (HEAD + "spec:\n  skills_dir: skills\n", 5, "`spec.skills_dir` is not supported yet"),
        (HEAD + "spec: []\n", 4, "`spec`"),
        (HEAD + "spec:\n  soul: nowhere.md\n", 5, "`spec.soul`: there is no file"),
        (HEAD + "kind: Agent\n", 4, "`kind` stands twice"),
        ("kind: Agent\n", 1, "`apiVersion` is missing"),
        ("\napiVersion: perdure/v9\n", 2, "`apiVersion` is 'perdure/v9'"),
        ("apiVersion: perdure/v1\nkind: Agent\n", 1, "`metadata` is missing"),
        (HEAD.replace("name: a", "name: b"), 3, "`metadata.name` is 'b' but the folder is 'a'"),
        (HEAD + "spec: {model: [}\n", 4, "not valid YAML"),
        (HEAD + "spec:\n\tmodel: x\n", 5, "not valid YAML"),
        ("- a\n- b\n", 1, "must hold `key: value` lines"),
        (HEAD + "? [a, b]\n: c\n", 4, "a key must be a plain word"),
        (HEAD + "x: &x [*x]\n", 4, "too deep"),
        (HEAD + "spec:\n  model: ${MODEL}\n", 5, "the environment has no MODEL"),
        (HEAD.encode() + b"spec: \xff\n", 4, "is not UTF-8"),
        (HEAD + "x: " + "y" * 1_000_000, 0, "larger than"),
    ],
)
def test_the_error_names_line_and_remedy(
    tmp_path: Path, text: str | bytes, line: int, message: str
) -> None:
    error = fails(tmp_path, text)
    assert error.line == line
    assert message in str(error)


def test_a_few_lines_of_aliases_cannot_become_gigabytes(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
    )
    assert "too large" in str(fails(tmp_path, HEAD + bomb))


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    error = fails(tmp_path, HEAD + "spec:\n  modle: x\n  budget: {rounds: 0}\n")
    assert error.line == 5
    assert "also line 6: `spec.budget.rounds`" in error.hint


def test_an_unknown_variable_in_a_text_is_an_error_there(tmp_path: Path) -> None:
    folder = tmp_path / ".perdure/agents/a"
    folder.mkdir(parents=True)
    (tmp_path / "perdure.yaml").write_text("")
    (folder / "agent.yaml").write_text(HEAD)
    (folder / "SOUL.md").write_text("I am {{agent}}.\nToday is {{dte}}.\n")
    with pytest.raises(ConfigError, match=r"SOUL\.md:2: unknown variable \{\{dte\}\}") as caught:
        Agents(open_workspace(tmp_path, {})).get("a")
    assert "{{date}}" in caught.value.hint


def test_a_wrong_perdure_yaml_is_answered_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "perdure.yaml").write_text("server:\n  hots: x\n")
    with pytest.raises(ConfigError, match=r"perdure\.yaml:2: unknown key `server\.hots`"):
        open_workspace(tmp_path, {})


def test_a_pipe_in_the_place_of_an_agents_file_is_told_and_waits_for_nobody(tmp_path: Path) -> None:
    (tmp_path / "perdure.yaml").write_text("apiVersion: perdure/v1\nkind: Workspace\n")
    folder = tmp_path / ".perdure/agents/x"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "agent.yaml")
    [entry] = Agents(open_workspace(tmp_path, {})).list()
    assert (entry.name, entry.agent) == ("x", None)
    assert "not a regular file" in entry.error
