"""A real server that is made to suffer: its system calls fail, its limits shrink, its disk fills."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ..e2e.rig import Rig

ANSWERS = "replies:\n" + "".join(f"- text: Answer {n}.\n" for n in range(1, 10))


class Server(Rig):
    """A rig whose requests tell the status of their answer, over one connection that stays open."""

    def __init__(self, root: Path, script: str = ANSWERS) -> None:
        super().__init__(root, script)
        self._connection: http.client.HTTPConnection | None = None

    def begin(self) -> Server:
        self.start()
        assert self.ready(), self.output()
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def output(self) -> str:
        return (self.root.parent / f"{self.root.name}.log").read_text()

    def ask(self, method: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
        """Status and JSON. Raises OSError or HTTPException when there is no answer."""
        server = json.loads((self.private / "run" / "server.json").read_bytes())
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                server["host"], server["port"], timeout=30
            )
        headers = {
            "Authorization": f"Bearer {server['token']}",
            "Content-Type": "application/json",
            **({"Idempotency-Key": key} if key else {}),
        }
        data = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, path, data, headers)
            response = self._connection.getresponse()
            return response.status, json.loads(response.read() or b"null")
        except (OSError, http.client.HTTPException):
            self.hang_up()
            raise

    def hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def new_session(self) -> str:
        status, made = self.ask("POST", "/api/v1/sessions", {})
        assert status == 201, made
        return str(made["id"])

    def say(self, session: str, text: str, key: str = "", wait: bool = False) -> tuple[int, Any]:
        path = f"/api/v1/sessions/{session}/messages" + ("?wait=30" if wait else "")
        return self.ask("POST", path, {"text": text}, key)

    def answers(self, session: str, text: str, key: str = "") -> str:
        """Say something that must be answered, once the disk lets the server."""
        found: list[Any] = []

        def said() -> bool:
            found[:] = self.say(session, text, key, wait=True)
            return found[0] == 200

        self.until(f"an answer to {text!r}", said)
        assert found[1]["reason"] == "done", found
        return str(found[1]["text"])

    def log(self, session: str) -> Path:
        return self.private / "sessions" / session / "events.jsonl"

    def received(self, session: str) -> list[str]:
        events = self.events(session, "message_received")
        return [part["text"] for event in events for part in event["parts"]]

    def command(self, *args: str) -> subprocess.CompletedProcess[str]:
        """`perdure …` in this workspace."""
        return subprocess.run(
            [sys.executable, "-m", "perdure", *args],
            cwd=self.root,
            env=self.env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )

    def check(self, session: str) -> None:
        """The log is whole, each message was taken once, and the server never ended."""
        assert self.process is not None and self.process.poll() is None, self.output()
        verified = self.command("session", "verify", session)
        assert verified.returncode == 0 and "whole" in verified.stdout, verified.stdout
        events = self.events(session)
        sent = [e["message"] for e in events if e["type"] == "message_received"]
        taken = [m for e in events if e["type"] in TAKEN for m in e["messages"]]
        assert sorted(taken) == sorted(sent) and len(set(sent)) == len(sent)

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        self.stop()


TAKEN = ("turn_started", "messages_taken")


def refused(answer: tuple[int, Any], words: str) -> None:
    """A problem that says what is wrong, and what to do."""
    status, problem = answer
    assert status == 503, answer
    assert problem["code"] == "storage" and words in problem["detail"], problem
    assert problem["hint"], problem


# What a machine may not allow ------------------------------------------------------------------------


def unable(why: str) -> NoReturn:
    """Skipped where somebody sees it; a failure where everything must be able to run."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"cannot be tested here, but CI=true: {why}")
    pytest.skip(why)


@cache
def _tracing() -> str:
    """Why not; empty when strace can attach and inject."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    child = subprocess.Popen(["sleep", "30"])
    try:
        with _attached(child.pid, ["-e", "trace=none"]):
            return ""
    except OSError as error:
        return f"strace cannot trace here: {error}"
    finally:
        child.kill()
        child.wait()


def needs_strace() -> None:
    if why := _tracing():
        unable(why)


@contextlib.contextmanager
def injected(server: Server, fault: str, *paths: Path) -> Iterator[None]:
    """While this lasts, system calls of the server fail: `fdatasync:error=EIO`, as strace has it; only
    those on `paths`, if any are given."""
    calls = fault.partition(":")[0]
    arguments = ["-e", f"trace={calls}", "-e", f"inject={fault}"]
    for path in paths:
        arguments += ["-P", str(path)]
    with _attached(server.pid, arguments):
        yield


@contextlib.contextmanager
def _attached(pid: int, arguments: list[str]) -> Iterator[None]:
    command = ["strace", "-f", "-qq", "-o", "/dev/null", *arguments, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 10
        while not (_traced(pid, tracer.pid) or _ended(pid)):
            if tracer.poll() is not None or time.monotonic() > deadline:
                tracer.kill()
                _, said = tracer.communicate()
                raise OSError(said.decode(errors="replace").strip() or "it does not attach")
            time.sleep(0.01)
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        try:
            tracer.communicate(timeout=2)
        except subprocess.TimeoutExpired:  # what it traced was killed under its hands
            tracer.kill()
            tracer.communicate()


def _ended(pid: int) -> bool:
    """Also true of one that a fault killed as soon as it was traced."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def _traced(pid: int, tracer: int) -> bool:
    line = f"TracerPid:\t{tracer}\n"
    with contextlib.suppress(OSError):
        return all(line in s.read_text() for s in Path(f"/proc/{pid}/task").glob("*/status"))
    return False


def waiting_for(what: str, true: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.01)
