"""`perdure backup`, with a workspace in use."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from perdure.agents import scaffold

from .conftest import Run
from .test_end_to_end import perdure, place

__all__ = ["place"]


def test_create_verify_restore(place, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    away: Path = tmp_path_factory.mktemp("away")
    dest, target = away / "dest", away / "target"
    session = json.loads(perdure(place, "run", "--json", "hello").stdout)["session"]
    made = perdure(place, "backup", "create", str(dest))
    assert (made.returncode, made.stderr) == (0, "")
    assert "1 session" in made.stdout
    checked = perdure(place, "backup", "verify", str(dest))
    assert checked.returncode == 0 and "whole" in checked.stdout
    restored = perdure(place, "backup", "restore", str(dest), str(target))
    assert restored.returncode == 0, restored.stderr
    assert "all the same" in restored.stdout
    shown = perdure(place, "--workspace", str(target), "session", "export", session)
    assert "hello" in shown.stdout
    full = perdure(place, "backup", "restore", str(dest), str(target))
    assert full.returncode == 1 and "not empty" in full.stderr

    victim = next(p for p in (dest / "objects").rglob("*") if p.is_file())
    victim.write_bytes(victim.read_bytes() + b"x")
    checked = perdure(place, "backup", "verify", str(dest))
    assert checked.returncode == 1 and "damaged" in checked.stdout


def test_what_is_missing_is_said(place, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    scaffold(tmp_path)
    for args, code, says in (
        (("verify", str(tmp_path / "none")), 1, "no backup"),
        (("create", "ftp://x"), 1, "no place"),
        (("create",), 2, "DEST"),
    ):
        ran = perdure(place, "backup", *args)
        assert ran.returncode == code and says in ran.stderr


def test_a_copy_within_the_workspace_is_warned_of(tmp_path: Path, perdure: Run) -> None:
    root = tmp_path / "w"
    scaffold(root)
    inside = perdure("backup", "create", "copies", cwd=root)
    assert inside.code == 0 and "lies within the workspace" in inside.err
    outside = perdure("backup", "create", str(tmp_path / "copies"))
    assert outside.code == 0 and "lies within" not in outside.err


def test_a_bucket_without_what_it_needs_is_no_mistake_in_a_file(
    tmp_path: Path, perdure: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaffold(tmp_path)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    ran = perdure("backup", "create", "s3://bucket/w", cwd=tmp_path)
    assert ran.code == 1 and "perdure[s3]" in ran.err
