"""Small files are replaced whole, by one at a time, and reading one never waits."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from perdure.files import alone, create, read_regular, replace


def test_a_file_keeps_its_permissions_or_gets_those_that_are_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("old")
    file.chmod(0o640)
    replace(file, b"new")
    assert file.read_bytes() == b"new" and stat.S_IMODE(file.stat().st_mode) == 0o640
    replace(file, b"newer", mode=0o600)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["policy.yaml"]


@pytest.mark.parametrize("left", ["link", "pipe", "file"])
def test_what_lies_in_the_drafts_place_is_not_written_through(tmp_path: Path, left: str) -> None:
    file, draft, elsewhere = (tmp_path / n for n in ("a", ".a.new", "elsewhere"))
    elsewhere.write_text("untouched")
    if left == "link":
        draft.symlink_to(elsewhere)
    elif left == "pipe":
        os.mkfifo(draft)
    else:
        draft.write_text("from a crash")
    replace(file, b"new", mode=0o600)
    assert file.read_bytes() == b"new" and not file.is_symlink()
    assert elsewhere.read_text() == "untouched"


def test_a_link_in_the_files_own_place_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("untouched")
    (tmp_path / "a").symlink_to(tmp_path / "there")
    replace(tmp_path / "a", b"new", mode=0o600)
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "there").read_text() == "untouched"


@pytest.mark.parametrize("what", ["pipe", "folder"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a"
    os.mkfifo(path) if what == "pipe" else path.mkdir()
    with pytest.raises(OSError, match="not a regular file"):
        read_regular(path, 10)


def test_of_a_file_that_is_too_long_one_byte_more_is_read(tmp_path: Path) -> None:
    create(tmp_path / "a", b"0123456789")
    assert read_regular(tmp_path / "a", 4) == b"01234"


def test_changes_come_one_after_the_other(tmp_path: Path) -> None:
    file = tmp_path / "count"
    replace(file, b"0")

    def add() -> None:
        for _ in range(20):
            with alone(tmp_path):
                replace(file, str(int(file.read_bytes()) + 1).encode())

    workers = [threading.Thread(target=add) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert file.read_bytes() == b"80"
