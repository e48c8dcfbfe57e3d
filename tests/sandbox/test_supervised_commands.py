"""Commands run once, keep their output, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from perdure.kernel.errors import Conflict
from perdure.sandbox import Outcome, SupervisedCommands
from perdure.sandbox.supervision.processes import pids, stat_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.fixture
async def commands(tmp_path: Path) -> AsyncIterator[SupervisedCommands]:
    made = SupervisedCommands(tmp_path / "processes")
    yield made
    await made.close()


async def run(
    commands: SupervisedCommands, command: str, cwd: Path, *, key: str = "k", timeout: float = 20.0
) -> Outcome:
    return await commands.run(command, key=key, cwd=cwd, timeout=timeout)


def alive_with(mark: str) -> list[int]:
    """Processes whose command line holds this text."""
    found = []
    for pid in pids():
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            stat = stat_of(pid)
            if mark.encode() in line and stat is not None and stat[0] not in "ZX":
                found.append(pid)
    return found


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come true"
        await asyncio.sleep(0.01)


async def test_output_and_exit_code_are_reported(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    outcome = await run(commands, "echo out; echo err >&2; exit 3", tmp_path)
    assert (outcome.state, outcome.exit_code) == ("exited", 3)
    assert sorted(outcome.output.read_text().split()) == ["err", "out"]
    assert (outcome.size, outcome.lines, outcome.left) == (8, 2, 0)


async def test_streams_are_told_apart_while_it_runs(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    seen: list[tuple[str, str]] = []
    await commands.run(
        "echo one; sleep 0.1; echo two >&2; sleep 0.1; echo drei",
        key="k",
        cwd=tmp_path,
        timeout=20,
        on_output=lambda stream, text: seen.append((stream, text)),
    )
    assert seen == [("stdout", "one\n"), ("stderr", "two\n"), ("stdout", "drei\n")]


async def test_a_character_split_between_two_writes_is_shown_whole(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    seen: list[str] = []
    await commands.run(
        r"printf '\303'; sleep 0.15; printf '\244'; printf '\377'",
        key="k",
        cwd=tmp_path,
        timeout=20,
        on_output=lambda _, text: seen.append(text),
    )
    assert "".join(seen) == "ä\ufffd"


async def test_a_killed_command_reports_its_signal_as_shells_do(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    outcome = await run(commands, "kill -9 $$", tmp_path)
    assert (outcome.state, outcome.exit_code) == ("exited", 137)


async def test_a_command_that_reads_its_input_finds_it_empty(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    outcome = await run(commands, "cat; read x; test -t 0; (: </dev/tty) 2>/dev/null", tmp_path)
    assert (outcome.state, outcome.exit_code) == ("exited", 1)  # and not at its time limit


async def test_credentials_of_the_runtime_are_not_inherited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("PATH", f".:relative:{os.environ['PATH']}")
    commands = SupervisedCommands(tmp_path / "processes")
    outcome = await run(commands, "env; cat /proc/$PPID/environ", tmp_path)
    text = outcome.output.read_text()
    assert "sk-secret" not in text
    path = next(line for line in text.splitlines() if line.startswith("PATH="))
    assert all(entry.startswith("/") for entry in path[5:].split(":"))
    await commands.close()


async def test_the_command_starts_with_no_ignored_or_blocked_signals_and_no_open_files(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    if sys.platform != "linux":
        pytest.skip("needs /proc")
    command = "grep -E 'Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | wc -l"
    words = (await run(commands, command, tmp_path)).output.read_text().split()
    # The C library keeps signals 32 and 33 to itself: nobody can set or reset them.
    blocked, ignored = (int(word, 16) & ~(0b11 << 31) for word in (words[1], words[3]))
    assert (blocked, ignored) == (0, 0)
    assert int(words[4]) <= 4  # three streams, and the directory that ls reads


async def test_a_folder_or_program_that_is_missing_is_told(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    outcome = await run(commands, "true", tmp_path / "gone")
    assert (outcome.state, outcome.exit_code) == ("unstarted", None)
    assert "no such file" in outcome.error
    other = await commands.run(["/nonexistent"], key="k2", cwd=tmp_path, timeout=5)
    assert other.state == "unstarted"


async def test_an_argument_vector_is_run_without_a_shell(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    outcome = await commands.run(["echo", "$HOME; x"], key="k", cwd=tmp_path, timeout=5)
    assert outcome.output.read_text() == "$HOME; x\n"


async def test_a_command_longer_than_an_argument_may_be_runs(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    text = "x" * 300_000
    outcome = await run(commands, f"cat <<'END' | wc -c\n{text}\nEND", tmp_path)
    assert outcome.output.read_text().strip() == "300001"


async def test_a_key_runs_once(commands: SupervisedCommands, tmp_path: Path) -> None:
    await run(commands, "echo x >> ran", tmp_path)
    with pytest.raises(Conflict):
        await run(commands, "echo x >> ran", tmp_path)
    joined = await commands.run("echo x >> ran", key="k", cwd=tmp_path, timeout=5, resumed=True)
    assert joined.exit_code == 0
    assert (tmp_path / "ran").read_text() == "x\n"


@linux
@pytest.mark.parametrize(
    "command",
    [
        "sleep 7101 & echo ok",
        "(setsid sleep 7101 >/dev/null 2>&1 &) ; echo ok",
        "setsid sh -c 'sleep 7101 & sleep 7101' & echo ok",
        'python3 -c "import os,time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n'
        'time.sleep(7101)" ; echo ok',
        "env -i setsid nohup sleep 7101 & echo ok",
        "(trap '' TERM HUP INT; exec sleep 7101) & echo ok",
    ],
)
async def test_what_is_left_in_the_background_neither_delays_the_result_nor_lives_on(
    commands: SupervisedCommands, tmp_path: Path, command: str
) -> None:
    outcome = await run(commands, command.replace("7101", f"7101.{os.getpid()}"), tmp_path)
    assert (outcome.state, outcome.exit_code) == ("exited", 0)
    assert outcome.output.read_text() == "ok\n"
    assert outcome.left >= 1  # which would have run for hours, and was not waited for
    assert not alive_with(f"7101.{os.getpid()}")


async def test_a_background_process_that_ends_soon_is_waited_for(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    outcome = await run(commands, "echo first; (sleep 0.05; echo late) &", tmp_path)
    assert outcome.output.read_text() == "first\nlate\n"
    assert outcome.left == 0


@linux
async def test_the_time_limit_ends_the_whole_tree(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    mark = f"7102.{os.getpid()}"
    outcome = await run(
        commands,
        f"echo begun; trap '' TERM; setsid sleep {mark} & sleep {mark}",
        tmp_path,
        timeout=0.4,
    )
    assert (outcome.state, outcome.exit_code) == ("timeout", None)
    assert outcome.output.read_text() == "begun\n"
    assert not alive_with(mark)


@linux
async def test_cancelling_ends_the_whole_tree_within_a_second(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    mark = f"7103.{os.getpid()}"
    command = f"trap '' TERM; (setsid sleep {mark} &); sleep {mark} & touch up; sleep {mark}"
    task = asyncio.create_task(run(commands, command, tmp_path))
    await until((tmp_path / "up").exists)
    began = time.monotonic()
    task.cancel()
    task.cancel()  # impatience changes nothing
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive_with(mark)
    assert time.monotonic() - began < 1.5  # one second, and what a loaded machine adds


@linux
async def test_a_tree_that_keeps_forking_is_ended(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    script = tmp_path / "fork.sh"
    script.write_text(
        "for i in $(seq 200); do (sh -c 'sleep 0.01; exec sleep 7104' &); done\nwait\n"
    )
    outcome = await run(commands, f"sh {script}; sleep 7104", tmp_path, timeout=0.7)
    assert outcome.state == "timeout"
    assert not [p for p in alive_with("7104") if p != os.getpid()]


async def test_a_cancelled_command_that_had_not_begun_never_begins(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    task = asyncio.create_task(run(commands, "sleep 0.3; touch ran", tmp_path))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.5)
    assert not (tmp_path / "ran").exists()


@linux
async def test_a_command_that_kills_its_supervisor_is_in_doubt_and_ended(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    mark = f"7105.{os.getpid()}"
    stored = commands.folder("k") / "output"
    command = (
        f"echo before; until [ -s {stored} ]; do sleep 0.01; done; "
        f"setsid sleep {mark} & kill -9 $PPID; sleep {mark}"
    )
    outcome = await run(commands, command, tmp_path)
    assert outcome.state == "lost"
    assert outcome.output.read_text() == "before\n"
    assert outcome.size == 7
    await until(lambda: not alive_with(mark))


@linux
async def test_a_command_that_stops_its_supervisor_is_still_cancelled(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    mark = f"7106.{os.getpid()}"
    command = f"(setsid sleep {mark} &); kill -STOP $PPID; touch up; sleep {mark}"
    task = asyncio.create_task(run(commands, command, tmp_path))
    await until((tmp_path / "up").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive_with(mark)


async def test_the_launcher_is_replaced_when_it_was_killed(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    await run(commands, "true", tmp_path, key="k1")
    launcher = commands._launcher._process
    assert launcher is not None
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()
    assert (await run(commands, "true", tmp_path, key="k2")).exit_code == 0


async def test_a_flood_of_output_fills_no_memory_and_is_kept(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    shown = 0

    def show(_: str, text: str) -> None:
        nonlocal shown
        shown += len(text)

    outcome = await commands.run(
        "head -c 200000000 /dev/zero | tr '\\0' 'x'",
        key="k",
        cwd=tmp_path,
        timeout=60,
        on_output=show,
    )
    assert (outcome.exit_code, outcome.size, outcome.dropped) == (0, 200_000_000, 0)
    assert shown < 100_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # KB


async def test_output_beyond_the_limit_is_taken_and_dropped(tmp_path: Path) -> None:
    commands = SupervisedCommands(tmp_path / "processes", output_limit=1000)
    outcome = await run(commands, "seq 100000; echo end >&2", tmp_path)
    assert (outcome.exit_code, outcome.size) == (0, 1000)
    assert outcome.dropped == 588_895 + 4 - 1000
    assert outcome.output.stat().st_size == 1000
    await commands.close()


async def test_many_commands_run_at_once(commands: SupervisedCommands, tmp_path: Path) -> None:
    outcomes = await asyncio.gather(
        *(run(commands, f"echo {i}; sleep 0.1", tmp_path, key=f"k{i}") for i in range(20))
    )
    assert [o.output.read_text() for o in outcomes] == [f"{i}\n" for i in range(20)]


# The runtime is killed, and another takes over ---------------------------------------------------

RUNTIME = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from perdure.sandbox import SupervisedCommands

    async def main():
        root, command = Path(sys.argv[1]), sys.argv[2]
        commands = SupervisedCommands(root / "processes")
        await commands.run(command, key="k", cwd=root, timeout=30)

    asyncio.run(main())
""")


def runtime(root: Path, command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", RUNTIME, str(root), command])


async def test_a_command_outlives_the_runtime_and_is_joined_with_its_whole_output(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    command = (
        "echo start >> ran; echo before; touch up; "
        "until [ -e go ]; do sleep 0.02; done; echo after; exit 5"
    )
    process = runtime(tmp_path, command)
    await until((tmp_path / "up").exists)
    process.send_signal(signal.SIGKILL)
    process.wait()
    seen: list[str] = []
    joined = asyncio.create_task(
        commands.run(
            command,
            key="k",
            cwd=tmp_path,
            timeout=30,
            resumed=True,
            on_output=lambda _, text: seen.append(text),
        )
    )
    await until(lambda: seen == ["before\n"])
    (tmp_path / "go").touch()
    outcome = await joined
    assert (outcome.state, outcome.exit_code) == ("exited", 5)
    assert outcome.output.read_text() == "".join(seen) == "before\nafter\n"
    assert (tmp_path / "ran").read_text() == "start\n"


async def test_a_command_that_ended_while_no_runtime_was_there_has_its_result(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    process = runtime(tmp_path, "touch up; sleep 0.2; echo done")
    await until((tmp_path / "up").exists)
    process.send_signal(signal.SIGKILL)
    process.wait()
    await until((commands.folder("k") / "exit").exists)
    outcome = await commands.run("x", key="k", cwd=tmp_path, timeout=30, resumed=True)
    assert (outcome.exit_code, outcome.output.read_text()) == (0, "done\n")


async def test_a_runtime_killed_at_any_moment_runs_the_command_exactly_once(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    for i in range(8):
        root = tmp_path / str(i)
        root.mkdir()
        process = runtime(root, "echo x >> ran; sleep 0.1")
        claimed = root / "processes"
        await until(lambda claimed=claimed: claimed.exists() and list(claimed.iterdir()))
        await asyncio.sleep(0.004 * i)
        process.send_signal(signal.SIGKILL)
        process.wait()
        successor = SupervisedCommands(claimed)
        outcome = await successor.run(
            "echo x >> ran; sleep 0.1", key="k", cwd=root, timeout=30, resumed=True
        )
        assert outcome.exit_code == 0, outcome
        await asyncio.sleep(0.15)  # a late supervisor would run it again now
        assert (root / "ran").read_text() == "x\n"
        await successor.close()


@linux
async def test_a_joined_command_can_be_cancelled(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    mark = f"7107.{os.getpid()}"
    process = runtime(tmp_path, f"touch up; setsid sleep {mark} & sleep {mark}")
    await until((tmp_path / "up").exists)
    process.send_signal(signal.SIGKILL)
    process.wait()
    task = asyncio.create_task(commands.run("x", key="k", cwd=tmp_path, timeout=30, resumed=True))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive_with(mark)


async def test_a_supervisor_killed_while_no_runtime_was_there_leaves_the_outcome_in_doubt(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    process = runtime(tmp_path, "echo x >> ran; echo part; sleep 20")
    stored = commands.folder("k") / "output"
    await until(lambda: stored.exists() and stored.read_text() == "part\n")
    process.send_signal(signal.SIGKILL)
    process.wait()
    supervisor = int((commands.folder("k") / "began").read_text().split()[0])
    os.kill(supervisor, signal.SIGKILL)
    outcome = await commands.run("x", key="k", cwd=tmp_path, timeout=30, resumed=True)
    assert (outcome.state, outcome.output.read_text()) == ("lost", "part\n")
    assert (tmp_path / "ran").read_text() == "x\n"


@pytest.mark.parametrize("how", ["run again", "copied"])
async def test_what_is_lost_here_ends_nothing_elsewhere_under_the_same_key(
    tmp_path: Path, how: str
) -> None:
    """Two copies of a workspace know the same keys."""
    here, there = SupervisedCommands(tmp_path / "here"), SupervisedCommands(tmp_path / "there")
    theirs = asyncio.create_task(
        run(there, "echo up; until [ -e go ]; do sleep 0.01; done", tmp_path)
    )
    output = there.folder("k") / "output"
    await until(lambda: output.exists() and output.read_text() == "up\n")
    if how == "copied":
        shutil.copytree(there.folder("k"), here.folder("k"))
        lost = await here.run("x", key="k", cwd=tmp_path, timeout=30, resumed=True)
    else:
        lost = await run(here, "kill -9 $PPID; sleep 20", tmp_path)
    assert lost.state == "lost"
    (tmp_path / "go").touch()
    assert (await theirs).exit_code == 0
    await here.close()
    await there.close()


async def test_after_a_crash_of_the_machine_a_claimed_command_is_not_run_again(
    tmp_path: Path,
) -> None:
    before = SupervisedCommands(tmp_path / "processes", boot="one")
    before._claim(before.folder("k"), "touch ran", tmp_path, 5.0, None)
    after = SupervisedCommands(tmp_path / "processes", boot="two")
    outcome = await after.run("touch ran", key="k", cwd=tmp_path, timeout=5, resumed=True)
    assert outcome.state == "lost"
    assert not (tmp_path / "ran").exists()
    await after.close()


async def test_a_released_command_runs_on_when_the_runtime_shuts_down(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    first = SupervisedCommands(tmp_path / "processes")
    command = "touch up; until [ -e go ]; do sleep 0.02; done; echo done"
    task = asyncio.create_task(run(first, command, tmp_path))
    await until((tmp_path / "up").exists)
    first.release()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await first.close()
    (tmp_path / "go").touch()
    outcome = await commands.run(command, key="k", cwd=tmp_path, timeout=5, resumed=True)
    assert outcome.output.read_text() == "done\n"


async def test_what_is_kept_of_a_command_goes_once_its_result_is_on_record(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    await run(commands, "true", tmp_path)
    assert commands.known("k")

    def gone() -> bool:
        commands.forget("k")  # its supervisor may still be tidying up
        return not commands.known("k")

    await until(gone)
    commands.forget("k")


async def test_a_running_command_is_not_forgotten(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    task = asyncio.create_task(run(commands, "touch up; sleep 20", tmp_path))
    await until((tmp_path / "up").exists)
    commands.forget("k")
    assert commands.known("k")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_only_folders_from_before_the_machine_went_down_are_swept(tmp_path: Path) -> None:
    root = tmp_path / "processes"
    before, now = SupervisedCommands(root, boot="one"), SupervisedCommands(root, boot="two")
    for owner, key in ((before, "old"), (before, "young"), (now, "same")):
        owner._claim(owner.folder(key), "true", tmp_path, 1.0, None)
    for key in ("old", "same"):
        os.utime(now.folder(key) / "spec", (1, 1))
    now._swept = False
    await now.run("true", key="k", cwd=tmp_path, timeout=5)
    assert [now.known(k) for k in ("old", "young", "same", "k")] == [False, True, True, True]
    await now.close()
