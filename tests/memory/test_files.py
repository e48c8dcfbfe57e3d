"""What of an agent's memory stands in a prompt."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

from perdure.memory import MemoryFiles

TODAY = date(2026, 11, 21)


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_curated_memory_comes_first_and_then_the_last_days_in_order(tmp_path: Path) -> None:
    write(tmp_path, "MEMORY.md", "likes tea")
    for day in (18, 20, 21, 22):
        write(tmp_path, f"daily/2026-11-{day}.md", f"day {day}")
    found = MemoryFiles(tmp_path).sections(TODAY)
    assert [(s.name, s.text) for s in found] == [
        ("MEMORY.md", "likes tea"),
        ("daily/2026-11-20.md", "day 20"),
        ("daily/2026-11-21.md", "day 21"),
    ]
    assert len(MemoryFiles(tmp_path, days=4).sections(TODAY)) == 4
    assert len(MemoryFiles(tmp_path, days=0).sections(TODAY)) == 1


def test_missing_empty_and_unreadable_files_are_left_out(tmp_path: Path) -> None:
    assert MemoryFiles(tmp_path / "none").sections(TODAY) == ()
    write(tmp_path, "MEMORY.md", "<!-- only\na comment -->\n")
    (tmp_path / "daily/2026-11-21.md").mkdir(parents=True)
    assert MemoryFiles(tmp_path).sections(TODAY) == ()


def test_bytes_that_are_no_text_do_not_stop_it(tmp_path: Path) -> None:
    (tmp_path / "MEMORY.md").write_bytes(b"\xff\xfe tea")
    [section] = MemoryFiles(tmp_path).sections(TODAY)
    assert section.text.endswith(" tea")
    section.text.encode()


def test_a_long_memory_is_cut_at_a_line_and_says_where_the_rest_is(tmp_path: Path) -> None:
    write(tmp_path, "MEMORY.md", "".join(f"fact {n}\n" for n in range(1_000)))
    [section] = MemoryFiles(tmp_path, max_chars=500).sections(TODAY)
    assert section.text.startswith("fact 0\n")
    assert len(section.text) < 700
    assert f"more characters in {tmp_path}/MEMORY.md]" in section.text.splitlines()[-1]


def test_of_a_long_day_the_latest_entries_are_kept(tmp_path: Path) -> None:
    write(tmp_path, "MEMORY.md", "likes tea")
    write(tmp_path, "daily/2026-11-20.md", "yesterday\n" * 100)
    write(tmp_path, "daily/2026-11-21.md", "".join(f"entry {n}\n" for n in range(1_000)))
    found = MemoryFiles(tmp_path, max_chars=1_000).sections(TODAY)
    assert [s.name for s in found] == ["MEMORY.md", "daily/2026-11-21.md"]
    assert found[1].text.endswith("entry 999")
    assert "earlier characters in" in found[1].text.splitlines()[0]
    assert sum(len(s.text) for s in found) < 1_300


def test_memory_and_days_share_the_room_when_both_are_long(tmp_path: Path) -> None:
    write(tmp_path, "MEMORY.md", "fact\n" * 2_000)
    write(tmp_path, "daily/2026-11-21.md", "entry\n" * 2_000)
    curated, today = MemoryFiles(tmp_path, max_chars=3_000).sections(TODAY)
    assert len(curated.text) > 1_800
    assert len(today.text) > 800


def test_pipes_and_links_that_lead_elsewhere_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text("token")
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "MEMORY.md").symlink_to("../server.json")
    (folder / "daily").symlink_to("..")
    (tmp_path / "2026-11-21.md").write_text("token")
    assert MemoryFiles(folder).sections(TODAY) == ()
    (folder / "MEMORY.md").unlink()
    os.mkfifo(folder / "MEMORY.md")
    assert MemoryFiles(folder).sections(TODAY) == ()


def test_a_memory_folder_that_is_a_link_is_none(tmp_path: Path) -> None:
    write(tmp_path, "MEMORY.md", "token")
    agent = tmp_path / "agents"
    agent.mkdir()
    (agent / "memory").symlink_to("..")
    assert MemoryFiles(agent / "memory").sections(TODAY) == ()


def test_a_link_to_another_file_of_the_memory_is_followed(tmp_path: Path) -> None:
    write(tmp_path, "facts.md", "likes tea")
    (tmp_path / "MEMORY.md").symlink_to("facts.md")
    assert MemoryFiles(tmp_path).sections(TODAY)[0].text == "likes tea"
