"""A workspace with a real server process, driven over HTTP as any client would."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perdure.agents import scaffold

PATIENCE = 60.0
DOOMED = Path(__file__).with_name("doomed.py")


class Gone(Exception):
    """The server does not answer: it was killed, or is not up yet."""


class Refused(Exception):
    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status} {problem}")
        self.status, self.problem = status, problem


class Rig:
    def __init__(
        self, root: Path, script: str = "replies: []", policy: str = "mode: auto\n"
    ) -> None:
        self.root = root
        self.private = root / ".perdure"
        scaffold(root, model="script:script.yaml")
        (root / "script.yaml").write_text(script)
        (self.private / "policy.yaml").write_text(policy)
        home = root.parent / f"{root.name}-home"
        home.mkdir(exist_ok=True)
        keep = ("PATH", "LANG", "TMPDIR", "PYTHONPATH")
        self.env = {k: v for k, v in os.environ.items() if k in keep} | {"HOME": str(home)}
        self.process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    # The server -----------------------------------------------------------------------------------

    def start(self, doom: tuple[int, str] | None = None) -> None:
        """Begin to run; `doom`: to die at the nth event of that kind."""
        arguments = (
            ["-m", "perdure", "serve"]
            if doom is None
            else [str(DOOMED), str(self.root), str(doom[0]), doom[1]]
        )
        log = (self.root.parent / f"{self.root.name}.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.root,
                env=self.env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def ready(self) -> bool:
        """Listening; False when it has died."""
        assert self.process is not None
        file = self.private / "run" / "server.json"
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return False
            try:
                if json.loads(file.read_bytes())["pid"] == self.process.pid:
                    return True
            except (OSError, ValueError):
                pass
            time.sleep(0.01)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.kills += 1

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError("the server did not stop within 15 s") from None

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # Requests -------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Raises Gone when there is no answer, Refused for a problem response."""
        try:
            server = json.loads((self.private / "run" / "server.json").read_bytes())
        except (OSError, ValueError) as error:
            raise Gone from error
        request = urllib.request.Request(
            server["url"] + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {server['token']}",
                "Content-Type": "application/json",
                **{k.replace("_", "-"): v for k, v in headers.items()},
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                data = response.read()
        except urllib.error.HTTPError as error:
            problem = error.read()
            if error.code == 503:
                raise Gone(problem) from error
            raise Refused(error.code, json.loads(problem or b"{}")) from error
        except (OSError, http.client.HTTPException) as error:
            raise Gone from error
        return json.loads(data) if data else None

    def insist(self, act: Callable[[], Any]) -> Any:
        """Do it; while the server is gone, start it again (without doom) and do it again."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                return act()
            except Gone:
                assert self.process is not None
                if self.process.poll() is not None:
                    self.kills += self.process.returncode == -signal.SIGKILL
                    self.start()
                    self.ready()
                time.sleep(0.02)
        raise AssertionError("the server does not come back")

    # Sessions -------------------------------------------------------------------------------------

    def records(self, session: str) -> list[dict[str, Any]]:
        """As they are on disk, whole lines only."""
        file = self.private / "sessions" / session / "events.jsonl"
        if not file.exists():
            return []
        return [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]

    def events(self, session: str, *types: str) -> list[dict[str, Any]]:
        events = [r["event"] for r in self.records(session)]
        return [e for e in events if not types or e["type"] in types]

    def until(self, what: str, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {PATIENCE:.0f} s for {what}")
            time.sleep(0.01)
