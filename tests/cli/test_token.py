"""`perdure token`, and that a running server takes notice."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from perdure.agents import scaffold
from perdure.cli.app import invoke
from tests.e2e.rig import Rig
from tests.server.test_doubts import perdure


def status(rig: Rig, token: str, path: str = "/api/v1/sessions") -> int:
    server = json.loads((rig.private / "run" / "server.json").read_bytes())
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(server["url"] + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_token_is_made_shown_once_listed_and_revoked(tmp_path: Path) -> None:
    with Rig(tmp_path / "w") as rig:
        rig.start()
        assert rig.ready()
        token = perdure(rig, "token", "create", "phone", "-s", "chat", "--days", "7").strip()
        assert token.startswith("pdr_") and "\n" not in token
        assert status(rig, token) == 200
        assert status(rig, token, "/api/v1/admin/status") == 403
        listed = perdure(rig, "token", "list")
        assert "phone" in listed and "chat" in listed and token not in listed
        (row,) = json.loads(perdure(rig, "token", "list", "--json"))
        assert row["trust"] == "known" and row["alive"] and "digest" not in row
        assert "phone" in perdure(rig, "token", "revoke", "phone")
        assert status(rig, token) == 401
        with pytest.raises(AssertionError, match="names no token"):
            perdure(rig, "token", "revoke", "phone")


def test_a_token_for_an_agent_that_is_not_there_is_refused_with_the_nearest(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from perdure.agents import scaffold
    from perdure.cli.app import invoke
    from perdure.server.tokens import FILE, TokenStore

    scaffold(tmp_path)
    code = invoke(["-w", str(tmp_path), "token", "create", "phone", "--agent", "defualt"])
    assert code == 1 and "Did you mean default?" in capfd.readouterr().err
    assert TokenStore(tmp_path / ".perdure" / FILE).list() == ()
    assert invoke(["-w", str(tmp_path), "token", "create", "phone", "--agent", "default"]) == 0


def test_a_second_token_of_one_name_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scaffold(tmp_path)
    create = ["-w", str(tmp_path), "token", "create", "phone"]
    assert invoke(create) == 0
    assert invoke(create) == 1
    assert "there is a token called phone already" in capsys.readouterr().err
    assert invoke(["-w", str(tmp_path), "token", "revoke", "phone"]) == 0
    assert invoke(create) == 0
