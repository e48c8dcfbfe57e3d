"""`perdure secrets` and `perdure login --base-url`, as typed."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perdure.agents import scaffold
from perdure.sealing import config_folder
from perdure.secrets import Vault

from .conftest import Run, child_env

VALUE = "ghs-7Hq2LmV9rT4kW8zB1nC6"


@pytest.fixture
def root(tmp_path: Path, perdure: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "w"
    scaffold(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.chdir(folder)
    return folder


def types(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def vault(root: Path) -> Vault:
    return Vault(root / ".perdure", config_folder(os.environ))


def test_a_secret_s_life(root: Path, perdure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    types(monkeypatch, VALUE + "\n")
    done = perdure("secrets", "set", "github", "--host", "api.github.com")
    assert done.code == 0, done.err
    for line in ("host api.github.com", "header Authorization: Bearer {}", "tool http_request"):
        assert line in done.out
    assert vault(root).values() == {"github": VALUE}

    done = perdure("secrets", "list")
    assert re.search(r"github +api\.github\.com +http_request +all +just now +never", done.out)

    done = perdure("secrets", "grant", "github", "--host", "*.github.com", "--query", "token")
    assert "+ host *.github.com" in done.out and "+ query token=" in done.out
    assert "  host api.github.com" in done.out and done.code == 0
    done = perdure("secrets", "grant", "github", "--host", "api.github.com")
    assert "nothing changes" in done.out

    types(monkeypatch, VALUE[::-1])
    assert perdure("secrets", "rotate", "github").code == 0
    assert vault(root).values() == {"github": VALUE[::-1]}

    vault(root).find(
        "secret://github", host="api.github.com", position="header:authorization",
        tool="http_request", session="s_1", agent="default",
    )  # fmt: skip
    done = perdure("secrets", "audit", "github")
    assert "1 on record" in done.out and "s_1" in done.out and "agents: default" in done.out
    (row,) = json.loads(perdure("secrets", "audit", "github", "--json").out)
    assert row["uses"][0]["host"] == "api.github.com"
    (row,) = json.loads(perdure("secrets", "list", "--json").out)
    assert row["last_use"] and row["binding"]["hosts"] == ["api.github.com", "*.github.com"]

    assert perdure("secrets", "remove", "github").code == 0
    done = perdure("secrets", "list")
    assert done.out == "" and "perdure secrets set" in done.err


def test_no_output_ever_shows_a_value(
    root: Path, perdure: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = ""
    for line in (
        "set shop --host shop.test", "rotate shop", "list", "list --json", "audit", "audit --json",
        "grant shop --host a.test", "audit shop", "set shop --host x.test", "remove shop",
    ):  # fmt: skip
        types(monkeypatch, VALUE if line != "rotate shop" else VALUE[::-1])
        done = perdure("secrets", *line.split())
        shown += done.out + done.err
    assert VALUE not in shown and VALUE[::-1] not in shown


def test_a_value_on_the_command_line_is_refused_with_the_reason(root: Path, perdure: Run) -> None:
    for command in (("set", "shop", VALUE, "--host", "a.test"), ("rotate", "shop", VALUE)):
        done = perdure("secrets", *command)
        assert done.code == 2 and "list of processes" in done.err and VALUE not in done.err
    assert vault(root).list() == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", "Shop"), "no secret's name"),
        (("set", "shop", "--host", "*"), "no host"),
        (("set", "shop", "--host", "*.com"), "hosts of everybody"),
        (("set", "shop", "--host", "http://a.test"), "over https"),
        (("set", "shop", "--header", "X-Key"), "no header"),
        (("set", "shop", "--method", "STEAL"), "no method"),
        (("grant", "shop"), "grant what"),
        (("grant", "shop", "--host", "a.test"), "There is no secret"),
        (("rotate", "shop"), "There is no secret"),
        (("remove", "shop"), "There is no secret"),
        (("audit", "shop"), "There is no secret"),
    ],
)
def test_mistakes_are_told_before_a_value_is_asked_for(
    root: Path, perdure: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    class Untouched(io.StringIO):
        def read(self, size: int | None = -1) -> str:
            raise AssertionError("a value was asked for")

    monkeypatch.setattr(sys, "stdin", Untouched())
    done = perdure("secrets", *arguments)
    assert done.code != 0 and said in done.err


def test_the_name_of_a_secret_that_exists_is_not_taken_twice(
    root: Path, perdure: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    types(monkeypatch, VALUE)
    perdure("secrets", "set", "shop", "--host", "a.test")
    types(monkeypatch, "another-value")
    done = perdure("secrets", "set", "shop", "--host", "b.test")
    assert done.code == 1 and "rotate shop" in done.err
    assert vault(root).values() == {"shop": VALUE}


def test_audit_lists_provider_keys_and_server_tokens_too(
    root: Path, perdure: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789-abcdef")
    assert perdure("token", "create", "phone", "--scope", "read").code == 0
    rows = json.loads(perdure("secrets", "audit", "--json").out)
    kinds = {(row["kind"], row["name"]) for row in rows}
    assert ("provider key", "openai") in kinds
    assert ("server token", "phone (read)") in kinds


def test_what_is_typed_is_not_echoed(root: Path) -> None:
    main, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "perdure", "secrets", "set", "shop", "--host", "a.test"],
        cwd=root, stdin=terminal, stdout=terminal, stderr=terminal,
        env=child_env(HOME=os.environ["HOME"]), start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    seen, sent, deadline = b"", False, time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            piece = os.read(main, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
        if not sent and b"not shown" in seen:
            arguments = Path(f"/proc/{child.pid}/cmdline")
            assert not arguments.exists() or VALUE.encode() not in arguments.read_bytes()
            os.write(main, VALUE.encode() + b"\n")
            sent = True
    assert child.wait(20) == 0, seen
    os.close(main)
    assert sent and VALUE.encode() not in seen and b"is stored, encrypted" in seen
    assert vault(root).values() == {"shop": VALUE}


def test_a_key_is_stored_for_an_address(
    root: Path, perdure: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    types(monkeypatch, "sk-of-the-proxy\n")
    done = perdure("login", "my-proxy", "--base-url", "https://Proxy.test/v1")
    assert done.code == 0 and "my-proxy at https://proxy.test" in done.out
    assert "my-proxy at https://proxy.test" in perdure("login", "--list").out
    done = perdure("login", "my-proxy", "--remove", "--base-url", "https://proxy.test")
    assert done.code == 0
    assert "my-proxy" not in perdure("login", "--list").out
    types(monkeypatch, "sk-x\n")
    done = perdure("login", "openai", "--base-url", "proxy")
    assert done.code != 0 and "no address" in done.err


@pytest.mark.parametrize(
    ("option", "name", "near"),
    [("--tool", "http_requst", "http_request"), ("--agent", "defualt", "default")],
)
def test_a_tool_or_an_agent_that_there_is_not_is_refused(
    root: Path, perdure: Run, monkeypatch: pytest.MonkeyPatch, option: str, name: str, near: str
) -> None:
    types(monkeypatch, VALUE)
    ran = perdure("secrets", "set", "github", "--host", "api.github.com", option, name)
    assert ran.code == 2 and f"Did you mean {near}?" in ran.err
    assert not vault(root).list()
    types(monkeypatch, VALUE)
    assert perdure("secrets", "set", "github", "--host", "h.example", option, near).code == 0
    assert perdure("secrets", "grant", "github", option, name).code == 2


def test_the_list_shows_the_agents(
    root: Path, perdure: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    types(monkeypatch, VALUE)
    perdure("secrets", "set", "github", "--host", "api.github.com", "--agent", "default")
    assert re.search(
        r"github +api\.github\.com +http_request +default", perdure("secrets", "list").out
    )
