"""What commands are not shown is secret when a tool of the runtime's own reads it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.credentials import CREDENTIALS, SYSTEM
from perdure.runtime.labelling import file_labels
from perdure.sandbox import hidden


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_all_that_the_sandbox_hides_is_labelled_secret(home: Path) -> None:
    labels = file_labels(home / "w/.perdure", "b")
    covered = [*hidden.of_home(str(home), [str(home)]), *SYSTEM, *hidden.of_system()]
    assert len(covered) >= len(CREDENTIALS)
    for path in covered:
        assert labels.of(Path(path)).secrecy == "secret", path
        assert labels.of(Path(path) / "deep/inside").secrecy == "secret", path


def test_what_lies_beside_it_is_not(home: Path) -> None:
    labels = file_labels(home / "w/.perdure", "b")
    for name in (".config", ".config/other/x", "w/notes.md", "snapshots/a", ".claudette", ".m2/x"):
        assert labels.of(home / name).secrecy != "secret", name


def test_one_that_is_a_link_is_secret_where_it_leads(home: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (home / ".mozilla").symlink_to(tmp_path / "kept")
    path = Path(os.path.realpath(tmp_path / "kept/logins.json"))
    assert file_labels(home / "w/.perdure", "b").of(path).secrecy == "secret"


def test_one_that_becomes_a_link_is_secret_there_at_once(home: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    path = Path(os.path.realpath(tmp_path / "kept/token"))
    labels = file_labels(home / "w/.perdure", "b")
    assert labels.of(path).secrecy != "secret"
    (home / ".config").mkdir()
    (home / ".config/hub").symlink_to(tmp_path / "kept")
    assert labels.of(path).secrecy == "secret"


def test_one_beyond_a_folder_that_is_a_link_is_secret_and_hidden_where_it_lies(
    home: Path, tmp_path: Path
) -> None:
    real = Path(os.path.realpath(tmp_path)) / "dotfiles"
    (real / "gh").mkdir(parents=True)
    (home / ".config").symlink_to(real)
    labels = file_labels(home / "w/.perdure", "b")
    assert labels.of(real / "gh/hosts").secrecy == "secret"
    assert labels.of(real / "editor/settings").secrecy != "secret"
    assert str(real / "gh") in set(hidden.of_home(str(home), [str(real)]))


def test_what_is_remembered_of_links_holds_no_longer_than_their_folders(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hidden, "STEADY", 0)
    (home / ".config").mkdir()
    for folder in (home, home / ".config"):
        os.utime(folder, (1_000_000_000, 1_000_000_000))
    path = os.path.realpath(tmp_path / "kept/token")
    assert not hidden.hides(path, str(home))
    assert str(home) in hidden._known
    (home / ".config/hub").symlink_to(tmp_path / "kept")
    assert hidden.hides(path, str(home))
