"""Two of everything (D6), and machines that run out (D9): disk, files, file size."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .server import Server, refused, unable, waiting_for

LASTING = """\
replies:
- calls:
  - {tool: bash, arguments: {command: "touch begun; sleep 1; echo x >> effects"}}
- text: Done.
- text: Again.
"""

OTHER = """
import asyncio, sys
from pathlib import Path
from perdure.kernel.errors import PerdureError
from perdure.kernel.events import Text
from perdure.runtime import open_runtime
async def main():
    runtime = await open_runtime(Path(sys.argv[1]))
    try:
        await runtime.submit(sys.argv[2], (Text(text="me too"),))
        print("accepted")
    except PerdureError as error:
        print(type(error).__name__, error.message)
    await runtime.close()
asyncio.run(main())
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "w") as server:
        yield server.begin()


# One writer ------------------------------------------------------------------------------------------


def other_runtime(server: Server, session: str) -> str:
    """What a runtime in another process says when it wants to write the session."""
    ran = subprocess.run(
        [sys.executable, "-c", OTHER, str(server.root), session],
        env=server.env, cwd=server.root, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return ran.stdout.strip()


def test_a_second_server_on_the_workspace_is_refused_and_told_whose_it_is(server: Server) -> None:
    second = server.command("serve")
    assert second.returncode != 0
    told = second.stdout + second.stderr
    assert "already runs" in told and str(server.pid) in told, told
    assert server.answers(server.new_session(), "still here?") == "Answer 1."


def test_a_second_runtime_is_kept_from_a_session_and_told_by_whom(server: Server) -> None:
    session = server.new_session()
    server.answers(session, "one")
    told = other_runtime(server, session)
    assert told.startswith("Locked") and f"pid {server.pid}" in told
    repair = server.command("session", "verify", session, "--repair")
    assert repair.returncode != 0 and f"pid {server.pid}" in repair.stderr
    assert server.answers(session, "two") == "Answer 2."
    assert server.received(session) == ["one", "two"]
    server.check(session)


def test_a_server_that_was_stopped_and_continued_lost_nothing_to_another(tmp_path: Path) -> None:
    """While it stands still it still holds its sessions; nobody writes behind its back."""
    with Server(tmp_path / "w", LASTING) as server:
        server.begin()
        session = server.new_session()
        assert server.say(session, "go")[0] == 202
        server.until("the command", (tmp_path / "w" / "begun").exists)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            assert f"pid {server.pid}" in other_runtime(server, session)
            assert server.command("serve").returncode != 0
            time.sleep(1.2)  # the command ends meanwhile
        finally:
            os.kill(server.pid, signal.SIGCONT)
        server.until("the answer", lambda: server.events(session, "turn_ended"))
        assert (tmp_path / "w" / "effects").read_text() == "x\n"
        assert server.received(session) == ["go"]
        assert server.answers(session, "more") == "Again."
        server.check(session)


def test_when_the_writer_is_killed_another_takes_over_at_once(server: Server) -> None:
    session = server.new_session()
    server.answers(session, "one")
    os.kill(server.pid, signal.SIGSTOP)
    assert other_runtime(server, session).startswith("Locked")
    server.kill()
    assert other_runtime(server, session) == "accepted"


# Machines that run out ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)],
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        unable(f"a small file system cannot be mounted: {made.stderr.strip() or 'not root'}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_refuses_new_work_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    with Server(small_disk / "w") as server:
        server.begin()
        session = server.new_session()
        server.answers(session, "one")
        filler = small_disk / "filler"
        fill(filler)
        refused(server.say(session, "x" * 9_000, key="k2"), "No space left on device")
        assert "space" in server.say(session, "x" * 9_000, key="k2")[1]["hint"]
        assert server.ask("GET", f"/api/v1/sessions/{session}/events")[0] in (200, 503)
        assert server.ask("GET", "/livez")[0] == 200
        assert server.received(session) == ["one"]
        assert server.command("session", "verify", session).returncode == 0
        # Full for long, not only for a moment; and whatever is tried does not make it worse.
        for _ in range(3):
            assert server.ask("POST", "/api/v1/sessions", {})[0] in (201, 503)
        filler.unlink()
        assert server.answers(session, "x" * 9_000, key="k2") == "Answer 2."
        assert server.answers(server.new_session(), "new") == "Answer 1."
        server.check(session)


def test_a_turn_that_met_a_full_disk_is_answered_when_there_is_room(small_disk: Path) -> None:
    """Its message had been stored; nobody sends it again."""
    script = (
        "replies:\n- calls:\n"
        '  - {tool: bash, arguments: {command: "touch begun; until test -e go; do sleep 0.05; done; '
        "head -c 30000 /dev/zero | tr '\\\\0' x\"}}\n"
        "- text: Done.\n"
    )
    with Server(small_disk / "w", script) as server:
        server.begin()
        session = server.new_session()
        assert server.say(session, "go")[0] == 202
        server.until("the command", (small_disk / "w" / "begun").exists)
        filler = small_disk / "filler"
        (small_disk / "w" / "go").touch()
        fill(filler)
        time.sleep(1.0)
        assert server.ask("GET", "/livez")[0] == 200
        filler.unlink()
        server.until("the answer", lambda: server.events(session, "turn_ended"))
        assert [e["reason"] for e in server.events(session, "turn_ended")] == ["done"]
        assert len(server.events(session, "tool_finished")) == 1
        server.check(session)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            pass


def limited(server: Server, what: int, soft: int) -> tuple[int, int]:
    if not hasattr(resource, "prlimit"):
        unable("limits of another process cannot be set here")
    _, hard = resource.prlimit(server.pid, what)
    return resource.prlimit(server.pid, what, (soft, hard))


def test_a_server_without_free_file_descriptors_says_so_and_recovers(server: Server) -> None:
    session = server.new_session()
    server.answers(session, "one")
    kept = len(os.listdir(f"/proc/{server.pid}/fd"))  # noqa: PTH208
    before = limited(server, resource.RLIMIT_NOFILE, kept)
    refused(server.ask("POST", "/api/v1/sessions", {}), "Too many open files")
    # A session that is open needs no more files.
    assert server.say(session, "two", key="k2")[0] in (202, 503)
    assert server.ask("GET", "/livez")[0] == 200
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
    assert server.answers(session, "two", key="k2") in ("Answer 2.", "")
    server.hang_up()
    assert server.answers(server.new_session(), "new") == "Answer 1."
    waiting_for("the second answer", lambda: len(server.events(session, "turn_ended")) == 2)
    server.check(session)


def test_a_server_at_its_limit_of_file_size_says_so_and_recovers(server: Server) -> None:
    session = server.new_session()
    server.answers(session, "one")
    size = server.log(session).stat().st_size
    before = limited(server, resource.RLIMIT_FSIZE, size + 100)
    refused(server.say(session, "x" * 5_000, key="k2"), "File too large")
    assert server.ask("GET", "/livez")[0] == 200
    assert server.log(session).stat().st_size == size
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)
    assert server.answers(session, "x" * 5_000, key="k2") == "Answer 2."
    server.check(session)
