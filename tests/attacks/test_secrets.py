"""Attacks on secrets, through the real server. Each docstring begins with its number in docs/security.md."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.models.credentials import Credentials
from perdure.sealing import config_folder
from perdure.secrets import Binding, Vault
from tests.e2e.rig import Rig

BOT = "7123456789:AAF3kd9Lx0qWmZ2vPtY8rBnC5sHgE1uJiKo"
STORED = "sk-stored-4Lm9XqT2vB7nR5kW8z"
EXPORTED = "sk-env-8Hd3KfPz6Yt1Qs5Vn0Ww"
ALL = (BOT, STORED, EXPORTED)
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

TOOL = '''
from pathlib import Path
from perdure.tools import Tool, ToolContext, ok

SECRET = Path({platform!r}).read_text()  # what a service knows anyhow, and quotes

class Platform(Tool):
    """Calls a chat platform."""
    how: str
    effects = frozenset({{"reads"}})
    idempotent = True

    async def execute(self, context: ToolContext):
        address = f"https://api.telegram.test/bot{{SECRET}}/sendMessage"
        if self.how == "error":
            raise ConnectionError(f"POST {{address}}: 502")
        if self.how == "timeout":
            raise TimeoutError(f"POST {{address}}: timed out")
        if self.how == "thread":
            import sys, threading, warnings
            def work():
                raise OSError(f"unhandled in a thread: {{address}}")
            one = threading.Thread(target=work); one.start(); one.join()
            warnings.warn(f"deprecated: {{address}}", stacklevel=1)
            sys.stderr.write(f"written in pieces: https://x/bot{{SECRET[:12]}}")
            sys.stderr.write(f"{{SECRET[12:]}}/y\\n")
            print(f"printed: {{address}}", flush=True)
            import logging
            try:
                raise RuntimeError(f"chained: {{address}}")
            except RuntimeError:
                logging.getLogger("platform").exception("failed for %s", address)
        if self.how == "task":
            import asyncio, gc
            async def lost():
                raise OSError(f"never retrieved: {{address}}")
            task = asyncio.ensure_future(lost())
            await asyncio.sleep(0.01)
            del task
            gc.collect()
        if self.how == "dump":
            import faulthandler, sys
            faulthandler.dump_traceback(sys.__stderr__, all_threads=True)
        return ok(f"sent through {{address}}", url=address)
'''

SCRIPT = r"""
replies:
- calls:
  - {tool: process, arguments: {action: start, name: sleeper, command: "sleep 60"}}
- calls:
  - {tool: platform, arguments: {how: error}}
  - {tool: platform, arguments: {how: timeout}}
  - {tool: platform, arguments: {how: thread}}
  - {tool: platform, arguments: {how: task}}
  - {tool: platform, arguments: {how: dump}}
  - {tool: platform, arguments: {how: fine}}
- calls:
  - {tool: bash, arguments: {command: "env; ps axwwe; true"}}
- calls:
  - {tool: bash, arguments: {command: "cat /proc/self/environ /proc/$PPID/environ | tr '\\0' '\\n'"}}
- text: done
- text: done again
"""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "w", SCRIPT)
    home = Path(rig.env["HOME"])
    platform = home / "platform"
    platform.write_text(BOT)
    (rig.private / "tools").mkdir(exist_ok=True)
    (rig.private / "tools/platform.py").write_text(TOOL.format(platform=str(platform)))
    vault = Vault(rig.private, config_folder(rig.env))
    vault.set("bot", BOT, Binding(hosts=("api.telegram.test",), path=True, tools=("http_request",)))
    Credentials(config_folder(rig.env), {}).set("anthropic", STORED)
    rig.env |= {"OPENAI_API_KEY": EXPORTED, "PYTHONFAULTHANDLER": "1"}
    with rig:
        yield rig


def turn(rig: Rig, text: str) -> str:
    session = rig.call("POST", "/api/v1/sessions", {})["id"]
    said = {"parts": [{"type": "text", "text": text}]}
    rig.call("POST", f"/api/v1/sessions/{session}/messages", said)
    rig.until("rest", lambda: rig.events(session, "turn_ended", "approval_requested"))
    assert rig.events(session, "approval_requested") == []
    return str(session)


def holding(folder: Path) -> list[str]:
    """Files below, the log beside and the index among them, that hold one of the values."""
    log = folder.parent / f"{folder.name}.log"
    return [
        str(path)
        for path in [log, *folder.rglob("*")]
        if path.is_file() and any(v.encode() in path.read_bytes() for v in ALL)
    ]


def test_a_platform_error_or_time_out_whose_text_holds_the_bot_token(rig: Rig) -> None:
    """23: no token in any log, event, trace or crash dump; nor in an answer, nor in the API."""
    rig.start()
    assert rig.ready()
    session = turn(rig, f"please use {BOT}")
    results = rig.events(session, "tool_finished")
    assert len(results) == 9
    texts = json.dumps(results)
    assert "[redacted: secret://bot]" in texts and "timed out" in texts and "502" in texts
    log = (rig.root.parent / "w.log").read_text()
    for line in ("unhandled in a thread", "deprecated", "written in pieces", "printed", "chained"):
        assert line in log, line
    assert "never retrieved" in log and "Current thread" in log
    assert log.count("[redacted: secret://bot]") >= 7
    assert holding(rig.root) == []
    seen = json.dumps(rig.call("GET", f"/api/v1/sessions/{session}")) + json.dumps(
        rig.call("GET", f"/api/v1/sessions/{session}/context")
    )
    assert not any(value in seen for value in ALL)
    rig.stop()
    assert holding(rig.root) == []


@linux
def test_no_child_has_a_secret_in_its_environment_or_arguments(rig: Rig) -> None:
    """24: what a skill or a command reads of its environment holds no secret; nor does any process."""
    rig.start()
    assert rig.ready()
    session = turn(rig, "go")
    assert rig.process is not None
    children = below(rig.process.pid)
    assert len(children) >= 2, "the launcher and the background process"
    for pid in children:
        for file in ("environ", "cmdline"):
            with contextlib.suppress(OSError):
                data = Path(f"/proc/{pid}/{file}").read_bytes()
                assert not any(v.encode() in data for v in ALL), (pid, file)
    own = Path(f"/proc/{rig.process.pid}/cmdline").read_bytes()
    assert not any(v.encode() in own for v in ALL)
    environment = [e for e in rig.events(session, "tool_finished") if e["tool"] == "bash"]
    assert "PATH=" in json.dumps(environment)
    assert not any(v in json.dumps(environment) for v in ALL)
    assert holding(rig.root) == []


@linux
def test_the_server_leaves_no_core_dump(rig: Rig) -> None:
    """23: killed by a signal that dumps, it leaves nothing."""
    rig.start()
    assert rig.ready()
    assert rig.process is not None
    pid = rig.process.pid
    limits = Path(f"/proc/{pid}/limits").read_text()
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4] == "0"
    os.kill(pid, signal.SIGABRT)
    rig.process.wait(20)
    assert not list(rig.root.rglob("core*"))
    assert "Fatal Python error" in (rig.root.parent / "w.log").read_text()
    assert holding(rig.root) == []


def test_a_damaged_vault_is_told_and_stops_nothing_else(rig: Rig) -> None:
    """23: the error names the file, and what was sealed in it is quoted nowhere."""
    (rig.private / "secrets.age").write_bytes(b"age-encryption.org/v1\nrubbish")
    rig.start()
    assert rig.ready()
    turn(rig, "go")
    done = subprocess.run(
        [sys.executable, "-m", "perdure", "secrets", "list"],
        cwd=rig.root, env=rig.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 4 and "secrets.age" in done.stderr and "Traceback" not in done.stderr


def test_a_start_that_fails_quotes_no_secret(rig: Rig) -> None:
    """23: an unhandled exception of the main thread."""
    (rig.private / "run").mkdir(exist_ok=True)
    code = (
        "import sys\nfrom pathlib import Path\nfrom perdure.cli import serving\n"
        "def broken(*_, **__):\n"
        "    import ctypes\n    print('dumpable', ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
        "    raise RuntimeError('cannot start with ' + sys.argv[1])\n"
        "serving.serve = broken\nfrom perdure.cli.place import Place\n"
        "sys.argv[1] = Path(sys.argv[1]).read_text()\n"
        "serving.serve_workspace(Place(root=Path.cwd()), host=None, port=None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(rig.env["HOME"]) / "platform")],
        cwd=rig.root, env=rig.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "RuntimeError: cannot start with [redacted: secret://bot]" in done.stderr
    assert BOT not in done.stderr + done.stdout
    if sys.platform == "linux":  # no dumps, and no look into it for its user's other programs
        assert "dumpable 0" in done.stdout


def test_the_server_s_own_answers_hold_no_secret(rig: Rig) -> None:
    """23: an address with a token in it, asked of the server, is not echoed into its log."""
    rig.start()
    assert rig.ready()
    server = json.loads((rig.private / "run/server.json").read_bytes())
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(f"{server['url']}/api/v1/sessions/{BOT}?key={STORED}")
    rig.stop()
    assert holding(rig.root) == []


def below(pid: int) -> list[int]:
    """All descendants, those included that were handed on to another parent of the same session."""
    found: list[int] = []
    marks = {pid}
    for _ in range(4):
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) in found:
                continue
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) in marks:
                    found.append(int(entry.name))
                    marks.add(int(entry.name))
    return found
