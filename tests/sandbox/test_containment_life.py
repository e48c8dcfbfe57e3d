"""Contained commands live as others do: they outlive the runtime, are joined again, and end when told."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.sandbox.containment import Unavailable, size
from perdure.sandbox.following import Following
from perdure.sandbox.supervision.processes import pids, stat_of
from perdure.sandbox.walls.marking import MARKER

from .containing import BACKENDS, Inside, environment_of, namespace, needs
from .runtimes import alive_with, kill, until


@pytest.fixture(params=BACKENDS)
async def inside(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Inside]:
    needs(request.param)
    made = Inside(tmp_path, request.param)
    yield made
    await made.commands.close()


async def test_how_it_ended_is_told(inside: Inside) -> None:
    assert (await inside.run("exit 7")).exit_code == 7
    assert (await inside.run("kill -KILL $$")).exit_code == 128 + signal.SIGKILL
    assert (await inside.run("no-such-program")).exit_code == 127
    left = await inside.run("sleep 60 & echo x")
    assert (left.state, left.left > 0) == ("exited", True)
    late = await inside.run("sleep 60", timeout=0.3)
    assert late.state == "timeout"


async def test_a_command_too_long_for_an_argument_runs(inside: Inside) -> None:
    assert await inside.says("true " + "x" * 150_000 + "\necho done") == "done"


async def test_stopped_it_is_gone_within_a_second_with_all_it_started(inside: Inside) -> None:
    mark = f"mark{uuid.uuid4().hex}"
    hiding = f"env -i setsid sh -c 'trap \"\" TERM; while :; do sleep 0.1; done; : {mark}' &"
    task = asyncio.create_task(inside.run(f"{hiding} {hiding} touch up; sleep 60; : {mark}"))
    await until((inside.work / "up").exists)
    await until(lambda: len(alive_with(mark)) >= 3)
    begin = time.monotonic()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert time.monotonic() - begin < 1.0
    assert alive_with(mark) == []


async def test_with_its_supervisor_everything_ends(inside: Inside) -> None:
    """Also what left the session and cleared its environment: it cannot leave its namespace."""
    mark = f"mark{uuid.uuid4().hex}"
    command = f"env -i setsid sh -c 'touch up; while :; do sleep 0.1; done; : {mark}' & sleep 60"
    task = asyncio.create_task(inside.run(command, key="k-supervisor"))
    await until((inside.work / "up").exists)
    supervisor = Following(inside.commands.folder("k-supervisor"), "").pids()[0]
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    assert (await task).state == "lost"
    await until(lambda: alive_with(mark) == [])


RUNTIME = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from tests.sandbox.containing import Inside

    async def main():
        made = Inside(Path(sys.argv[1]), sys.argv[2])
        await made.run("echo before; touch up; while [ ! -e go ]; do sleep 0.05; done; echo after", key="k")

    asyncio.run(main())
""")


async def test_after_kill_9_of_the_runtime_it_is_joined_again(inside: Inside) -> None:
    runtime = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", RUNTIME, str(inside.root), inside.confines.backend],
        cwd=Path(__file__).parents[2],
    )
    await until((inside.work / "up").exists)
    kill(runtime)
    joined = asyncio.create_task(
        inside.session().run("never run", key="k", cwd=inside.work, timeout=30, resumed=True)
    )
    (inside.work / "go").touch()
    outcome = await joined
    assert (outcome.state, outcome.exit_code) == ("exited", 0)
    assert outcome.output.read_text() == "before\nafter\n"


async def test_a_process_in_the_background_is_contained_and_typed_to(inside: Inside) -> None:
    background = inside.session().background
    process = await background.start(
        "s_1", "cat; cat /etc/shadow; ls ~/.ssh", key="kb", cwd=inside.work
    )
    await background.send(process, "hello\n")
    process, found = await background.wait(process, 10, until="hello")
    assert found
    await background.send(process, "\x04")
    process, _ = await background.wait(process, 10)
    assert process.state == "exited"
    assert "root:" not in process.output.read_text()


async def test_a_terminal_is_one_with_control_of_jobs(inside: Inside) -> None:
    background = inside.session().background
    process = await background.start(
        "s_1", "bash --norc -i", key="kt", cwd=inside.work, terminal=True
    )
    await background.send(process, "tty; test -t 0 && echo is-a-$((1+1))-terminal\n")
    process, found = await background.wait(process, 10, until="is-a-2-terminal")
    assert found
    seconds = f"60.{os.getpid()}"
    await background.send(process, f"sleep {seconds}\n")
    await until(lambda: alive_with(seconds))
    await background.send(process, "\x03")
    await background.send(process, "echo back-$((20+1))\n")
    process, found = await background.wait(process, 10, until="back-21")
    assert found, process.output.read_text()
    assert "no job control" not in process.output.read_text()
    process = await background.stop(process)
    assert process.state == "stopped"


async def test_every_process_of_it_has_the_filter_and_no_powers(inside: Inside) -> None:
    mark = f"mark{uuid.uuid4().hex}"
    task = asyncio.create_task(inside.run(f"touch up; sleep 60; : {mark}"))
    await until((inside.work / "up").exists)
    [pid] = [
        p for p in alive_with(mark) if Path(f"/proc/{p}/cmdline").read_bytes().startswith(b"/")
        and b"bwrap" not in Path(f"/proc/{p}/cmdline").read_bytes()
    ]  # fmt: skip
    status = Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    for kind in ("mnt", "net", "pid", "ipc", "uts"):
        ours, its = (Path(f"/proc/{p}/ns/{kind}").readlink() for p in ("self", pid))
        assert ours != its
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_the_only_way_out_is_the_egress(inside: Inside) -> None:
    inside.proxy = inside.root / "egress.sock"
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, str(inside.proxy))
    fetch = "import urllib.request as r; print(r.urlopen('http://example.org/x').read().decode())"
    said = await inside.says(f'echo $https_proxy; python3 -c "{fetch}"')
    assert said == "http://127.0.0.1:3128\nhello"
    assert asked[0].startswith(b"GET http://example.org/x HTTP/1.1\r\n")
    server.close()


@pytest.mark.parametrize("spare", [False, True])
async def test_who_hands_on_to_the_egress_is_found_as_one_of_the_command_s(
    inside: Inside, spare: bool
) -> None:
    inside.proxy = inside.root / "egress.sock"
    if spare:
        await inside.says("true")
        await until(inside.standing_by)
    task = asyncio.create_task(inside.run("touch up; sleep 60", key="k"))
    await until((inside.work / "up").exists)
    wanted = f"{MARKER}={Following(inside.commands.folder('k'), '').marker()}".encode()
    found = [pid for pid in pids() if wanted in environment_of(pid)]
    own = namespace("self", "mnt")
    networks = {namespace(pid, "net") for pid in found}
    forwarders = [
        pid for pid in found
        if b"supervision/script.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
        and namespace(pid, "pid") == namespace("self", "pid")
    ]  # fmt: skip
    assert forwarders
    assert len(networks) == 1
    assert all(namespace(pid, "mnt") != own for pid in found)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert not [pid for pid in pids() if wanted in environment_of(pid)]


async def test_what_was_hidden_beforehand_and_then_replaced_is_hidden_all_the_same(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = inside.root / "passwords", inside.root / "keys"
    file.write_text("secret-1")
    folder.mkdir()
    (folder / "key").write_text("secret-1")
    monkeypatch.setattr("perdure.sandbox.hidden.of_system", lambda: (str(file), str(folder)))
    inside.confines = dataclasses.replace(inside.confines, read=(str(file), str(folder)))
    see = (
        f"cat {file} {folder}/* 2>&1 | grep secret; ls /proc | grep -c ^[0-9] >/dev/null; echo seen"
    )
    assert await inside.says(see) == "seen"
    for count in (2, 3):
        # The last of what is mounted beforehand, by the one or the other.
        last = "/root/dev/shm " if inside.confines.backend == "launcher" else f" {folder} "
        await until(lambda last=last: inside.standing_by(last))
        file.with_suffix(".new").write_text(f"secret-{count}")
        file.with_suffix(".new").replace(file)
        folder.rename(inside.root / f"keys-{count}")
        folder.mkdir()
        (folder / "key").write_text(f"secret-{count}")
        assert await inside.says(see) == "seen"


async def test_the_second_command_and_those_of_another_kind_have_the_same_walls(
    inside: Inside,
) -> None:
    look = (
        "cat /proc/self/status | grep -E '^(Seccomp|NoNewPrivs|CapEff|CapBnd):'; ulimit -c; ulimit -f; "
        "nice; ls /proc/self/fd | wc -l; set -- /proc/[0-9]*; echo $#; hostname; cat /proc/net/dev | wc -l; "
        "grep -v ' /tmp/' /proc/self/mounts | wc -l"
    )
    first = await inside.says(look)
    for _ in range(2):
        await until(inside.standing_by)
        assert await inside.says(look) == first
    inside.proxy = inside.root / "nobody.sock"
    proxied = await inside.says(look)
    await until(lambda: len({namespace(p, "net") for p in inside.standing_by()}) >= 2)
    assert await inside.says(look) == proxied
    inside.proxy = None
    assert await inside.says(look) == first


async def test_what_stands_by_ends_with_the_runtime_also_while_a_command_runs(
    inside: Inside,
) -> None:
    await inside.says("true")
    await until(inside.standing_by)
    process = await inside.session().background.start("s_1", "sleep 60", key="kb", cwd=inside.work)
    assert process.supervisor
    await until(inside.standing_by)
    standing = inside.standing_by()
    await inside.commands.close()
    await until(lambda: not any(stat_of(pid) for pid in standing))
    assert process.state == "running"
    await inside.session().background.stop(process)


async def test_nobody_at_the_egress_is_no_way_out(inside: Inside) -> None:
    inside.proxy = inside.root / "nobody.sock"
    fetch = "import urllib.request as r; r.urlopen('http://example.org/', timeout=5)"
    assert (await inside.run(f'python3 -c "{fetch}"')).exit_code == 1


async def test_without_a_backend_nothing_runs_and_it_is_said_what_to_do(tmp_path: Path) -> None:
    made = Inside(tmp_path, "seatbelt")
    with pytest.raises(Unavailable) as refused:
        await made.run("touch ran")
    assert "commands cannot run" in refused.value.message
    assert "apt install bubblewrap" in refused.value.hint
    assert "backend: none" in refused.value.hint
    assert not (made.work / "ran").exists()
    await made.commands.close()


async def test_none_is_chosen_by_name_alone(tmp_path: Path) -> None:
    made = Inside(tmp_path, "none")
    assert await made.says("cat /proc/self/status | grep ^Seccomp:") == "Seccomp:\t0"
    await made.commands.close()


def test_sizes_are_read() -> None:
    assert (size("512M"), size("2 GiB"), size("none")) == (512 << 20, 2 << 30, 0)
    assert 0 < size("25%") < size("50%")


NOBODY = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from perdure.sandbox.supervision.processes import descendants
    from tests.sandbox.containing import Inside
    from tests.sandbox.runtimes import until

    async def main():
        made = Inside(Path(sys.argv[1]), sys.argv[2])
        for _ in range(2):  # the second by one that stood by
            outcome = await made.run("id -u; echo x > f && cat f; cat /etc/shadow; "
                                     "ls /proc | grep -c ^[0-9]; unshare -Ur true; ulimit -u")
            print(outcome.exit_code, outcome.error, outcome.output.read_text())
            await until(lambda: len(descendants(made.commands._launcher._process.pid)) >= 2)
        await made.commands.close()

    asyncio.run(main())
""")


CAN = "import subprocess, sys, pytest, msgspec; subprocess.run([sys.executable, '-c', ''], check=True)"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root, to become nobody")
def test_who_is_not_root_has_the_same_walls(backend: str, tmp_path: Path) -> None:
    needs(backend)  # type: ignore[arg-type]
    import msgspec

    place = Path("/var/tmp") / f"perdure-nobody-{uuid.uuid4().hex}"
    place.mkdir()
    repo = Path(__file__).parents[2]
    packages = Path(msgspec.__file__).parents[1]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(place),
        "TMPDIR": str(place),
        "PYTHONPATH": f"{repo}/src:{repo}:{packages}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    try:
        os.chown(place, 65534, 65534)
        (place / "root").mkdir()
        os.chown(place / "root", 65534, 65534)
        for python in (sys.executable, "/usr/bin/python3"):
            trial = [*as_nobody, python, "-c", CAN]
            ok = subprocess.run(trial, env=environment, capture_output=True, cwd="/", check=False)
            if ok.returncode == 0:
                break
        else:
            pytest.skip("no Python that nobody can run with these packages")
        done = subprocess.run(
            [*as_nobody, python, "-c", NOBODY, str(place / "root"), backend],
            env=environment, capture_output=True, text=True, timeout=60, cwd="/", check=False,
        )  # fmt: skip
        lines = done.stdout.strip().splitlines()
        assert lines[:2] == ["0  65534", "x"], done.stderr
        assert lines.count("0  65534") == lines.count("x") == lines.count("512") == 2
        assert "root:" not in done.stdout
        assert done.stdout.count("unshare: ") == 2
    finally:
        import shutil

        shutil.rmtree(place, ignore_errors=True)
