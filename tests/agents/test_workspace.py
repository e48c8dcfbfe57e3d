"""Where a workspace is found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.agents import Refused, find_workspace, home_folder, open_workspace, scaffold
from perdure.kernel.errors import ConfigError, NotFound


def test_the_nearest_perdure_yaml_upwards_wins(tmp_path: Path) -> None:
    scaffold(tmp_path)
    scaffold(tmp_path / "a")
    (tmp_path / "perdure.yaml").unlink()
    deep = tmp_path / "a/b/c"
    deep.mkdir(parents=True)
    found = find_workspace(deep, {"PERDURE_HOME": str(tmp_path)})
    assert found is not None
    assert found.root == tmp_path / "a"
    assert found.private == tmp_path / "a/.perdure"


def test_else_it_is_perdure_home_and_else_the_folder_in_the_home(tmp_path: Path) -> None:
    start = tmp_path / "elsewhere"
    start.mkdir()
    home, named = tmp_path / "home", tmp_path / "named"
    assert find_workspace(start, {"HOME": str(home)}) is None
    scaffold(home / "perdure")
    scaffold(named)
    found = find_workspace(start, {"HOME": str(home)})
    assert found is not None and found.root == home / "perdure"
    found = find_workspace(start, {"HOME": str(home), "PERDURE_HOME": str(named)})
    assert found is not None and found.root == named


def test_a_perdure_home_without_a_workspace_is_where_one_would_be_made(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "PERDURE_HOME": str(tmp_path / "new")}
    assert find_workspace(tmp_path, env) is None
    assert home_folder(env) == tmp_path / "new"
    assert home_folder({"HOME": str(tmp_path)}) == tmp_path / "perdure"


def test_a_workspace_within_another_is_refused_until_it_is_named(tmp_path: Path) -> None:
    scaffold(tmp_path)
    scaffold(tmp_path / "a/sub2")
    with pytest.raises(Refused, match="within another workspace") as caught:
        find_workspace(tmp_path / "a/sub2", {})
    assert f"--workspace {tmp_path / 'a/sub2'}" in caught.value.hint
    assert open_workspace(tmp_path / "a/sub2", {}).root == tmp_path / "a/sub2"


def test_a_workspace_that_somebody_else_planted_above_is_refused(tmp_path: Path) -> None:
    scaffold(tmp_path)
    me = os.getuid()
    file = tmp_path / "perdure.yaml"
    if me == 0:
        os.chown(file, 12_345, -1)
    with pytest.raises(ConfigError, match="another user") as caught:
        find_workspace(tmp_path / "x", {}, uid=me + 1 if me else None)
    assert f"--workspace {tmp_path}" in caught.value.hint
    assert open_workspace(tmp_path, {}).root == tmp_path


def test_a_folder_without_perdure_yaml_is_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is no workspace"):
        open_workspace(tmp_path, {})


def test_an_empty_perdure_yaml_is_a_workspace_with_defaults(tmp_path: Path) -> None:
    (tmp_path / "perdure.yaml").write_text("")
    config = open_workspace(tmp_path, {}).config
    assert (config.default_agent, config.model, config.server.host) == (
        "default",
        None,
        "127.0.0.1",
    )


def test_a_whole_perdure_yaml_is_read(tmp_path: Path) -> None:
    (tmp_path / "perdure.yaml").write_text(
        """
apiVersion: perdure/v1
kind: Workspace
default_agent: butler
model: openrouter/meta-llama/llama-4
budget: {cost_usd: 1.5, rounds: null}
server: {host: 0.0.0.0, port: "${PORT:-8080}", token: "${TOKEN}"}
hooks:
  - {on: before_tool, command: ./guard.sh, fail: closed, timeout: 2, tools: [bash]}
"""
    )
    workspace = open_workspace(tmp_path, {"TOKEN": "s3cret"})
    config = workspace.config
    assert config.model is not None
    assert (config.model.provider, config.model.name) == ("openrouter", "meta-llama/llama-4")
    assert config.server.port == 8080
    assert config.server.token.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(workspace) + repr(config)
    assert config.hooks[0].fail == "closed"
