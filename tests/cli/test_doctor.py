"""`perdure doctor` names what is wrong around the agents, and what to do."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from perdure.agents import scaffold
from perdure.cli import checks
from perdure.cli.place import Place

from .conftest import Run


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "w"
    root.mkdir()
    scaffold(root)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(root)
    return root


def settings(root: Path, text: str) -> None:
    (root / "perdure.yaml").write_text(f"apiVersion: perdure/v1\nkind: Workspace\n{text}")


def test_a_workspace_as_it_was_made_is_well(space: Path, perdure: Run) -> None:
    ran = perdure("doctor")
    assert ran.code == 0, ran.out


def test_a_broken_trust_file_is_named_with_its_line(space: Path, perdure: Run) -> None:
    (space / ".perdure/trust.yaml").write_text("addresses: [ann@example.org]\nhost: [a.example]\n")
    ran = perdure("doctor")
    assert ran.code == 1 and "trust.yaml:2" in ran.out and "hosts" in ran.out


def test_a_trust_file_that_others_can_change_is_named(space: Path, perdure: Run) -> None:
    file = space / ".perdure/trust.yaml"
    file.write_text("hosts: [a.example]\n")
    file.chmod(0o666)
    assert f"chmod go-w {file}" in perdure("doctor").out


def test_a_taken_port_is_named_with_what_to_do(space: Path, perdure: Run) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings(space, f"server: {{port: {other.getsockname()[1]}}}\n")
        ran = perdure("doctor")
    assert ran.code == 1 and "cannot listen on 127.0.0.1 port" in ran.out
    assert "Choose another `server.port`" in ran.out


def test_a_server_that_would_refuse_to_start_is_named(space: Path, perdure: Run) -> None:
    settings(space, "server: {host: 0.0.0.0}\n")
    assert "without authentication" in perdure("doctor").out


@pytest.mark.parametrize(
    ("search", "told"),
    [
        (
            "{provider: brave, secret: 'secret://brave'}",
            "perdure secrets set brave --host api.search.brave.com "
            "--header 'X-Subscription-Token: {}' --tool web_search",
        ),
        (
            "{provider: tavily, secret: 'secret://tav'}",
            "perdure secrets set tav --host api.tavily.com "
            "--header 'Authorization: Bearer {}' --tool web_search",
        ),
        (
            "{provider: custom, url: 'https://s.example/?q={query}', headers: {X-Key: 'secret://k'}}",
            "perdure secrets set k --host s.example --header 'X-Key: {}' --tool web_search",
        ),
    ],
)
def test_a_search_engine_without_its_key_is_named(
    space: Path, perdure: Run, search: str, told: str
) -> None:
    settings(space, f"web: {{search: {search}}}\n")
    ran = perdure("doctor")
    assert ran.code == 1 and "is not stored" in ran.out and told in ran.out


def test_a_key_that_the_search_engine_may_not_have_is_named(space: Path, tmp_path: Path) -> None:
    from perdure.secrets import Vault
    from perdure.secrets.bindings import Binding

    vault = Vault(space / ".perdure", tmp_path / "config/perdure")
    vault.set(
        "brave",
        "not-a-real-key-0123456789",
        Binding(hosts=("api.example.com",), headers=("Authorization: Bearer {}",), tools=("x",)),
    )
    settings(space, "web: {search: {provider: brave, secret: 'secret://brave'}}\n")
    [found] = checks.ways_out(Place(root=space))
    assert "it is bound to api.example.com" in found.what
    assert found.todo.startswith("perdure secrets grant brave --host api.search.brave.com")


def test_an_unreadable_policy_is_named_with_its_agent(space: Path, perdure: Run) -> None:
    policy = space / ".perdure/agents/default/policy.yaml"
    policy.unlink(missing_ok=True)
    policy.mkdir()
    ran = perdure("doctor")
    assert ran.code == 1 and "agent default" in ran.out and str(policy) in ran.out


def test_a_clock_that_stands_before_the_files_is_named(space: Path, perdure: Run) -> None:
    (space / ".perdure/sessions").mkdir(exist_ok=True)
    log = space / ".perdure/sessions/s"
    log.mkdir()
    later = time.time() + 86_400
    os.utime(log, (later, later))
    ran = perdure("doctor")
    assert ran.code == 1 and "the clock says" in ran.out and "timedatectl" in ran.out


def test_a_clock_that_was_never_set_is_named(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 3600.0)
    [found] = checks.clock(Place(root=space))
    assert found.mark == "bad" and "1970-01-01" in found.what


def test_a_disk_with_another_clock_is_named(space: Path) -> None:
    [found] = checks.disk_clock(Place(root=space), time.time() - 900)
    assert "900 seconds behind" in found.what
    assert not list(checks.disk_clock(Place(root=space), time.time()))


def test_a_broken_perdure_yaml_is_named_once_and_the_rest_is_looked_at(
    space: Path, perdure: Run
) -> None:
    settings(space, "modle: x\n")
    (space / ".perdure/trust.yaml").write_text("host: [a.example]\n")
    ran = perdure("doctor")
    assert ran.code == 1
    assert ran.out.count("perdure.yaml:3") == 1 and "did you mean `model`" in ran.out
    assert "trust.yaml:1" in ran.out and "storage can be written" in ran.out


def test_secrets_that_cannot_be_opened_are_named_for_leaks_of_them_are_not_found(
    space: Path, tmp_path: Path, perdure: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perdure.secrets import Binding, Vault

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    config = tmp_path / "config" / "perdure"
    Vault(space / ".perdure", config).set("github", "ghs-7Hq2LmV9rT4kW8zB1nC6", Binding())
    assert "leaks" not in perdure("doctor").out
    (config / "identity.txt").rename(tmp_path / "moved.txt")
    ran = perdure("doctor")
    assert ran.code == 1 and "what secrets.age holds cannot be read, so leaks of it" in ran.out
    (space / "perdure.yaml").write_text("modle: x\n")
    assert "leaks of it are not found" in perdure("doctor").out


def test_tokens_that_cannot_be_read_are_named(space: Path, perdure: Run) -> None:
    perdure("token", "create", "phone")
    (space / ".perdure/secrets.tokens.json").write_text("{")
    ran = perdure("doctor")
    assert ran.code == 1 and "secrets.tokens.json" in ran.out
