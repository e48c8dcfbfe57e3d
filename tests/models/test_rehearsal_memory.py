"""Notes in the agent's memory file."""

from __future__ import annotations

from pathlib import Path

from perdure.kernel.events import Text, ToolCall, ToolResult

from .rehearsal_stage import Stage, denied


def stage(folder: Path) -> Stage:
    return Stage(folder, memory=str(folder / "memory/MEMORY.md"))


async def test_a_note_is_appended_with_its_date(tmp_path: Path) -> None:
    one = stage(tmp_path)
    await one.ask("remember that I like tea and that lists are read")
    said = await one.ask("Please remember: the key is under the mat.")
    assert (tmp_path / "memory/MEMORY.md").read_text() == (
        "- 2026-11-21: I like tea and that lists are read\n- 2026-11-21: the key is under the mat\n"
    )
    assert "I will know it in later sessions" in said


async def test_a_note_that_was_not_allowed_is_not_claimed(tmp_path: Path) -> None:
    one = stage(tmp_path)
    one.intercept = lambda c: denied() if c.name == "write" else None
    said = await one.ask("remember that I like tea")
    assert "not allowed" in said
    assert "I will know" not in said


async def test_without_a_memory_file_it_says_so(tmp_path: Path) -> None:
    assert "no memory file" in await Stage(tmp_path).ask("remember that I like tea")


async def test_memory_is_read_aloud_and_lines_are_forgotten(tmp_path: Path) -> None:
    one = stage(tmp_path)
    assert "is empty" in await one.ask("what do you remember?")
    await one.ask("remember that I like tea")
    await one.ask("remember that I like coffee")
    assert "coffee" in await one.ask("what do you know about me?")
    assert "coffee" in await one.ask("forget about coffee")
    assert (tmp_path / "memory/MEMORY.md").read_text() == "- 2026-11-21: I like tea\n"
    assert "speaks of" in await one.ask("forget whisky")


async def test_a_memory_that_was_not_seen_whole_is_not_rewritten(tmp_path: Path) -> None:
    one = stage(tmp_path)

    def paged(call: ToolCall) -> ToolResult | None:
        return ToolResult(parts=(Text(text="1\t- tea"),), data={"lines": 1, "total": 9})

    one.intercept = paged
    assert "too long" in await one.ask("forget tea")
    assert [c.name for c in one.calls] == ["read"]
