"""Tidying a folder, with real shell commands on a real folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from perdure.kernel.events import Text, ToolCall, ToolResult
from perdure.kernel.prompt import UserItem
from perdure.models.rehearsal.tidy import kind_of, look, sort_out, unquote

from .rehearsal_stage import Stage, denied

ODD = (
    "-rf.jpg",
    "we ird.png",
    "quo'te.csv",
    'dou"ble.json',
    "new\nline.txt",
    "$(touch pwned).py",
    "`id`.sh",
    "star*.txt",
    "back\\slash.md",
    "ünïcode.mp3",
    " leading.pdf",
    "semi;colon.zip",
    "!",
    "UPPER.PDF",
)


def make(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(name)
    return folder


def tree(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}


def bash(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("bash")
    assert program is not None
    return subprocess.run(
        [program, "-c", command], cwd=cwd, capture_output=True, text=True, check=False
    )


async def test_files_go_to_folders_by_kind_whatever_their_names_are(tmp_path: Path) -> None:
    messy = make(tmp_path / "messy", *ODD)
    said = await Stage(tmp_path).ask("tidy the messy folder")
    assert tree(messy) == {
        "Images/-rf.jpg",
        "Images/we ird.png",
        "Data/quo'te.csv",
        'Data/dou"ble.json',
        "Documents/new\nline.txt",
        "Code/$(touch pwned).py",
        "Code/`id`.sh",
        "Documents/star*.txt",
        "Documents/back\\slash.md",
        "Audio/ünïcode.mp3",
        "Documents/ leading.pdf",
        "Archives/semi;colon.zip",
        "Other/!",
        "Documents/UPPER.PDF",
    }
    assert "I moved 14 files in `messy`" in said
    assert not (tmp_path / "pwned").exists()


async def test_a_name_that_is_no_utf8_is_moved_as_well(tmp_path: Path) -> None:
    messy = make(tmp_path / "messy")
    Path(os.fsdecode(os.fsencode(messy) + b"/bad\xff.jpg")).touch()
    await Stage(tmp_path).ask("tidy messy")
    assert [os.fsencode(p.name) for p in (messy / "Images").iterdir()] == [b"bad\xff.jpg"]


async def test_hidden_files_links_folders_and_unfinished_files_are_left_alone(
    tmp_path: Path,
) -> None:
    messy = make(tmp_path / "messy", ".hidden", "film.mkv.part", "perdure.yaml", "a.txt")
    make(messy / "sub", "deep.txt")
    (messy / "link.txt").symlink_to("a.txt")
    said = await Stage(tmp_path).ask("tidy the messy folder")
    assert tree(messy) == {
        ".hidden",
        "film.mkv.part",
        "perdure.yaml",
        "link.txt",
        "sub/deep.txt",
        "Documents/a.txt",
    }
    assert "I left alone: 1 folder, 1 hidden file, 1 link" in said


async def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    messy = make(tmp_path / "messy", "a.txt", "noext")
    make(messy / "Documents", "a.txt", "a (2).txt")
    make(messy / "Other", "noext")
    (messy / "Documents/a.txt").write_text("older")
    said = await Stage(tmp_path).ask("tidy messy")
    assert (messy / "Documents/a.txt").read_text() == "older"
    assert (messy / "Documents/a (3).txt").read_text() == "a.txt"
    assert (messy / "Other/noext (2)").read_text() == "noext"
    assert "`a.txt` is `Documents/a (3).txt` now" in said


async def test_it_says_only_what_the_commands_printed(tmp_path: Path) -> None:
    make(tmp_path / "messy", "a.txt", "b.jpg")
    stage = Stage(tmp_path)

    def nothing_moves(call: ToolCall) -> ToolResult | None:
        if "Move to Images" in str(call.arguments["command"]):
            return ToolResult(parts=(Text(text="total  0"),), data={"exit_code": 0})
        return None

    stage.intercept = nothing_moves
    said = await stage.ask("tidy messy")
    assert "I moved 1 file in" in said
    assert "b.jpg" not in said
    assert "It now holds 1 loose file" in said


async def test_a_step_that_was_not_allowed_ends_it_and_is_told(tmp_path: Path) -> None:
    messy = make(tmp_path / "messy", "a.txt", "b.jpg", "c.zip")
    stage = Stage(tmp_path)
    stage.intercept = lambda c: (
        denied("not the pictures") if "Move to Images" in str(c.arguments["command"]) else None
    )
    said = await stage.ask("tidy messy")
    assert tree(messy) == {"Documents/a.txt", "b.jpg", "c.zip"}
    assert "I moved 1 file" in said
    assert "I was not allowed to move files to Images" in said
    assert "not the pictures" in said


async def test_a_step_that_failed_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    messy = make(tmp_path / "messy", "a.jpg", "b.txt", "Images")
    said = await Stage(tmp_path).ask("tidy messy")
    assert "Documents/b.txt" in tree(messy)
    assert "I could not move everything to Images" in said


async def test_it_goes_on_after_a_restart_between_any_two_steps(tmp_path: Path) -> None:
    """Each reply of the stage comes from a fresh model: nothing is kept but the conversation."""
    make(tmp_path / "one", "a.txt", "b.jpg", "c.zip")
    stage = Stage(tmp_path)
    stage.say("tidy one")
    commands = []
    for _ in range(4):
        first, again = await stage.reply(), await stage.reply()
        assert first == again
        await stage.step()
        commands.append(stage.commands[-1])
    assert len(set(commands)) == 4


@pytest.mark.parametrize("cut_after", range(6))
async def test_a_command_killed_half_way_can_be_run_again(tmp_path: Path, cut_after: int) -> None:
    names = [f"{n}.txt" for n in range(5)]
    messy = make(tmp_path / "messy", *names)
    command = sort_out("messy", "Documents", "*.txt", slowly=False)
    cut = command.replace("for f in", "moved=0\nfor f in").replace(
        "  [[ !", f"  [[ $moved == {cut_after} ]] && kill -9 $$; moved=$((moved+1))\n  [[ !"
    )
    bash(cut, tmp_path)
    assert len(tree(messy)) == 5
    done = bash(command, tmp_path)
    assert done.returncode == 0
    assert tree(messy) == {f"Documents/{n}" for n in names}


async def test_a_step_in_doubt_is_done_again(tmp_path: Path) -> None:
    messy = make(tmp_path / "messy", "a.txt", "b.txt")
    stage = Stage(tmp_path)
    doubts = iter([True])

    def crash(call: ToolCall) -> ToolResult | None:
        if "Move to" in str(call.arguments["command"]) and next(doubts, False):
            (messy / "Documents").mkdir()
            (messy / "a.txt").rename(messy / "Documents/a.txt")
            return ToolResult(status="in_doubt", parts=(Text(text="lost"),))
        return None

    stage.intercept = crash
    said = await stage.ask("tidy messy")
    assert tree(messy) == {"Documents/a.txt", "Documents/b.txt"}
    assert "I moved 1 file" in said
    assert "Gone from here too, though I did not see it happen: `a.txt`" in said


async def test_a_project_is_not_torn_apart_unless_asked_again(tmp_path: Path) -> None:
    code = make(tmp_path / "code", "pyproject.toml", "a.py")
    stage = Stage(tmp_path)
    said = await stage.ask("tidy the code folder")
    assert "looks like a project" in said
    assert tree(code) == {"pyproject.toml", "a.py"}
    await stage.ask("tidy it anyway")
    assert "Code/a.py" in tree(code)


async def test_a_tidy_folder_needs_nothing(tmp_path: Path) -> None:
    make(tmp_path / "messy" / "Documents", "a.txt")
    stage = Stage(tmp_path)
    said = await stage.ask("tidy messy")
    assert "no loose files" in said
    assert len(stage.calls) == 1


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    said = await stage.ask("tidy nowhere")
    assert "I could not look into `nowhere`" in said
    assert len(stage.calls) == 1


async def test_a_cut_listing_leads_to_patterns_and_leaves_the_unknown(tmp_path: Path) -> None:
    messy = make(tmp_path / "messy", "a.txt", "b.jpg", "noext")
    stage = Stage(tmp_path)
    first = iter([True])

    def cut(call: ToolCall) -> ToolResult | None:
        if next(first, False):
            return ToolResult(
                parts=(Text(text="file  a.txt\n[… 900 characters left out …]\ntotal  3"),)
            )
        return None

    stage.intercept = cut
    await stage.ask("tidy messy")
    assert tree(messy) == {"Documents/a.txt", "Images/b.jpg", "noext"}


async def test_work_goes_on_after_a_compaction_in_the_middle(tmp_path: Path) -> None:
    messy = make(tmp_path / "messy", "a.txt", "b.jpg", "c.zip")
    stage = Stage(tmp_path)
    stage.say("tidy messy")
    for _ in range(2):
        await stage.step()
    summary = UserItem(seq=4, parts=(Text(text="It was summarized."),), kind="summary")
    stage.items[1:3] = [summary]
    await stage.finish()
    assert tree(messy) == {"Documents/a.txt", "Images/b.jpg", "Archives/c.zip"}


async def test_results_that_were_cleared_are_looked_up_again(tmp_path: Path) -> None:
    messy = make(tmp_path / "messy", "a.txt", "b.jpg")
    stage = Stage(tmp_path)
    first = iter([True])
    cleared = ToolResult(parts=(Text(text="[cleared to save room; 900 characters; …]"),))
    stage.intercept = lambda c: cleared if next(first, False) else None
    said = await stage.ask("tidy messy")
    assert tree(messy) == {"Documents/a.txt", "Images/b.jpg"}
    assert "after my first results had left the context" in said


async def test_slowly_waits_between_files(tmp_path: Path) -> None:
    make(tmp_path / "messy", "a.txt")
    stage = Stage(tmp_path)
    await stage.ask("tidy the messy folder slowly")
    assert any("sleep" in c for c in stage.commands)
    assert not any("sleep" in sort_out("x", "Code", "*.py", slowly=False) for _ in "x")


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_the_listing_names_everything_once_in_any_locale(tmp_path: Path, locale: str) -> None:
    messy = make(tmp_path / "messy", *ODD)
    listing = bash(f"export LC_ALL={locale}\n{look('messy')}", tmp_path).stdout
    names = [line.partition("  ")[2] for line in listing.splitlines() if line.startswith("file")]
    assert sorted(map(unquote, names)) == sorted(p.name for p in messy.iterdir())
    assert listing.endswith(f"total  {len(ODD)}\n")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.PDF", "Documents"),
        ("a.tar.gz", "Archives"),
        ("we\\ ird.png", "Images"),
        ("$'a\\nb.py'", "Code"),
        ("Makefile2", "Other"),
        ("a.unknown", "Other"),
        ("a.crdownload", ""),
        ("AGENTS.md", ""),
    ],
)
def test_the_kind_is_told_by_the_extension(name: str, kind: str) -> None:
    assert kind_of(name) == kind
