"""A process that is killed at any of its file system calls leaves store and folder usable."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .world import S, World, content

CALLS = frozenset(
    (
        "open",
        "os.rename",
        "os.remove",
        "os.mkdir",
        "os.rmdir",
        "os.symlink",
        "os.chmod",
        "os.scandir",
        "shutil.rmtree",
        "tempfile.mkdtemp",
    )
)
STEP = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 8


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Do the work in a process that dies as it makes its nth file system call. False: it did not get
    so far, and ended by itself."""
    child = os.fork()
    if child == 0:
        try:
            left = number

            def hook(event: str, _: object) -> None:
                nonlocal left
                if event in CALLS:
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            work()
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def worlds(folder: Path) -> Iterator[tuple[int, World]]:
    """A world in the same state, again and again."""
    number = 1
    while True:
        at = folder / str(number)
        at.mkdir()
        world = World(at)
        world.write("a", "old a")
        world.write("b", "old b", 0o700)
        world.write("gone/deep/c", "old c")
        (world.work / "link").symlink_to("a")
        world.take()
        world.write("a", "new a")
        world.write("b", "new b", 0o600)
        world.write("made/since/d", "new d")
        shutil.rmtree(world.work / "gone")
        (world.work / "link").unlink()
        yield number, world
        shutil.rmtree(at)
        number += STEP


def wholly_usable(world: World, old: dict[str, object]) -> None:
    """Every checkpoint can be restored, new ones taken, and nothing that is needed is collected."""
    known = world.store.list(S)
    first = known[-1]
    assert world.store.collect() is not None
    again = world.take(seq=50)
    assert again.id not in {one.id for one in known}
    for one in known:
        world.store.restore(S, one.id, seq=51)
    world.store.restore(S, first.id, seq=52)
    assert content(world.work) == old
    assert not (world.root / "objects" / "drafts").exists() or not list(
        (world.root / "objects" / "drafts").iterdir()
    )


@pytest.fixture
def old(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "old").mkdir()
    _, world = next(worlds(tmp_path / "old"))
    world.store.restore(S, world.store.list(S)[-1].id, seq=9)
    return dict(content(world.work))


def test_killed_while_it_takes_a_checkpoint(tmp_path: Path, old: dict[str, object]) -> None:
    for number, world in worlds(tmp_path):
        before = content(world.work)
        died = killed_at(number, lambda: world.take(seq=8))  # noqa: B023
        assert content(world.work) == before
        world.skip()
        wholly_usable(world, old)
        if not died:
            assert number > 30
            return


def test_killed_while_it_restores_one(tmp_path: Path, old: dict[str, object]) -> None:
    halfway = 0
    for number, world in worlds(tmp_path):
        before = content(world.work)
        wanted = world.store.list(S)[-1].id
        died = killed_at(number, lambda: world.store.restore(S, wanted, seq=8))  # noqa: B023
        world.skip()
        now = {path: what for path, what in content(world.work).items() if ".perdure" not in path}
        folders = {"gone", "gone/deep"}
        for path, what in now.items():
            # Each file is as it was or as it will be, and whole; new folders get their mode at the end.
            assert what in (before.get(path), old.get(path)) or path in folders
        if now not in (before, old):
            halfway += 1
        if [one for one in world.store.list(S) if one.kind == "rewind"]:
            undo = world.store.list(S)[0]
            world.store.restore(S, undo.id, seq=9)
            assert content(world.work) == before
        else:
            assert now == before
        wholly_usable(world, old)
        if not died:
            assert number > 60 and halfway > 2
            return


def test_killed_while_it_removes_what_nothing_needs(tmp_path: Path, old: dict[str, object]) -> None:
    for number, world in worlds(tmp_path):
        for text in "xyz":
            world.write("only", f"in s_2 {text}")
            world.take("s_2")  # type: ignore[arg-type]
        died = killed_at(number, lambda: world.store.forget("s_2"))  # type: ignore[arg-type]  # noqa: B023
        wholly_usable(world, old)
        # What that session had in the cache is really stored again, not only believed to be.
        world.write("only", "in s_2 z")
        taken = world.take(seq=60)
        (world.work / "only").unlink()
        world.store.restore(S, taken.id, seq=61)
        assert (world.work / "only").read_text() == "in s_2 z"
        if not died:
            assert number > 10
            return
