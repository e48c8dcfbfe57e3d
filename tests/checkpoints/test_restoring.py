"""Going back: what changes, what must not, and undoing it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.checkpoints import restore as restoring
from perdure.kernel.errors import NotFound, StorageError

from .world import S, World, actions, content, kept


def filled(tmp_path: Path, **limits: Any) -> World:
    world = World(tmp_path, **limits)
    world.write("a.txt", "one")
    world.write("run.sh", "#!/bin/sh\n", 0o755)
    world.write("deep/er/b.txt", "two")
    (world.work / "empty").mkdir()
    (world.work / "link").symlink_to("a.txt")
    return world


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    world = filled(tmp_path)
    before = content(world.work)
    taken = world.take()
    world.write("a.txt", "changed")
    (world.work / "run.sh").chmod(0o644)
    shutil.rmtree(world.work / "deep")
    (world.work / "empty").rmdir()
    (world.work / "link").unlink()
    (world.work / "link").symlink_to("elsewhere")
    world.write("new/dir/file", "made since")
    planned = world.store.changes(S, taken.id)
    assert actions(planned) == {
        ("change", "a.txt"),
        ("mode", "run.sh"),
        ("add", "deep"),
        ("add", "deep/er"),
        ("add", "deep/er/b.txt"),
        ("add", "empty"),
        ("change", "link"),
        ("remove", "new"),
        ("remove", "new/dir"),
        ("remove", "new/dir/file"),
    }
    done = world.store.restore(S, taken.id, seq=7)
    assert actions(done) == actions(planned)
    assert content(world.work) == before
    assert world.store.changes(S, taken.id).changes == ()


def test_looking_at_the_changes_changes_nothing(tmp_path: Path) -> None:
    world = filled(tmp_path)
    taken = world.take()
    world.write("a.txt", "changed")
    before, held = content(world.work), world.objects()
    world.store.changes(S, taken.id)
    assert (content(world.work), world.objects()) == (before, held)


def test_a_restore_can_be_undone_and_that_too(tmp_path: Path) -> None:
    world = filled(tmp_path)
    taken = world.take()
    old = content(world.work)
    world.write("a.txt", "the owner's latest")
    world.write("fresh", "not in any turn's checkpoint")
    new = content(world.work)
    done = world.store.restore(S, taken.id, seq=5)
    assert content(world.work) == old
    [latest, _] = world.store.list(S)
    assert (latest.id, latest.kind, latest.restores, latest.seq) == (
        done.undo,
        "rewind",
        taken.id,
        5,
    )
    undone = world.store.restore(S, done.undo, seq=5)
    assert content(world.work) == new
    world.store.restore(S, undone.undo, seq=5)
    assert content(world.work) == old


def test_what_was_left_out_is_never_touched(tmp_path: Path) -> None:
    world = filled(tmp_path, file_bytes=1000)
    world.write(".env", "KEY=1")
    world.write("huge", "x" * 2000)
    world.write(".gitignore", "*.log\n")
    world.write("old.log", "log")
    taken = world.take()
    world.write(".env", "KEY=2")
    world.write("huge", "y" * 2000)
    world.write("old.log", "more")
    world.write("new.log", "new")
    world.write("new.pem", "key")
    (world.work / "a.txt").write_text("z" * 2000)
    before = content(world.work)
    done = world.store.restore(S, taken.id, seq=2)
    assert content(world.work) == before
    assert kept(done) == {("secret", "new.pem"), ("large", "a.txt")}


def test_what_was_left_out_and_is_gone_is_said(tmp_path: Path) -> None:
    world = filled(tmp_path)
    world.write(".env", "KEY=1")
    taken = world.take()
    (world.work / ".env").unlink()
    assert kept(world.store.changes(S, taken.id)) == {("gone", ".env")}


def test_a_file_that_the_turn_itself_began_to_ignore_is_still_brought_back(tmp_path: Path) -> None:
    world = filled(tmp_path)
    taken = world.take()
    world.write(".gitignore", "a.txt\ndeep/\n")
    world.write("a.txt", "hidden change")
    world.write("deep/er/b.txt", "hidden change")
    done = world.store.restore(S, taken.id, seq=2)
    assert actions(done) == {
        ("change", "a.txt"),
        ("change", "deep/er/b.txt"),
        ("remove", ".gitignore"),
    }
    world.store.restore(S, done.undo, seq=2)
    assert (world.work / "a.txt").read_text() == "hidden change"


def test_a_file_that_the_turn_stopped_ignoring_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    world = filled(tmp_path)
    world.write(".gitignore", "data/\n")
    world.write("data/precious", "never in a checkpoint")
    taken = world.take()
    world.write(".gitignore", "")
    done = world.store.restore(S, taken.id, seq=2)
    assert (world.work / "data/precious").read_text() == "never in a checkpoint"
    assert ("ignored", "data") in kept(done)


def test_a_new_folder_with_a_secret_in_it_stays_with_the_secret_alone(tmp_path: Path) -> None:
    world = filled(tmp_path)
    taken = world.take()
    world.write("new/sub/.env", "KEY=1")
    world.write("new/sub/code.py", "x")
    world.write("new/other", "x")
    done = world.store.restore(S, taken.id, seq=2)
    assert kept(done) == {("secret", "new/sub/.env")}
    assert [p.name for p in (world.work / "new").rglob("*")] == ["sub", ".env"]


def test_a_folder_in_the_place_of_a_file_gives_way_unless_it_holds_what_was_left_out(
    tmp_path: Path,
) -> None:
    world = filled(tmp_path)
    taken = world.take()
    (world.work / "a.txt").unlink()
    (world.work / "run.sh").unlink()
    world.write("a.txt/inner", "x")
    world.write("run.sh/.env", "KEY=1")
    done = world.store.restore(S, taken.id, seq=2)
    assert (world.work / "a.txt").read_text() == "one"
    assert (world.work / "run.sh/.env").read_text() == "KEY=1"
    assert kept(done) == {("occupied", "run.sh")}


def test_a_link_in_the_place_of_a_folder_is_replaced_and_not_followed(tmp_path: Path) -> None:
    world = filled(tmp_path)
    taken = world.take()
    outside = tmp_path / "outside"
    (outside / "er").mkdir(parents=True)
    (outside / "er/b.txt").write_text("outside")
    shutil.rmtree(world.work / "deep")
    (world.work / "deep").symlink_to(outside)
    world.store.restore(S, taken.id, seq=2)
    assert not (world.work / "deep").is_symlink()
    assert (world.work / "deep/er/b.txt").read_text() == "two"
    assert (outside / "er/b.txt").read_text() == "outside"


def test_a_file_that_changes_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = filled(tmp_path)
    taken = world.take()
    world.write("a.txt", "changed")
    world.write("new", "made since")
    real = restoring._stage

    def meddling(*given: Any) -> Any:
        staged = real(*given)
        world.write("a.txt", "by another hand")
        world.write("new", "by another hand")
        world.write("deep/er/c.txt", "by another hand")
        shutil.rmtree(world.work / "empty")
        return staged

    monkeypatch.setattr(restoring, "_stage", meddling)
    done = world.store.restore(S, taken.id, seq=2)
    assert kept(done) == {("changed", "a.txt"), ("changed", "new")}
    assert done.changes == ()
    assert (world.work / "a.txt").read_text() == "by another hand"


def test_a_damaged_content_changes_nothing_and_says_so(tmp_path: Path) -> None:
    world = filled(tmp_path)
    taken = world.take()
    shutil.rmtree(world.work / "deep")
    world.write("a.txt", "changed")
    before = content(world.work)
    for name in world.objects():
        path = world.root / "objects" / name[:2] / name[2:]
        if path.read_bytes() == b"two":
            path.write_bytes(b"tow")
    with pytest.raises(StorageError, match="damaged"):
        world.store.restore(S, taken.id, seq=2)
    assert content(world.work) == before


def test_a_missing_listing_changes_nothing_and_says_so(tmp_path: Path) -> None:
    world = filled(tmp_path)
    taken = world.take()
    world.write("a.txt", "changed")
    (world.root / "objects" / taken.tree[:2] / taken.tree[2:]).unlink()
    with pytest.raises(StorageError, match="lacks"):
        world.store.restore(S, taken.id, seq=2)
    assert (world.work / "a.txt").read_text() == "changed"


def test_folders_get_their_modes_back_after_what_is_in_them(tmp_path: Path) -> None:
    world = filled(tmp_path)
    (world.work / "deep").chmod(0o555)
    before = content(world.work)
    taken = world.take()
    (world.work / "deep").chmod(0o755)
    shutil.rmtree(world.work / "deep")
    world.store.restore(S, taken.id, seq=2)
    assert content(world.work) == before
    (world.work / "deep").chmod(0o755)


def test_a_folder_that_is_gone_says_what_to_do(tmp_path: Path) -> None:
    world = filled(tmp_path)
    before = content(world.work)
    taken = world.take()
    shutil.rmtree(world.work)
    with pytest.raises(NotFound, match="is gone"):
        world.store.restore(S, taken.id, seq=2)
    world.work.mkdir()
    world.store.restore(S, taken.id, seq=2)
    assert content(world.work) == before


def test_a_fork_has_its_parents_checkpoints_up_to_where_it_began(tmp_path: Path) -> None:
    world = filled(tmp_path)
    old, new = world.take(seq=3), world.take(seq=9)
    world.store.fork(S, "s_fork", 5)  # type: ignore[arg-type]
    [copied] = world.store.list("s_fork")  # type: ignore[arg-type]
    assert (copied.id, copied.session, copied.tree) == (old.id, "s_fork", old.tree)
    world.store.forget(S)
    world.write("a.txt", "changed")
    world.store.restore("s_fork", old.id, seq=1)  # type: ignore[arg-type]
    assert (world.work / "a.txt").read_text() == "one"
    with pytest.raises(NotFound):
        world.store.get(S, new.id)


NAMES = st.sampled_from(["a", "b", "c", "d.txt", ".env", "x.log", ".gitignore"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TEXTS = st.sampled_from(["", "1", "22", "*.log\n", "b\n", "!x.log\n", "z" * 60])
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "remove", "link", "mkdir", "mode", "take", "restore"]),
        PATHS,
        TEXTS,
        st.integers(0, 5),
    ),
    max_size=25,
)


def play(world: World, act: str, path: str, text: str, number: int) -> None:
    at = world.work / path
    try:
        if act == "write":
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_text(text)
        elif act == "remove":
            shutil.rmtree(at) if at.is_dir() and not at.is_symlink() else at.unlink()
        elif act == "link":
            at.parent.mkdir(parents=True, exist_ok=True)
            at.symlink_to(text.strip() or ".")
        elif act == "mkdir":
            at.mkdir(parents=True)
        elif act == "mode" and not at.is_symlink():
            at.chmod([0o700, 0o755, 0o750, 0o711, 0o770, 0o777][number])
    except OSError:
        pass


@settings(max_examples=25)
@given(acts=ACTS)
def test_undo_brings_back_every_byte_whatever_was_done(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, str, str, int]]
) -> None:
    world = World(tmp_path_factory.mktemp("world"), file_bytes=50)
    taken = [world.take()]
    for act, path, text, number in acts:
        if act == "take":
            taken.append(world.take())
        elif act == "restore":
            wanted = taken[number % len(taken)]
            before = content(world.work)
            planned = world.store.changes(S, wanted.id)
            done = world.store.restore(S, wanted.id, seq=1)
            assert (done.changes, done.kept) == (planned.changes, planned.kept)
            assert not [left for left in done.kept if left.why in ("changed", "refused")]
            after = content(world.work)
            world.store.restore(S, done.undo, seq=1)
            assert content(world.work) == before
            world.store.restore(S, wanted.id, seq=1)
            assert content(world.work) == after
        else:
            play(world, act, path, text, number)
    shutil.rmtree(world.work.parent)


@settings(max_examples=25)
@given(first=ACTS, then=ACTS)
def test_without_anything_left_out_the_folder_is_exactly_what_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[tuple[str, str, str, int]],
    then: list[tuple[str, str, str, int]],
) -> None:
    world = World(tmp_path_factory.mktemp("world"))

    def work(acts: list[tuple[str, str, str, int]]) -> None:
        for act, path, text, number in acts:
            plain = path.replace(".env", "e").replace(".gitignore", "g")
            play(world, act, plain, text, number)

    work(first)
    before = content(world.work)
    taken = world.take()
    work(then)
    done = world.store.restore(S, taken.id, seq=1)
    assert done.kept == ()
    assert content(world.work) == before
    assert not list(world.work.glob(".perdure*"))
    shutil.rmtree(world.work.parent)
