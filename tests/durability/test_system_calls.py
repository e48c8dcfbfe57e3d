"""System calls of a real server fail (D9): nothing is acknowledged that is not stored, the server runs
on and says what is wrong, and it goes on by itself, without a restart, when the cause is gone."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .server import Server, injected, needs_strace, refused

SYNC = "fdatasync,fsync,syncfs"
RENAME = "rename,renameat,renameat2"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    needs_strace()
    with Server(tmp_path / "w") as server:
        yield server.begin()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (f"{SYNC}:error=EIO", "Input/output error"),
        ("write:error=ENOSPC", "No space left on device"),
        ("write:error=EDQUOT", "Disk quota exceeded"),
        ("write:error=EROFS", "Read-only file system"),
    ],
)
def test_what_cannot_be_stored_is_not_acknowledged(server: Server, fault: str, words: str) -> None:
    session, other = server.new_session(), server.new_session()
    assert server.answers(session, "one") == "Answer 1."
    with injected(server, fault, server.log(session)):
        refused(server.say(session, "two", key="k2"), words)
        assert server.received(session) == ["one"]
        assert server.ask("GET", "/livez")[0] == 200
        # D12: what is on another file is not affected.
        assert server.answers(other, "hello") == "Answer 1."
        # Still refused, and not silently dropped: the session was reopened and tries again.
        assert server.say(session, "two", key="k2")[0] == 503
    assert server.answers(session, "two", key="k2") == "Answer 2."
    assert server.received(session) == ["one", "two"]
    server.check(session)


def test_a_session_whose_folder_cannot_be_stored_is_not_made(server: Server) -> None:
    with injected(server, f"{SYNC}:error=EIO"):
        refused(server.ask("POST", "/api/v1/sessions", {}), "Input/output error")
    assert server.ask("GET", "/api/v1/sessions")[1]["sessions"] == []
    folder = server.private / "sessions"
    assert [p.name for p in folder.glob("s_*")] == []
    server.new_session()


@pytest.mark.parametrize(
    "fault", [f"{RENAME}:error=EIO", f"{RENAME}:error=ENOSPC", f"{SYNC}:error=EIO:when=2+"]
)
def test_a_turn_the_disk_broke_goes_on_by_itself(server: Server, fault: str) -> None:
    """The message was stored; what its turn needs was not. Nobody asks again, and it is answered."""
    session = server.new_session()
    with injected(server, fault):
        status, answer = server.say(session, "one", key="k1")
        assert status in (202, 503), answer
        time.sleep(0.5)
        assert not server.events(session, "turn_ended")
        assert server.ask("GET", "/livez")[0] == 200
    if status == 202:
        server.until("the answer", lambda: server.events(session, "turn_ended"))
        ended = server.events(session, "turn_ended")
        assert [e["reason"] for e in ended] == ["done"]
    else:
        assert server.answers(session, "one", key="k1") == "Answer 1."
    assert server.received(session) == ["one"]
    server.check(session)


def test_a_command_goes_on_while_the_disk_fails(tmp_path: Path) -> None:
    """It is not stopped because its session cannot be written: it is joined again, with its result."""
    needs_strace()
    work = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done"
    command = f"echo begun >> effects; {work}; echo ended >> effects"
    script = f'replies:\n- calls:\n  - {{tool: bash, arguments: {{command: "{command}"}}}}\n- text: Done.\n'
    with Server(tmp_path / "w", script) as server:
        server.begin()
        session, effects = server.new_session(), tmp_path / "w" / "effects"
        assert server.say(session, "go")[0] == 202
        server.until("the command", effects.exists)
        with injected(server, f"{SYNC}:error=EIO", server.log(session)):
            refused(server.say(session, "and this", key="k2"), "Input/output error")
        assert server.answers(session, "and this", key="k2") == "Done."
        finished = server.events(session, "tool_finished")
        assert [f["result"].get("status", "ok") for f in finished] == ["ok"], finished
        assert finished[0]["result"]["parts"][0]["text"].split() == ["1", "2", "3", "4", "5", "6"]
        assert effects.read_text().split() == ["begun", "ended"]
        server.check(session)


def killed_at(server: Server, call: str, n: int) -> None:
    """Killed at the nth such call; after a restart all is as if it had not been."""
    session = server.new_session()
    with injected(server, f"{call}:signal=SIGKILL:when={n}"):
        try:
            server.say(session, "one", key="k1")
            server.say(session, "two", key="k2")
            deadline = time.monotonic() + 1.0
            while time.monotonic() < deadline and server.process.poll() is None:  # type: ignore[union-attr]
                time.sleep(0.01)
        except (OSError, http.client.HTTPException):
            pass
    assert server.process is not None
    if server.process.poll() is None:  # it did not make so many
        server.kill()
    server.process.wait()
    server.hang_up()
    server.begin()
    for key, text in (("k1", "one"), ("k2", "two")):
        server.answers(session, text, key=key)
    assert server.received(session) == ["one", "two"]
    server.check(session)


@pytest.mark.parametrize(
    ("call", "n"), [("fdatasync", 1), ("fdatasync", 3), ("fsync", 2), (RENAME, 1)]
)
def test_killed_at_a_system_call(server: Server, call: str, n: int) -> None:
    killed_at(server, call, n)


@pytest.mark.slow
@pytest.mark.parametrize("n", range(1, 9))
@pytest.mark.parametrize("call", ["fdatasync", "fsync", "openat", "write", "close", RENAME])
def test_killed_at_many_system_calls(server: Server, call: str, n: int) -> None:
    killed_at(server, call, n)
