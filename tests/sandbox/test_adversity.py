"""What a full disk, a failing fork, used-up descriptors or a killed launcher come to: a clear result, nothing
run twice, nothing taken for over that still runs, and no restart needed when the cause is gone."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from perdure.kernel.errors import Conflict
from perdure.sandbox import Outcome, SupervisedCommands

from .runtimes import until

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture
async def commands(tmp_path: Path) -> AsyncIterator[SupervisedCommands]:
    made = SupervisedCommands(tmp_path / "processes")
    yield made
    await made.background.stop_all("s_1")
    await made.close()


async def run(
    commands: SupervisedCommands, command: str, cwd: Path, key: str = "k", *, resumed: bool = False
) -> Outcome:
    return await commands.run(command, key=key, cwd=cwd, timeout=20, resumed=resumed)


def launcher(commands: SupervisedCommands) -> subprocess.Popen[bytes]:
    process = commands._launcher._process
    assert process is not None
    return process


# Full disk ---------------------------------------------------------------------------------------


class SmallDisk:
    def __init__(self, root: Path) -> None:
        self.root, self._ballast = root, root / "ballast"

    def fill(self, leave: int = 0) -> None:
        """Take all space but these bytes."""
        with self._ballast.open("wb", buffering=0) as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * 4096)
            file.truncate(file.tell() // 4096 * 4096 - leave)

    def free(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    root = tmp_path / "disk"
    root.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(root)]
    if (
        sys.platform != "linux"
        or subprocess.run(mounting, capture_output=True, check=False).returncode
    ):
        pytest.skip("this machine does not let us mount a small disk")
    try:
        yield SmallDisk(root)
    finally:
        subprocess.run(["umount", "-l", str(root)], check=True)


async def test_on_a_full_disk_a_command_does_not_start_and_starts_when_there_is_space(
    disk: SmallDisk, tmp_path: Path
) -> None:
    commands = SupervisedCommands(disk.root / "processes")
    await run(commands, "true", tmp_path, "first")
    disk.fill()
    with pytest.raises(OSError) as failure:
        await run(commands, "touch ran", tmp_path)
    assert failure.value.errno == errno.ENOSPC
    with pytest.raises(OSError):
        await commands.background.start("s_1", "touch ran", key="b", cwd=tmp_path)
    assert not commands.known("k")
    assert not (tmp_path / "ran").exists()
    disk.free()
    assert (await run(commands, "touch ran", tmp_path)).exit_code == 0
    await commands.close()


async def test_a_supervisor_without_space_says_so_and_nothing_is_run(
    disk: SmallDisk, tmp_path: Path
) -> None:
    commands = SupervisedCommands(disk.root / "processes")
    await run(commands, "true", tmp_path, "first")
    disk.fill(leave=4096)  # for what is to be run, and no more
    outcome = await run(commands, "touch ran", tmp_path)
    assert (outcome.state, outcome.error) == (
        "unstarted",
        "its supervisor could not start: no space left on device",
    )
    assert not (tmp_path / "ran").exists()
    disk.fill(leave=4096)
    with pytest.raises(OSError, match="no space left"):
        await commands.background.start("s_1", "touch ran", key="b", cwd=tmp_path)
    await commands.close()


async def test_a_command_whose_output_fills_the_disk_has_its_outcome(
    disk: SmallDisk, tmp_path: Path
) -> None:
    commands = SupervisedCommands(disk.root / "processes")
    outcome = await run(commands, "seq 200000; touch ran; exit 3", tmp_path)
    assert (outcome.state, outcome.exit_code) == ("exited", 3)
    assert outcome.output.read_bytes().startswith(b"1\n2\n3\n")
    assert outcome.size + outcome.dropped == 1_288_895
    assert outcome.dropped > 700_000
    assert (tmp_path / "ran").exists()
    await commands.close()


# Failing fork ------------------------------------------------------------------------------------


@contextlib.contextmanager
def no_forks(pid: int) -> Iterator[None]:
    """The first fork of this process, and of each that it makes, fails."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    calls = "clone,clone3,fork,vfork"
    tracer = subprocess.Popen(
        [
            *("strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid)),
            *("-e", f"trace={calls}", "-e", f"inject={calls}:error=EAGAIN:when=1"),
        ],
        stderr=subprocess.PIPE,
    )
    try:
        status = Path(f"/proc/{pid}/status")
        end = time.monotonic() + 5
        while f"TracerPid:\t{tracer.pid}\n" not in status.read_text():
            if tracer.poll() is not None or time.monotonic() > end:
                pytest.skip("this machine does not let us trace a process")
            time.sleep(0.01)
        yield
    finally:
        tracer.terminate()
        tracer.communicate()


@linux
async def test_a_fork_that_fails_is_told_and_nothing_is_run(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    await run(commands, "true", tmp_path, "first")
    pid = launcher(commands).pid
    with no_forks(pid):
        with pytest.raises(BlockingIOError) as failure:
            await run(commands, "touch ran", tmp_path)  # no supervisor
        assert failure.value.errno == errno.EAGAIN
        assert not commands.known("k")
        outcome = await run(commands, "touch ran", tmp_path)  # a supervisor, but no command
        assert (outcome.state, outcome.exit_code) == ("unstarted", None)
        assert "(EAGAIN)" in outcome.error
    assert launcher(commands).pid == pid
    assert not (tmp_path / "ran").exists()
    assert (await run(commands, "touch ran", tmp_path, "k2")).exit_code == 0


async def test_without_a_thread_to_be_had_a_command_is_run_all_the_same(tmp_path: Path) -> None:
    await asyncio.get_running_loop().shutdown_default_executor()
    commands = SupervisedCommands(tmp_path / "processes")
    assert (await run(commands, "exit 3", tmp_path)).exit_code == 3
    task = asyncio.create_task(run(commands, "touch up; sleep 60", tmp_path, "k2"))
    await until((tmp_path / "up").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await commands.close()


# Too many open files -----------------------------------------------------------------------------


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.open("/dev/null", os.O_RDONLY)
    taken = [probe]
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + 40, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)


async def test_without_descriptors_a_command_does_not_start_and_starts_later(
    tmp_path: Path,
) -> None:
    commands = SupervisedCommands(tmp_path / "processes")
    with no_descriptors():
        with pytest.raises(OSError) as failure:
            await run(commands, "touch ran", tmp_path)
        assert failure.value.errno == errno.EMFILE
        with pytest.raises(OSError):
            await commands.background.start("s_1", "touch ran", key="b", cwd=tmp_path)
    assert not (tmp_path / "ran").exists()
    assert (await run(commands, "touch ran", tmp_path)).exit_code == 0
    await commands.close()


async def test_a_running_command_is_not_given_up_for_want_of_descriptors(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    seen: list[str] = []
    task = asyncio.create_task(
        commands.run(
            "touch up; until [ -e go ]; do sleep 0.02; done; echo done; exit 5",
            key="k",
            cwd=tmp_path,
            timeout=20,
            on_output=lambda _, text: seen.append(text),
        )
    )
    await until((tmp_path / "up").exists)
    await asyncio.sleep(0.1)
    with no_descriptors():
        (tmp_path / "go").mkdir()
        await asyncio.sleep(0.4)
    outcome = await task
    assert (outcome.state, outcome.exit_code) == ("exited", 5)
    assert "".join(seen) == "done\n"


@linux
async def test_a_background_process_is_not_given_up_for_want_of_descriptors(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    process = await commands.background.start("s_1", "sleep 60", key="b", cwd=tmp_path)
    with no_descriptors(), pytest.raises(OSError):
        await commands.background.wait(process, 1)
    assert (await commands.background.wait(process, 0))[0].state == "running"


@linux
async def test_a_command_can_be_stopped_without_descriptors(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    task = asyncio.create_task(run(commands, "touch up; sleep 60", tmp_path))
    await until((tmp_path / "up").exists)
    supervisor = int((commands.folder("k") / "began").read_text().split()[0])
    with no_descriptors():
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 1.5
    await until(lambda: not Path(f"/proc/{supervisor}").exists())


# The launcher is killed --------------------------------------------------------------------------


async def test_a_launcher_killed_while_commands_run_takes_none_with_it(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    task = asyncio.create_task(
        run(commands, "touch up; until [ -e go ]; do sleep 0.02; done; exit 5", tmp_path)
    )
    await until((tmp_path / "up").exists)
    launcher(commands).kill()
    (tmp_path / "go").touch()
    assert (await task).exit_code == 5
    assert (await run(commands, "exit 6", tmp_path, "k2")).exit_code == 6


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.1])
async def test_a_launcher_killed_while_it_starts_a_command_runs_it_once(
    commands: SupervisedCommands, tmp_path: Path, moment: float
) -> None:
    await run(commands, "true", tmp_path, "first")
    process = launcher(commands)
    process.send_signal(signal.SIGSTOP)
    task = asyncio.create_task(run(commands, "echo x >> ran; sleep 0.1; exit 4", tmp_path))
    await until((commands.folder("k") / "spec").exists)
    if moment:
        await asyncio.sleep(moment)
        process.send_signal(signal.SIGCONT)
    process.kill()
    assert (await task).exit_code == 4
    await asyncio.sleep(0.1)
    assert (tmp_path / "ran").read_text() == "x\n"


async def test_a_launcher_that_does_not_answer_is_replaced(
    commands: SupervisedCommands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.sandbox.launcher.ANSWER_SECONDS", 0.2)
    await run(commands, "true", tmp_path, "first")
    launcher(commands).send_signal(signal.SIGSTOP)
    assert (await run(commands, "echo x >> ran", tmp_path)).exit_code == 0
    assert (tmp_path / "ran").read_text() == "x\n"


async def test_a_start_that_failed_never_happens_later(
    commands: SupervisedCommands, tmp_path: Path
) -> None:
    """Whoever was told that it did not start may do it again."""

    class Late:
        """Answers nothing, and starts it all the same, when it has been given up."""

        folder: Path | None = None

        def launch(self, folder: Path) -> int:
            self.folder = folder
            raise OSError(errno.EAGAIN, "no answer")

        def close(self) -> None: ...

    late, real = Late(), commands._launcher
    commands._launcher = late  # type: ignore[assignment]
    with pytest.raises(OSError, match="no answer"):
        await run(commands, "touch ran", tmp_path)
    assert late.folder is not None
    real.launch(late.folder)
    await asyncio.sleep(0.3)
    assert not (tmp_path / "ran").exists()
    commands._launcher = real


# Two runtimes ------------------------------------------------------------------------------------


async def test_of_two_runtimes_that_ask_for_one_key_one_runs_it(tmp_path: Path) -> None:
    one, two = (SupervisedCommands(tmp_path / "processes") for _ in range(2))
    for i in range(10):
        results = await asyncio.gather(
            *(run(c, f"echo x >> ran{i}; exit 3", tmp_path, f"k{i}") for c in (one, two)),
            return_exceptions=True,
        )
        assert {type(r) for r in results} == {Conflict, Outcome}, results
        assert (tmp_path / f"ran{i}").read_text() == "x\n"
    await one.close()
    await two.close()


async def test_two_runtimes_that_resume_one_key_join_the_same_run(tmp_path: Path) -> None:
    one, two = (SupervisedCommands(tmp_path / "processes") for _ in range(2))
    for i in range(10):
        joined = await asyncio.gather(
            *(
                run(c, f"echo x >> ran{i}; exit 3", tmp_path, f"k{i}", resumed=True)
                for c in (one, two)
            )
        )
        assert [o.exit_code for o in joined] == [3, 3]
        assert (tmp_path / f"ran{i}").read_text() == "x\n"
        both = await asyncio.gather(
            *(
                c.background.start("s_1", f"echo x >> bg{i}", key=f"b{i}", cwd=tmp_path)
                for c in (one, two)
            )
        )
        for process in both:
            assert (await one.background.wait(process, 10))[0].exit_code == 0
        assert (tmp_path / f"bg{i}").read_text() == "x\n"
    await one.close()
    await two.close()
