"""Labels of files: they stick, they only rise, and what cannot be told is the worst."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from perdure.kernel.errors import StorageError
from perdure.kernel.labels import SELF, Label
from perdure.storage import FileLabels, attributes
from perdure.storage.filelabels import LABELLED

WEB = Label(trust="third_party", origins=("web:evil.example",))
SECRET = Label(trust="self", secrecy="secret")


class Place:
    def __init__(self, root: Path) -> None:
        self.root, self.work = root, root / "work"
        self.work.mkdir()
        self.labels = self.open()

    def open(self, boot: str = "b1") -> FileLabels:
        return FileLabels(
            self.root / "labels.sqlite", boot=boot, secret=lambda p: p.name == ".netrc"
        )

    def file(self, name: str, text: str = "text") -> Path:
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(params=["attributes", "side database"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where labels are kept: both, or, on a file system without attributes, in the database only."""
    if request.param == "side database":
        monkeypatch.setattr(attributes, "SUPPORTED", False)
    return str(request.param)


def test_a_file_of_the_owners_is_his_and_one_of_credentials_is_secret(place: Place) -> None:
    assert place.labels.of(place.file("notes.md")) == SELF
    assert place.labels.of(place.file(".netrc")) == SECRET
    assert not (place.root / "labels.sqlite").exists()


def test_what_was_written_into_a_file_comes_back_in_another_process(
    kept: str, place: Place
) -> None:
    path = place.work / "page.md"
    place.labels.mark(path, WEB)
    path.write_text("from the web")
    place.labels.replaced(path, WEB)
    for labels in (place.labels, place.open()):
        assert labels.of(path).trust == "third_party"
        assert labels.of(path).origins == WEB.origins
    assert place.labels.below(place.work).tainted


def test_a_crash_between_the_label_and_the_content_leaves_the_label(
    kept: str, place: Place
) -> None:
    path = place.work / "page.md"
    place.labels.mark(path, WEB)
    path.write_text("from the web")
    assert place.open().of(path).tainted


def test_another_process_that_has_looked_already_sees_a_new_label(place: Place) -> None:
    path, other = place.file("a.md"), place.open()
    place.labels.mark(place.file("first.md"), WEB)
    assert not other.of(path).tainted
    place.labels.mark(path, WEB)
    attributes.remove(str(path))
    assert other.of(path).tainted


def test_a_file_keeps_its_label_under_another_name(kept: str, place: Place) -> None:
    path = place.file("a.md")
    place.labels.mark(path, WEB)
    moved = path.rename(place.work / "b.md")
    assert place.labels.of(moved).tainted


def test_a_path_keeps_its_label_when_an_editor_puts_a_new_file_there(
    kept: str, place: Place
) -> None:
    path = place.file("a.md")
    place.labels.mark(path, WEB)
    place.file("new", "edited").replace(path)
    assert place.labels.of(path).tainted


def test_an_attribute_can_raise_a_label_and_never_lower_it(place: Place) -> None:
    path = place.file("a.md")
    place.labels.mark(path, WEB)
    attributes.write(str(path), Label(trust="owner", secrecy="public"))
    assert place.labels.of(path).tainted
    os.setxattr(path, attributes.LABEL, b"{broken")
    assert place.labels.of(path).tainted
    other = place.file("b.md")
    os.setxattr(other, attributes.LABEL, b"{broken")
    assert place.labels.of(other).tainted


def test_replacing_the_whole_content_by_the_owners_own_gives_the_file_back(
    kept: str, place: Place
) -> None:
    path = place.file("a.md")
    place.labels.mark(path, WEB)
    place.labels.replaced(path, SELF)
    assert place.labels.of(path) == SELF
    assert place.labels.below(place.work) == SELF


def test_a_browsers_note_of_where_a_download_came_from_counts(place: Place) -> None:
    path = place.file("report.pdf")
    os.setxattr(path, attributes.ORIGIN, b"https://user@evil.example/x?y")
    assert place.labels.of(path).origins == ("web:evil.example",)
    assert place.labels.of(path).tainted


def test_what_a_tainted_command_changed_is_labelled_and_nothing_else(
    kept: str, place: Place
) -> None:
    before = place.file("before.md")
    os.utime(before, (1_000_000, 1_000_000))
    settle(place)
    place.labels.begin("k", place.work, WEB)
    assert place.labels.running("k") == WEB
    made = place.file("sub/made.md")
    assert place.labels.of(made).tainted
    place.labels.end("k")
    assert place.labels.running("k") is None
    assert place.labels.of(made).tainted
    assert place.open().of(made).origins == WEB.origins


def settle(place: Place) -> None:
    """Let the clock of the file system pass what was written so far."""
    import time

    time.sleep(0.04)


def test_a_command_that_wrote_nothing_leaves_nothing_behind(place: Place) -> None:
    path = place.file("notes.md")
    settle(place)
    place.labels.begin("k", place.work, WEB)
    place.labels.end("k")
    assert place.labels.of(path) == SELF
    assert place.labels.below(place.work) == SELF


def test_what_it_wrote_stays_labelled_after_its_mode_and_name_were_changed(
    kept: str, place: Place
) -> None:
    place.labels.begin("k", place.work, WEB)
    path = place.file("made.md")
    place.labels.end("k")
    path.chmod(0o600)
    assert place.labels.of(path.rename(place.work / "other.md")).tainted


def test_in_a_folder_too_large_to_look_through_the_time_of_the_run_speaks(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.storage.filelabels.LOOKED_AT", 2)
    old = place.file("old.md")
    settle(place)
    place.labels.begin("k", place.work, WEB)
    made = [place.file(f"{n}.md") for n in range(4)]
    place.labels.end("k")
    settle(place)
    later = place.file("later.md")
    labels = place.open()
    assert all(labels.of(path).tainted for path in made)
    assert labels.of(old) == labels.of(later) == SELF
    assert labels.below(place.work).tainted
    made[0].chmod(0o600)
    assert labels.of(made[0]).tainted


def test_times_of_many_runs_are_drawn_together_and_none_is_lost(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.storage.filelabels.LOOKED_AT", 0)
    monkeypatch.setattr("perdure.storage.filelabels.RUNS_KEPT", 3)
    made = []
    for n in range(6):
        place.labels.begin(f"k{n}", place.work, WEB)
        made.append(place.file(f"{n}.md"))
        place.labels.end(f"k{n}")
    assert len(place.labels._book.look().runs) <= 4
    assert all(place.labels.of(path).tainted for path in made)


def test_a_run_that_the_machines_end_cut_off_ended_with_the_machine(place: Place) -> None:
    place.labels.begin("k", place.work, WEB)
    path = place.file("made.md")
    place.labels.close()
    after = place.open(boot="b2")
    assert after.of(path) == SELF  # it was written under the present boot, which began long before
    after._booted = path.stat().st_mtime_ns + 1
    assert after.of(path).tainted


def test_more_files_than_can_be_labelled_one_by_one_are_still_labelled(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.storage.filelabels.LABELLED", 3)
    assert LABELLED > 3
    place.labels.begin("k", place.work, WEB)
    made = [place.file(f"{n}.md") for n in range(9)]
    place.labels.end("k")
    assert all(place.labels.of(path).tainted for path in made)


def test_what_the_runtime_keeps_for_itself_is_not_taken_for_a_commands_work(place: Place) -> None:
    private = place.file(".perdure/sessions/none").parent.parent
    labels = FileLabels(private / "labels.sqlite", boot="b1")
    labels.begin("k", place.work, WEB)
    log = place.file(".perdure/sessions/s_1/events.jsonl")
    memory = place.file(".perdure/agents/default/memory/MEMORY.md")
    labels.end("k")
    assert labels.of(log) == SELF
    assert labels.of(memory).tainted


def test_a_folder_that_only_has_the_name_of_the_runtimes_hides_nothing(place: Place) -> None:
    place.labels.begin("k", place.work, WEB)
    note = place.file("gub/.perdure/note.md")
    place.labels.end("k")
    assert place.labels.of(note.rename(place.work / "note.md")).tainted


def test_what_a_command_changed_in_another_folder_of_its_own_is_labelled(place: Place) -> None:
    other = place.root / "other"
    other.mkdir()
    place.labels.begin("s_1.4.c", place.work, SELF, also=[other])
    place.labels.heard("s_1", "evil.example")
    (other / "a.md").write_text("theirs")
    assert place.labels.of(other / "a.md").tainted
    place.labels.end("s_1.4.c")
    assert place.labels.of(other / "a.md").tainted
    (other / "b.md").write_text("mine")
    assert place.labels.of(other / "b.md") == SELF


def test_the_names_in_a_folder_have_the_label_of_what_lies_in_it(place: Place) -> None:
    path = place.file("sub/a.md")
    assert place.labels.of(path.parent) == SELF
    place.labels.mark(path, WEB)
    assert place.labels.of(path.parent).tainted
    assert place.labels.of(path.parent / "missing.md").tainted  # its neighbours are named
    assert not place.labels.of(place.file("else/b.md").parent).tainted


def test_the_owner_clears_a_file_as_it_is_and_not_what_becomes_of_it(
    kept: str, place: Place
) -> None:
    path = place.file("a.md")
    place.labels.mark(path, WEB)
    assert place.labels.clear(path) == [path]
    assert place.open().of(path) == SELF
    assert place.labels.clear(path) == []
    place.labels.begin("k", place.work, WEB)
    settle(place)
    path.write_text("changed by a tainted command")
    assert place.labels.of(path).tainted


def test_the_owner_clears_a_file_that_a_run_still_covers(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.storage.filelabels.LOOKED_AT", 0)
    place.labels.begin("k", place.work, WEB)
    path = place.file("a.md")
    place.labels.end("k")
    assert place.labels.of(path).tainted
    place.labels.clear(path)
    assert place.labels.of(path) == SELF


def test_the_owner_clears_a_folder_with_all_that_ran_in_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.storage.filelabels.LOOKED_AT", 0)
    marked = place.file("sub/a.md")
    place.labels.mark(marked, WEB)
    place.labels.begin("k", place.work, WEB)
    made = place.file("b.md")
    place.labels.end("k")
    assert set(place.labels.clear(place.work)) >= {marked, made}
    assert place.labels.below(place.work) == SELF
    assert place.labels.of(marked) == place.labels.of(made) == SELF


def test_a_damaged_database_makes_everything_untrusted_and_lets_nothing_be_written(
    place: Place,
) -> None:
    (place.root / "labels.sqlite").write_bytes(b"no database" * 1000)
    path = place.file("a.md")
    assert place.labels.of(path).tainted
    assert place.labels.below(place.work).tainted
    with pytest.raises(StorageError, match=r"labels\.sqlite"):
        place.labels.mark(path, WEB)
    with pytest.raises(StorageError):
        place.labels.begin("k", place.work, WEB)
    assert place.labels.running("k") is not None


def test_a_database_of_another_version_is_not_read_as_if_it_were_ours(place: Place) -> None:
    with sqlite3.connect(place.root / "labels.sqlite") as db:
        db.execute("PRAGMA user_version = 9")
    assert place.labels.of(place.file("a.md")).tainted


def test_a_name_that_is_no_unicode_is_kept_exactly(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attributes, "SUPPORTED", False)
    path = Path(os.fsdecode(os.fsencode(place.work) + b"/\xff\\x.md"))
    path.write_text("x")
    place.labels.mark(path, WEB)
    assert place.open().of(path).tainted


def test_an_artifact_has_the_label_that_was_written_onto_it(place: Place) -> None:
    path = place.file("artifact")
    assert place.labels.sealed(path) is None
    place.labels.seal(path, SELF)
    assert place.labels.sealed(path) == SELF
    place.labels.seal(path, WEB)
    place.labels.seal(path, SELF)
    assert place.labels.sealed(path) == SELF.join(WEB)


def test_a_command_that_hears_something_from_outside_is_tainted_from_its_start(
    kept: str, place: Place
) -> None:
    place.labels.begin("s_1.4.c", place.work, SELF)
    place.labels.begin("s_10.4.c", place.root / "other", SELF)
    assert not (place.root / "labels.sqlite").exists()
    path = place.file("early.md")
    assert place.labels.of(path) == SELF
    place.labels.heard("s_1", "evil.example")
    assert place.labels.running("s_1.4.c") == SELF.join(WEB)
    assert place.labels.running("s_10.4.c") == SELF
    assert place.labels.of(path).tainted
    place.labels.heard("s_1", "other.example")
    place.labels.end("s_1.4.c")
    place.labels.end("s_10.4.c")
    assert place.open().of(path).origins == ("web:evil.example", "web:other.example")
    assert place.labels.running("s_1.4.c") is None and place.labels.running("s_10.4.c") is None


def test_a_background_command_is_known_after_a_restart_and_an_unknown_one_hears_nothing(
    place: Place,
) -> None:
    place.labels.begin("s_1.4.c", place.work, SELF, lasting=True)
    place.labels.close()
    after = place.open()
    path = place.file("a.md")
    assert after.of(path) == SELF
    after.heard("s_1", "evil.example")
    assert after.of(path).tainted
    after.end("s_1.4.c")
    with pytest.raises(StorageError, match="no command"):
        after.heard("s_1", "evil.example")
    after.begin("s_1.5.c", place.work, SELF, lasting=True)
    after.end("s_1.5.c")
    assert after._book.look().runs == {}


def test_a_command_hears_nothing_when_that_cannot_be_kept(place: Place) -> None:
    place.labels.begin("s_1.4.c", place.work, SELF)
    (place.root / "labels.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError):
        place.labels.heard("s_1", "evil.example")


@pytest.mark.parametrize("how", ["gone", "emptied"])
def test_without_the_database_that_was_made_everything_is_untrusted_until_the_owner_begins_anew(
    kept: str, place: Place, how: str
) -> None:
    path, mine = place.file("page.md"), place.file("mine.md")
    assert place.labels.of(mine) == SELF
    place.labels.mark(path, WEB)
    with pytest.raises(StorageError, match="no need"):
        place.labels.reset()
    if how == "emptied":
        place.labels.close()
    for file in place.root.glob("labels.sqlite*"):
        file.unlink()
    if how == "emptied":
        (place.root / "labels.sqlite").touch()
    for labels in (place.labels, place.open()):
        assert labels.of(mine).tainted and labels.of(path).tainted
        assert labels.below(place.work).tainted
        with pytest.raises(StorageError, match="perdure label reset"):
            labels.mark(mine, WEB)
        with pytest.raises(StorageError):
            labels.clear(mine)
    place.labels.reset()
    for labels in (place.labels, place.open()):
        assert labels.of(mine) == SELF
        assert labels.of(path).tainted == (kept == "attributes")
    place.labels.mark(mine, WEB)
    assert place.open().of(mine).tainted


def test_a_database_that_was_replaced_under_way_is_not_written_past(place: Place) -> None:
    place.labels.mark(place.file("a.md"), WEB)
    (place.root / "labels.sqlite").rename(place.root / "elsewhere")
    (place.root / "labels.sqlite").write_bytes((place.root / "elsewhere").read_bytes())
    with pytest.raises(StorageError, match="replaced"):
        place.labels.mark(place.file("b.md"), WEB)


def test_what_is_heard_while_a_command_ends_is_in_what_it_wrote(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.labels.begin("s_1.4.c", place.work, WEB)
    path = place.file("a.md")

    def looked(run: object, private: str) -> list[str]:
        place.labels.heard("s_1", "other.example")
        return [str(path)]

    monkeypatch.setattr("perdure.storage.filelabels._changed", looked)
    place.labels.end("s_1.4.c")
    assert "web:other.example" in place.open().of(path).origins
    assert place.labels._book.look().runs == {}


def test_a_command_does_not_end_in_the_middle_of_what_is_heard(place: Place) -> None:
    place.labels.begin("s_1.4.c", place.work, SELF)
    ending = threading.Thread(target=place.labels.end, args=["s_1.4.c"])
    with place.labels._hearing:
        ending.start()
        ending.join(0.1)
        assert ending.is_alive() and place.labels.running("s_1.4.c") == SELF
    ending.join(10)
    assert place.labels.running("s_1.4.c") is None
