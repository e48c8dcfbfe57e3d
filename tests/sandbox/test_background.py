"""Background processes outlive the call and the runtime, can be talked to, and leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.kernel.errors import Conflict, InvalidInput, NotFound
from perdure.sandbox import Background, Process, SupervisedCommands

from .runtimes import alive_with, background_runtime, kill, until

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
S = "s_1"


class House:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.commands = SupervisedCommands(root / "processes", background_limit=3)
        self.background: Background = self.commands.background
        self._calls = 0

    async def start(
        self,
        command: str,
        *,
        key: str = "",
        session: str = S,
        terminal: bool = False,
        name: str = "",
    ) -> Process:
        self._calls += 1
        return await self.background.start(
            session,
            command,
            key=key or f"k{self._calls}",
            cwd=self.root,
            terminal=terminal,
            name=name,
        )

    async def prints(self, process: Process, pattern: str, after: int = 0) -> str:
        _, matched = await self.background.wait(process, 10, until=pattern, after=after)
        assert matched, process.output.read_text()
        return process.output.read_text()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    yield made
    for session in made.background.sessions():
        await made.background.stop_all(session)
    await made.commands.close()


async def test_it_runs_on_and_is_listed(house: House) -> None:
    process = await house.start("echo hi; sleep 60", name="idler")
    assert (process.state, process.name, process.id[0]) == ("running", "idler", "p")
    assert [(p.id, p.state) for p in await house.background.all(S)] == [(process.id, "running")]
    assert (await house.background.find(S, "idler")).id == process.id
    assert await house.background.all("s_2") == []
    with pytest.raises(NotFound, match=process.id):
        await house.background.find(S, "other")


async def test_what_fails_at_once_is_told_by_its_start(house: House, tmp_path: Path) -> None:
    process = await house.start("nosuchprogram")
    assert (process.state, process.exit_code) == ("exited", 127)
    gone = await house.background.start(S, "true", key="x", cwd=tmp_path / "gone")
    assert (gone.state, gone.error) == ("unstarted", "no such file or directory (ENOENT)")


async def test_a_key_starts_one_process(house: House) -> None:
    first = await house.start("echo x >> ran; sleep 60", key="k")
    again = await house.start("echo x >> ran; sleep 60", key="k")
    assert first.id == again.id
    assert (house.root / "ran").read_text() == "x\n"


async def test_waiting_ends_with_the_process(house: House) -> None:
    process = await house.start("until [ -e go ]; do sleep 0.02; done; exit 4")
    assert (await house.background.wait(process, 0.1))[0].state == "running"
    (house.root / "go").touch()
    ended, _ = await house.background.wait(process, 10)
    assert (ended.state, ended.exit_code) == ("exited", 4)
    assert ended.seconds > 0.1


async def test_waiting_ends_when_the_output_matches(house: House) -> None:
    process = await house.start("for i in 1 2 3 4; do echo line $i; sleep 0.1; done; sleep 60")
    began = time.monotonic()
    now, matched = await house.background.wait(process, 10, until=r"^line [34]$")
    assert (now.state, matched) == ("running", True)
    assert time.monotonic() - began < 5
    size = process.output.stat().st_size
    assert not (await house.background.wait(process, 0.3, until="line 1", after=size))[1]


async def test_a_match_across_pieces_and_in_the_last_words_is_found(house: House) -> None:
    process = await house.start("head -c 65530 /dev/zero | tr '\\0' x; printf 'needle'; exit 0")
    now, matched = await house.background.wait(process, 10, until="xneedle$")
    assert matched
    assert now.size == 65536


async def test_a_pattern_without_end_stalls_nobody(house: House) -> None:
    process = await house.start(f"echo {'a' * 60}!; sleep 60")
    longest, stop = 0.0, asyncio.Event()

    async def heart() -> None:
        nonlocal longest
        while not stop.is_set():
            began = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - began)

    beating = asyncio.create_task(heart())
    with pytest.raises(InvalidInput, match="too long"):
        await house.background.wait(process, 20, until="^(a+)+$")
    stop.set()
    await beating
    assert longest < 0.5
    assert (await house.background.wait(process, 5, until="a!"))[1]


async def test_lines_can_be_sent_to_it_and_its_input_ended(house: House) -> None:
    process = await house.start("while read line; do echo got $line; done; echo over")
    await house.background.send(process, "one\ntwo\n")
    await house.prints(process, "got two")
    await house.background.send(process, "three\n\x04")
    ended, _ = await house.background.wait(process, 10)
    assert ended.exit_code == 0
    assert process.output.read_text() == "got one\ngot two\ngot three\nover\n"
    with pytest.raises(Conflict, match="not running"):
        await house.background.send(process, "x\n")


async def test_a_lot_can_be_sent_to_who_reads_slowly(house: House) -> None:
    process = await house.start("sleep 0.3; wc -c")
    await house.background.send(process, "x" * 60_000)
    await house.background.send(process, "y" * 60_000 + "\x04")
    ended, _ = await house.background.wait(process, 10)
    assert process.output.read_text().strip() == "120000"
    assert ended.exit_code == 0


async def test_who_reads_nothing_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.sandbox.background.SENDING", 0.1)
    process = await house.start("sleep 60")
    with pytest.raises(Conflict, match="reads no input"):
        await house.background.send(process, "x" * 500_000)
    assert (await house.background.wait(process, 0))[0].state == "running"


async def test_a_prompt_and_a_repl_work_in_a_terminal(house: House) -> None:
    process = await house.start(
        "read -p 'Name? ' name; echo; test -t 1 && echo hi $name", terminal=True
    )
    await house.prints(process, r"Name\? $")
    await house.background.send(process, "Ann\n")
    await house.prints(process, "hi Ann")
    repl = await house.start(f"{sys.executable} -q", terminal=True)
    await house.prints(repl, ">>> ")
    await house.background.send(repl, "6 * 7\n")
    await house.prints(repl, "^42$")
    await house.background.send(repl, "import time; time.sleep(60)\n")
    await asyncio.sleep(0.2)
    await house.background.send(repl, "\x03")
    await house.prints(repl, "KeyboardInterrupt\n>>> ")
    await house.background.send(repl, "\x04")
    assert (await house.background.wait(repl, 10))[0].state == "exited"


async def test_output_that_a_program_would_hold_back_arrives(house: House) -> None:
    code = "import time; print('ready'); time.sleep(60)"
    process = await house.start(f'{sys.executable} -c "{code}"')
    await house.prints(process, "ready")


async def test_what_was_seen_is_remembered_and_told_again_to_the_same_call(house: House) -> None:
    process = await house.start("echo one; until [ -e go ]; do sleep 0.02; done; echo two")
    await house.prints(process, "one")
    background = house.background
    assert await background.unseen(process, key="a") == (0, 4)
    assert await background.unseen(process, key="b") == (4, 4)
    (house.root / "go").touch()
    process, _ = await background.wait(process, 10)
    assert await background.unseen(process, key="c", advance=False) == (4, 8)
    assert await background.unseen(process, key="c") == (4, 8)
    assert await background.unseen(process, key="c") == (4, 8)
    assert await background.unseen(process, key="d") == (8, 8)


@linux
async def test_stopping_ends_the_tree(house: House) -> None:
    mark = f"7201.{os.getpid()}"
    process = await house.start(
        f"trap '' TERM; (setsid sleep {mark} &); sleep {mark} & kill -STOP $!; touch up; sleep {mark}"
    )
    await until((house.root / "up").exists)
    began = time.monotonic()
    stopped = await house.background.stop(process)
    assert time.monotonic() - began < 1.5  # one second, and what a loaded machine adds
    assert stopped.state == "stopped"
    assert not alive_with(mark)
    assert (await house.background.stop(process)).state == "stopped"


@linux
async def test_one_whose_supervisor_is_stopped_is_stopped_all_the_same(house: House) -> None:
    mark = f"7202.{os.getpid()}"
    process = await house.start(
        f"(setsid sleep {mark} &); kill -STOP $PPID; touch up; sleep {mark}"
    )
    await until((house.root / "up").exists)
    assert (await house.background.stop(process)).state == "stopped"
    assert not alive_with(mark)
    assert [p.state for p in await house.background.all(S)] == ["stopped"]


@linux
async def test_one_whose_supervisor_was_killed_is_lost_and_ended(house: House) -> None:
    mark = f"7203.{os.getpid()}"
    process = await house.start(f"setsid sleep {mark} & sleep {mark}")
    os.kill(process.supervisor, signal.SIGKILL)
    lost, _ = await house.background.wait(process, 10)
    assert lost.state == "lost"
    assert "killed" in lost.error
    assert not alive_with(mark)


async def test_their_number_is_limited_for_each_session(house: House) -> None:
    started = [await house.start("sleep 60") for _ in range(3)]
    with pytest.raises(Conflict, match="stop one first"):
        await house.start("sleep 60")
    await house.start("sleep 60", session="s_2")
    await house.background.stop(started[0])
    await house.start("sleep 60")


async def test_old_ones_that_ended_are_forgotten(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.sandbox.background.KEPT_ENDED", 2)
    ids = []
    for _ in range(4):
        process = await house.start("true")
        await house.background.wait(process, 10)
        ids.append(process.id)
    assert [p.id for p in await house.background.all(S)] == ids[2:]


@linux
async def test_all_of_a_session_can_be_ended_and_forgotten(house: House) -> None:
    mark = f"7204.{os.getpid()}"
    await house.start(f"sleep {mark}")
    await house.start(f"setsid sleep {mark} & sleep {mark}")
    other = await house.start("sleep 60", session="s_2")
    assert await house.background.stop_all(S) == 2
    assert not alive_with(mark)
    assert not (house.root / "processes" / S).exists()
    assert (await house.background.wait(other, 0))[0].state == "running"
    assert await house.background.stop_all(S) == 0


async def test_a_sessions_id_is_no_path(house: House) -> None:
    with pytest.raises(InvalidInput):
        await house.start("true", session="../x")


# The runtime is killed, and another takes over ---------------------------------------------------


async def test_it_outlives_the_runtime_and_is_found_by_the_next(house: House) -> None:
    command = "echo before; while read line; do echo got $line; done"
    process = background_runtime(house.root, command)
    await until((house.root / "started").exists)
    kill(process)
    (found,) = await house.background.all(S)
    assert found.state == "running"
    await house.background.send(found, "x\n")
    assert await house.prints(found, "got x") == "before\ngot x\n"
    assert (await house.background.stop(found)).state == "stopped"


async def test_one_that_ended_meanwhile_has_its_outcome(house: House) -> None:
    process = background_runtime(house.root, "until [ -e go ]; do sleep 0.02; done; exit 3")
    await until((house.root / "started").exists)
    kill(process)
    (house.root / "go").touch()
    (found,) = await house.background.all(S)
    ended, _ = await house.background.wait(found, 10)
    assert (ended.state, ended.exit_code) == ("exited", 3)


async def test_a_runtime_killed_while_it_starts_one_starts_it_once(house: House) -> None:
    command = "echo x >> ran; sleep 0.05"
    for i in range(6):
        root = house.root / str(i)
        root.mkdir()
        process = background_runtime(root, command)
        home = root / "processes" / S
        await until(lambda home=home: home.exists() and list(home.iterdir()))
        await asyncio.sleep(0.004 * i)
        kill(process)
        successor = SupervisedCommands(root / "processes")
        resumed = await successor.background.start(S, command, key="k", cwd=root)
        ended, _ = await successor.background.wait(resumed, 10)
        assert ended.exit_code == 0
        await asyncio.sleep(0.1)  # a late supervisor would run it again now
        assert (root / "ran").read_text() == "x\n"
        await successor.close()


async def test_one_from_before_the_machine_went_down_is_lost(tmp_path: Path) -> None:
    before = SupervisedCommands(tmp_path / "processes", boot="one")
    process = await before.background.start(S, "sleep 60", key="k", cwd=tmp_path)
    os.kill(process.supervisor, signal.SIGKILL)
    await before.close()
    after = SupervisedCommands(tmp_path / "processes", boot="two")
    assert [p.state for p in await after.background.all(S)] == ["lost"]
    assert (await after.background.start(S, "sleep 60", key="k", cwd=tmp_path)).state == "lost"
    await after.close()
