"""A session is told of its background processes once, whatever happens in between."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from perdure.kernel.errors import NotFound, StorageError
from perdure.sandbox import Process, ProcessWatch, SupervisedCommands

from .runtimes import background_runtime, kill, until

S = "s_1"


class Post:
    """A workspace's commands, and what its sessions were told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.commands = SupervisedCommands(root / "processes")
        self.told: list[tuple[str, str, str]] = []
        self.refuse: list[Exception] = []
        self.gone: set[str] = set()

    async def notify(self, session: str, text: str, key: str) -> None:
        if self.refuse:
            raise self.refuse.pop(0)
        self.told.append((session, text, key))

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[ProcessWatch]:
        watch = ProcessWatch(
            self.commands.background, self.notify, exists=lambda s: s not in self.gone
        )
        await watch.start()
        try:
            yield watch
        finally:
            await watch.close()

    async def start(
        self, command: str, notify: str, *, key: str = "k", session: str = S
    ) -> Process:
        return await self.commands.background.start(
            session, command, key=key, cwd=self.root, notify=notify, name="job"
        )


@pytest.fixture
async def post(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Post]:
    monkeypatch.setattr("perdure.sandbox.watch.HEAD_START", 0.1)
    made = Post(tmp_path)
    yield made
    background = made.commands.background
    for session in background.sessions():
        await background.stop_all(session)
    await made.commands.close()


async def test_its_end_is_told_with_how_its_output_ends(post: Post) -> None:
    async with post.watch():
        process = await post.start(r"printf '\033[31mred\033[0m\n'; sleep 0.3; exit 2", "end")
        await until(lambda: post.told)
        await asyncio.sleep(0.25)
    ((session, text, key),) = post.told
    assert (session, key) == (S, f"process:{process.id}")
    assert text.startswith(f"Process {process.id} (job) ended after 0.")
    assert "with exit code 2.\nCommand: printf" in text
    assert text.endswith("Its output ends:\nred")


async def test_a_match_is_told_and_then_nothing_more(post: Post) -> None:
    async with post.watch():
        process = await post.start(
            "sleep 0.3; echo listening on 80; until [ -e go ]; do sleep 0.02; done",
            r"listening on \d+",
        )
        await until(lambda: post.told)
        (post.root / "go").touch()
        await post.commands.background.wait(process, 10)
        await asyncio.sleep(0.25)
    assert len(post.told) == 1
    assert r"printed what matches 'listening on \\d+'" in post.told[0][1]


async def test_one_that_ends_without_a_match_is_told_of_too(post: Post) -> None:
    async with post.watch():
        await post.start("sleep 0.2; exit 1", "ready")
        await until(lambda: post.told)
    assert "ended after 0." in post.told[0][1]


async def test_one_that_nobody_asked_about_is_not_told_of(post: Post) -> None:
    async with post.watch():
        process = await post.start("sleep 0.2", "")
        await post.commands.background.wait(process, 10)
        await asyncio.sleep(0.25)
    assert not post.told


async def test_an_end_that_the_session_saw_or_brought_about_is_not_told(post: Post) -> None:
    background = post.commands.background
    async with post.watch():
        seen = await post.start("sleep 0.5; exit 3", "ready", key="a")
        stopped = await post.start("sleep 60", "end", key="b")
        seen, _ = await background.wait(seen, 10)
        await background.unseen(seen, key="look")
        await background.stop(stopped)
        await asyncio.sleep(0.3)
    assert not post.told


async def test_a_session_that_cannot_take_it_now_is_told_later(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.sandbox.watch.FIRST_RETRY", 0.05)
    post.refuse = [StorageError("disk full"), StorageError("disk full")]
    async with post.watch():
        await post.start("sleep 0.2", "end")
        await until(lambda: post.told)
    assert not post.refuse
    assert len(post.told) == 1


async def test_what_runs_for_a_session_that_is_gone_is_ended(post: Post) -> None:
    process = await post.start("sleep 60", "end")
    post.gone = {S}
    async with post.watch():
        await until(lambda: not process.folder.exists())
    post.gone = set()
    post.refuse = [NotFound("no such session")]
    async with post.watch():
        other = await post.start("sleep 60", "", key="k2")
        await post.start("sleep 0.2", "end", key="k3")
        await until(lambda: not other.folder.exists())
    assert not post.told


async def test_one_that_was_lost_is_told_of(post: Post) -> None:
    async with post.watch():
        process = await post.start("sleep 60", "end")
        os.kill(process.supervisor, signal.SIGKILL)
        await until(lambda: post.told)
    assert "is gone: its supervisor was killed" in post.told[0][1]


async def test_a_pattern_that_takes_for_ever_is_told_once_and_stalls_nobody(post: Post) -> None:
    async with post.watch():
        await post.start(f"sleep 0.2; echo {'a' * 60}!; sleep 60", "^(a+)+$")
        await until(lambda: post.told)
        await asyncio.sleep(0.25)
    assert len(post.told) == 1
    assert "is not looked at any more" in post.told[0][1]


async def test_a_descriptor_watches_the_end_and_nothing_is_polled(post: Post) -> None:
    looks = 0
    background = post.commands.background
    look = background._look

    async def counted(folder: Path, known: Process | None = None) -> Process:
        nonlocal looks
        looks += 1
        return await look(folder, known)

    background._look = counted  # type: ignore[method-assign]
    async with post.watch():
        await post.start("sleep 1", "end")
        await asyncio.sleep(0.2)
        before = looks
        await asyncio.sleep(0.5)
        assert looks == before
        await until(lambda: post.told)


# Across restarts ---------------------------------------------------------------------------------


async def test_an_end_while_no_runtime_was_there_is_told_by_the_next_one_once(post: Post) -> None:
    process = background_runtime(post.root, "until [ -e go ]; do sleep 0.02; done", "end")
    await until((post.root / "started").exists)
    kill(process)
    (post.root / "go").touch()
    (found,) = await post.commands.background.all(S)
    await post.commands.background.wait(found, 10)
    for _ in range(3):
        async with post.watch():
            await asyncio.sleep(0.2)
    assert [key for _, _, key in post.told] == [f"process:{found.id}"]
    assert not (post.root / "told").exists()


async def test_a_match_while_no_runtime_was_there_is_told_by_the_next_one(post: Post) -> None:
    process = background_runtime(
        post.root, "until [ -e go ]; do sleep 0.02; done; echo ready; sleep 60", "ready"
    )
    await until((post.root / "started").exists)
    kill(process)
    (post.root / "go").touch()
    for _ in range(2):
        async with post.watch():
            await until(lambda: post.told)
            await asyncio.sleep(0.25)
    assert len(post.told) == 1


async def test_a_crash_between_telling_and_its_mark_repeats_the_key(post: Post) -> None:
    async with post.watch():
        process = await post.start("sleep 0.2", "end")
        await until(lambda: post.told and (process.folder / "told").exists())
    (process.folder / "told").unlink()
    async with post.watch():
        await until(lambda: len(post.told) == 2)
    assert len({key for _, _, key in post.told}) == 1


async def test_what_was_told_by_a_runtime_that_was_killed_is_not_told_again(post: Post) -> None:
    process = background_runtime(post.root, "sleep 0.3", "end")
    marks = post.root / "processes" / S
    await until(lambda: list(marks.glob("*/told")))
    kill(process)
    async with post.watch():
        await asyncio.sleep(0.2)
    assert not post.told
    assert (post.root / "told").read_text().count("process:") == 1
