"""Doubts and held sessions, over HTTP and the terminal, with a real server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.rig import Refused, Rig

TOOL = '''
from perdure.tools import Tool, ok
import asyncio, pathlib

class Post(Tool):
    """Post a letter."""
    effects = frozenset({"network"})
    to: str

    async def execute(self, context):
        with open("posted", "a") as file:
            file.write(self.to + "\\n")
        if pathlib.Path("slow").exists():
            await asyncio.sleep(60)
        return ok("posted")
'''
SCRIPT = """
replies:
- calls: [{tool: post, arguments: {to: mum}}]
- text: I was told that it is in doubt.
- text: Understood.
"""


def test_a_doubt_is_listed_and_settled_from_the_terminal(tmp_path: Path) -> None:
    with Rig(tmp_path / "w", SCRIPT) as rig:
        (rig.private / "tools" / "post.py").write_text(TOOL)
        (rig.root / "slow").touch()
        rig.start()
        assert rig.ready()
        session = rig.call("POST", "/api/v1/sessions", {})["id"]
        rig.call("POST", f"/api/v1/sessions/{session}/messages", {"text": "post it"})
        posted = rig.root / "posted"
        rig.until("the letter", lambda: posted.exists() and posted.read_text())
        rig.kill()
        (rig.root / "slow").unlink()
        rig.start()
        assert rig.ready()
        rig.until("the turn's end", lambda: rig.events(session, "turn_ended"))
        shown = perdure(rig, "doubts", session)
        assert "post" in shown and "mum" in shown
        perdure(rig, "doubts", session, "happened")
        rig.until("the second turn", lambda: len(rig.events(session, "turn_ended")) == 2)
        assert rig.call("GET", f"/api/v1/sessions/{session}/doubts") == {"doubts": []}
        assert (rig.root / "posted").read_text() == "mum\n"
        with pytest.raises(Refused) as refused:
            rig.call("POST", f"/api/v1/sessions/{session}/doubts", {"key": "x", "answer": "again"})
        assert refused.value.status == 404


def test_a_held_session_is_shown_and_resumed(tmp_path: Path) -> None:
    with Rig(tmp_path / "w", "replies:\n- {text: Done., wait: 30}\n") as rig:
        rig.start()
        assert rig.ready()
        session = rig.call("POST", "/api/v1/sessions", {})["id"]
        rig.call("POST", f"/api/v1/sessions/{session}/messages", {"text": "go"})
        rig.kill()
        (rig.private / "resuming").mkdir()
        (rig.private / "resuming" / session).write_bytes(b"xx")
        (rig.root / "script.yaml").write_text("replies:\n- text: Done.\n")
        rig.start()
        assert rig.ready()
        assert rig.call("GET", f"/api/v1/sessions/{session}")["status"] == "held"
        assert "goes on" in perdure(rig, "session", "resume", session)
        rig.until("the turn's end", lambda: rig.events(session, "turn_ended"))


def perdure(rig: Rig, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "perdure", *arguments],
        cwd=rig.root,
        env={**rig.env, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
