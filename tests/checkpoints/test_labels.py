"""A checkpoint keeps the label of each file, and a restore gives back that label and no other."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.checkpoints import Checkpoints, Limits
from perdure.kernel.labels import OWNER, SELF, Label
from perdure.storage import FileLabels

from .test_kill import STEP, killed_at
from .world import S, World

EVE = Label(trust="third_party", origins=("web:evil.example",))
BOB = Label(trust="known", origins=("api:bob",))
SESSION = Label(trust="third_party", origins=("mail",))


class Labelled(World):
    def __init__(self, folder: Path, **limits: Any) -> None:
        super().__init__(folder, **limits)
        (folder / "private").mkdir(exist_ok=True)
        self.labels = FileLabels(folder / "private" / "labels.sqlite", boot="b")
        self.store = Checkpoints(
            self.root,
            self.clock,
            self.ids,
            lambda: Limits(spare_bytes=0, **limits),
            labels=self.labels,
        )

    def theirs(self, path: str, text: str, label: Label = EVE) -> Path:
        """As a tool writes: first the label, then beside it and over."""
        file = self.work / path
        file.parent.mkdir(parents=True, exist_ok=True)
        self.labels.mark(file, label)
        draft = file.with_name(".draft")
        draft.write_text(text)
        draft.replace(file)
        self.labels.replaced(file, label)
        return file

    def mine(self, path: str, text: str) -> Path:
        file = self.write(path, "")
        file.unlink()
        self.write(path, text)
        self.labels.replaced(file, SELF)
        return file

    def of(self, path: str) -> Label:
        return self.labels.of(self.work / path)

    def back(self, checkpoint: Any, label: Label = SESSION) -> Any:
        return self.store.restore(S, checkpoint.id, seq=99, unlabelled=label)


@pytest.fixture
def world(tmp_path: Path) -> Labelled:
    return Labelled(tmp_path)


@pytest.fixture(params=[True, False], ids=["attributes", "book alone"])
def both(tmp_path: Path, request: Any, monkeypatch: pytest.MonkeyPatch) -> Labelled:
    """Where files keep attributes, and where they do not."""
    monkeypatch.setattr("perdure.storage.attributes.SUPPORTED", request.param)
    return Labelled(tmp_path)


def test_what_comes_back_has_the_label_it_had_and_not_that_of_the_session(both: Labelled) -> None:
    both.mine("mine.md", "mine")
    both.theirs("page.md", "theirs")
    both.theirs("bob.md", "bob's", BOB)
    both.mine("swapped.md", "mine")
    taken = both.take()
    for name in ("mine.md", "page.md", "bob.md"):
        (both.work / name).unlink()
    both.theirs("swapped.md", "now theirs")
    restored = both.back(taken)
    assert len(restored.changes) == 4
    assert not both.of("mine.md").tainted and not both.of("swapped.md").tainted
    assert (both.of("page.md").trust, both.of("page.md").origins) == ("third_party", EVE.origins)
    assert (both.of("bob.md").trust, both.of("bob.md").origins) == ("known", BOB.origins)
    # And the way back: what was theirs is theirs again.
    both.store.restore(S, restored.undo, seq=100)
    assert (both.work / "swapped.md").read_text() == "now theirs"
    assert both.of("swapped.md").origins == EVE.origins


def test_what_still_has_its_content_has_its_label_of_then_again(both: Labelled) -> None:
    both.mine("a", "same")
    both.theirs("b", "same")
    taken = both.take()
    both.labels.mark(both.work / "a", EVE)
    both.labels.clear(both.work / "b")
    assert both.of("a").tainted and not both.of("b").tainted
    both.mine("c", "made since")
    both.back(taken)
    assert not both.of("a").tainted
    # What the owner has vouched for meanwhile he has vouched for as it is.
    assert not both.of("b").tainted


@pytest.mark.parametrize("meanwhile", ["written", "gone"])
def test_a_file_that_is_not_as_it_was_seen_gets_no_label_of_then(
    both: Labelled, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """A command writes it while the restore goes on: the label of then is not for that content."""
    both.mine("a", "mine")
    both.mine("b", "mine")
    taken = both.take()
    both.labels.mark(both.work / "a", EVE)
    (both.work / "b").unlink()
    expected = both.labels.expected_all

    def and_somebody_writes(files: Any) -> None:
        if meanwhile == "written":
            both.theirs("a", "theirs")
        else:
            (both.work / "a").unlink()
        expected(files)

    monkeypatch.setattr(both.labels, "expected_all", and_somebody_writes)
    both.back(taken)
    assert not both.of("b").tainted
    assert both.of("a").origins == EVE.origins


def test_a_file_that_was_moved_in_brings_its_label_also_from_what_was_seen_before(
    tmp_path: Path, world: Labelled
) -> None:
    """The book does not know it: only the file itself says so."""
    other = tmp_path / "download"
    other.write_text("theirs")
    try:
        os.setxattr(other, "user.xdg.origin.url", b"https://evil.example/x")
    except OSError:
        pytest.skip("no attributes here")
    os.utime(other, ns=(1, 1))
    other.rename(world.write("in").parent / "in")
    first = world.take()
    second = world.take()
    for taken in (first, second):
        (world.work / "in").unlink()
        world.back(taken)
        assert world.of("in").origins == ("web:evil.example",)


def test_what_a_command_of_unknown_reach_may_have_written_comes_back_as_its_work(
    world: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.storage.filelabels.LABELLED", 0)
    world.labels.begin("s_1.c", world.work, EVE)
    world.write("made", "by it")
    world.labels.end("s_1.c")
    assert world.of("made").tainted
    taken = world.take()
    (world.work / "made").unlink()
    world.back(taken)
    assert world.of("made").origins == EVE.origins


def test_a_checkpoint_without_labels_gives_back_those_of_its_session(world: Labelled) -> None:
    world.mine("a", "whose?")
    taken = world.take()
    file = world.root / S / f"{taken.id}.json"
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(taken, labels="")))
    (world.work / "a").unlink()
    world.back(taken)
    assert world.of("a").origins == SESSION.origins
    (world.work / "a").unlink()
    world.labels.replaced(world.work / "a", SELF)
    world.back(taken, OWNER)
    assert not world.of("a").tainted


def test_labels_that_cannot_be_read_when_it_is_taken_are_the_worst(world: Labelled) -> None:
    world.mine("a", "mine")
    world.theirs("b", "theirs")
    world.labels.close()
    book = world.root.parent / "labels.sqlite"
    whole = book.read_bytes()
    for end in ("-wal", "-shm"):
        book.with_name(book.name + end).unlink(missing_ok=True)
    book.write_bytes(b"rubbish" * 1_000)
    taken = world.take()
    book.write_bytes(whole)
    for name in "ab":
        (world.work / name).unlink()
    world.back(taken)
    assert world.of("a").tainted and world.of("b").tainted


def test_labels_that_cannot_be_written_let_nothing_come_back(world: Labelled) -> None:
    world.theirs("a", "theirs")
    taken = world.take()
    (world.work / "a").unlink()
    world.labels.close()
    (world.root.parent / "labels.sqlite").write_bytes(b"rubbish" * 1_000)
    with pytest.raises(Exception, match="labels"):
        world.back(taken)
    assert not (world.work / "a").exists()


def test_a_file_that_changes_while_it_is_taken_is_nobodys(
    world: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Theirs when it was read, and the owner's when its label was looked up."""
    world.theirs("a", "theirs")
    labelled = FileLabels.labelled

    def late(self: FileLabels, *rest: Any) -> Any:
        world.mine("a", "mine, longer")
        return labelled(self, *rest)

    monkeypatch.setattr("perdure.storage.attributes.SUPPORTED", False)
    monkeypatch.setattr(FileLabels, "labelled", late)
    taken = world.take()
    monkeypatch.undo()
    world.back(taken)
    assert (world.work / "a").read_text() == "theirs" and world.of("a").tainted


def test_labels_are_kept_as_long_as_their_checkpoint(world: Labelled) -> None:
    world.theirs("a", "theirs")
    taken = world.take()
    world.write("b", "more")
    world.take("s_2")  # type: ignore[arg-type]
    world.store.forget("s_2")  # type: ignore[arg-type]
    assert taken.labels in world.objects()
    world.store.fork(S, "s_3", at=99)  # type: ignore[arg-type]
    world.store.forget(S)
    (world.work / "a").unlink()
    world.store.restore("s_3", taken.id, seq=1)  # type: ignore[arg-type]
    assert world.of("a").origins == EVE.origins


def test_a_name_that_is_no_text_has_its_label_too(world: Labelled) -> None:
    name = os.fsdecode(b"caf\xe9")
    world.theirs(name, "theirs")
    taken = world.take()
    (world.work / name).unlink()
    world.back(taken)
    assert world.of(name).tainted


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["theirs", "bob's", "mine", "gone", "take", "back"]),
        st.sampled_from(["a", "b", "d/c"]),
        st.integers(0, 5),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_between_each_file_has_the_label_of_its_content(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    world = Labelled(tmp_path_factory.mktemp("world"))
    trust = {"theirs": "third_party", "bob's": "known", "mine": "self"}
    taken: list[Any] = []
    for count, (step, path, number) in enumerate(steps):
        file = world.work / path
        if step == "mine":
            world.mine(path, f"mine {count}")
        elif step in trust:
            world.theirs(path, f"{step} {count}", EVE if step == "theirs" else BOB)
        elif step == "gone":
            file.unlink(missing_ok=True)
        elif step == "take":
            taken.append(world.take())
        elif taken:
            world.back(taken[number % len(taken)])
        for at in ("a", "b", "d/c"):
            if (world.work / at).exists():
                words = (world.work / at).read_text().split()
                assert world.of(at).trust == trust[words[0]], (step, at)
    world.labels.close()


def test_killed_while_it_restores_no_file_is_ever_more_trusted_than_its_content(
    tmp_path: Path,
) -> None:
    number = 1
    while True:
        (at := tmp_path / str(number)).mkdir()
        world = Labelled(at)
        world.theirs("a", "theirs, then")
        world.mine("b", "mine, then")
        world.theirs("gone/c", "theirs, then")
        taken = world.take()
        world.mine("a", "mine, now")
        world.theirs("b", "theirs, now")
        (world.work / "gone/c").unlink()
        world.labels.close()
        died = killed_at(number, _restoring(world, taken))
        labels = FileLabels(world.root.parent / "labels.sqlite", boot="b")
        for path in ("a", "b", "gone/c"):
            file = world.work / path
            if file.exists() and file.read_text().startswith("theirs"):
                assert labels.of(file).tainted, (number, path)
        labels.close()
        world.skip()
        world.back(taken)
        assert [world.of(p).trust for p in ("a", "b", "gone/c")] == [
            "third_party",
            "self",
            "third_party",
        ]
        world.labels.close()
        if not died:
            assert number > 30
            return
        number += STEP


def _restoring(world: Labelled, taken: Any) -> Callable[[], object]:
    return lambda: world.back(taken)
