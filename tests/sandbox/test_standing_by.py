"""What is done before a command is known may fail: the command is run all the same, or it is said that it was
not; and of what the kernel was asked for nothing is left."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.sandbox import Containment
from perdure.sandbox.cgroups import usable
from perdure.sandbox.means import Means, candidates
from perdure.sandbox.planning import plan
from perdure.sandbox.supervision.streams import Output
from perdure.sandbox.walls.plan import Traits
from perdure.sandbox.walls.ready import Waiting

from .containing import BACKENDS, Inside, needs
from .runtimes import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


@pytest.fixture(params=BACKENDS)
async def inside(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Inside]:
    needs(request.param)
    made = Inside(tmp_path, request.param)
    yield made
    await made.commands.close()


SPARE = textwrap.dedent("""
    import os, select, sys, time
    from perdure.sandbox.supervision import spare
    from perdure.sandbox.walls import apart, bounds, enter, ready

    folder, case = sys.argv[1:]
    real, begin, told = apart.apart, apart.newroot.begin, apart._told

    def fail(*_):
        raise OSError(12, "of a wall", "the wall")

    def fail_late(traits, groups, kept):
        def late(*_):
            poller = select.poll()
            for fd in kept:
                poller.register(fd, select.POLLIN)
            poller.poll()  # the command has been given
            fail()
        if case == "inner" and traits.means == "launcher":
            apart.newroot.begin = late  # by the first process of the command's own namespace
            return real(traits, groups, kept)
        late()

    def end_late(pipe):
        said = told(pipe)
        os.close(pipe)
        time.sleep(0.2)
        open(case, "w").close()
        return said

    if case in ("outer", "inner", "always"):
        spare.apart = fail_late
    if case == "always":
        enter.apart = fail
    if case.startswith("/"):
        apart._told = end_late
    news, tell = os.pipe()
    one = spare.Spare(ready.traits_in(folder), tell)
    assert one.take(os.fsencode(folder))
    print(os.waitstatus_to_exitcode(os.waitpid(one.pid, 0)[1]))
    bounds.remove_groups(os.read(news, 1 << 16).decode().split(chr(0))[:-1])
""")


def by_a_spare(inside: Inside, command: str, case: str) -> tuple[dict[str, object], str]:
    """Outcome and output of a command that is supervised by one that stood by."""
    folder = inside.root / "state/processes/given"
    made = inside.commands._claims.make(
        folder, command, inside.work, timeout=20, contain=inside.session()._contain
    )
    assert made
    done = subprocess.run(
        [sys.executable, "-c", SPARE, str(folder), case],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.strip() == "0", done.stderr
    return json.loads((folder / "exit").read_text()), (folder / "output").read_text()


@pytest.mark.parametrize("case", ["none", "outer", "inner"])
def test_a_wall_that_fails_beforehand_costs_no_command(inside: Inside, case: str) -> None:
    outcome, said = by_a_spare(inside, "echo x >> ran; cat ran; exit 3", case)
    assert (outcome["reason"], outcome["code"], said) == ("exited", 3, "x\n")


def test_a_wall_that_fails_again_is_told_and_the_command_is_not_run(inside: Inside) -> None:
    outcome, said = by_a_spare(inside, "touch ran", "always")
    assert (outcome["reason"], outcome["errno"]) == ("unstarted", errno.ENOMEM)
    assert (outcome["about"], said) == ("the wall", "")
    assert not (inside.work / "ran").exists()


def test_what_a_command_leaves_gets_its_moment_however_slowly_its_parent_goes(
    tmp_path: Path,
) -> None:
    needs("launcher")
    inside = Inside(tmp_path, "launcher")
    gone = inside.work / "gone"
    wait = f"until [ -e {gone} ]; do sleep 0.01; done; touch late"
    outcome, _ = by_a_spare(inside, f"({wait}) > /dev/null 2>&1 &", str(gone))
    assert (outcome["reason"], outcome["code"]) == ("exited", 0)
    assert (inside.work / "late").exists()


def groups_in(folders: tuple[str, ...]) -> set[Path]:
    return {group for folder in folders for group in Path(folder).glob("perdure-*")}


async def test_a_command_that_landlock_alone_holds_leaves_no_group_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = usable()
    if not folders:
        pytest.skip("no groups of the kernel can be made here")
    (tmp_path / "work").mkdir()
    means = Means(name="landlock", cgroups=folders)
    assert [m.cgroups for m in candidates("launcher") if m.name == "landlock"] == [folders]
    inside = Inside(tmp_path, "launcher")
    contained = inside.session()
    held: list[str] = []

    def contain(script: Path | None) -> object:
        containment = Containment(session="s_1", workdir=inside.work, confines=inside.confines)
        return plan(containment, means, os.environ, tmp_path / "state/processes", script)

    monkeypatch.setattr(contained, "_contain", contain)
    before = groups_in(folders)
    for count in range(3):
        outcome = await contained.run(
            "cat /proc/self/cgroup", key=f"k{count}", cwd=inside.work, timeout=20
        )
        held.append(outcome.output.read_text())
        assert outcome.exit_code == 0
    assert all("perdure-" in text for text in held)
    mine = {line.rpartition("/")[2] for text in held for line in text.splitlines()}
    mine = {name for name in mine if name.startswith("perdure-")}
    await until(lambda: not mine & {g.name for g in groups_in(folders) - before})
    await inside.commands.close()


@pytest.mark.parametrize("failing", ["mkdir", "fork", "socketpair"])
def test_when_it_cannot_be_made_no_group_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    folders = [str(tmp_path / "pids"), str(tmp_path / "memory")]
    for folder in folders if failing != "mkdir" else folders[:1]:
        Path(folder).mkdir()

    def fail(*_: object) -> int:
        raise BlockingIOError(errno.EAGAIN, "none to be had")

    if failing == "fork":
        monkeypatch.setattr("perdure.sandbox.walls.ready.os.fork", fail)
    if failing == "socketpair":
        monkeypatch.setattr("perdure.sandbox.walls.ready.socket.socketpair", fail)
    traits = Traits(
        means="launcher", cgroups=tuple(folders), userns=False, alone=True, proxied=False,
        base=(), system=(),
    )  # fmt: skip
    with pytest.raises(OSError):
        Waiting(traits)
    assert list(tmp_path.glob("*/*")) == []


def test_a_disk_that_is_full_when_the_streams_are_told_apart_loses_output_alone(
    tmp_path: Path,
) -> None:
    file = os.open(tmp_path / "output", os.O_RDWR | os.O_CREAT)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        output = Output(file, full, 100)
        output.store(1, b"one\n")
        output.store(2, b"two\n")
        assert (output.size, output.lines, output.dropped) == (0, 0, 8)
    finally:
        os.close(file)
        os.close(full)


def test_a_launcher_whose_runtime_is_gone_ends_in_order(tmp_path: Path) -> None:
    from perdure.sandbox.supervision import script

    process = subprocess.Popen(
        [sys.executable, "-I", "-S", script.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.stdin.write(os.fsencode(tmp_path / "nothing") + b"\0")
    process.stdin.flush()  # and it stays open
    assert process.wait(10) == 0, process.stderr.read()
    assert process.stderr.read() == b""
    process.stdin.close()
    process.stderr.close()
