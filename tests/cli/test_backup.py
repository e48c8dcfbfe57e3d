"""`perdure backup`, with a workspace in use."""

from __future__ import annotations

import json
from pathlib import Path

from perdure.agents import scaffold

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
