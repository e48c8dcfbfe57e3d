from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.hooks import HookSet, hook
from perdure.kernel.events import Text

from .world import World, call, ended, prompt, reply

GOOD = """
@hook("before_tool", fail="closed")
async def guard(event):
    return block("guarded")
"""


async def test_a_changed_file_is_used_without_a_restart(world: World) -> None:
    world.write("a.py", GOOD)
    assert (await world.runner.fire("before_tool", call())).block == "guarded"
    world.write("a.py", GOOD.replace("guarded", "guarded anew"))
    assert (await world.runner.fire("before_tool", call())).block == "guarded anew"
    (world.folder / "a.py").unlink()
    world.now += 10
    assert not world.runner.wants("before_tool")


async def test_files_are_looked_at_once_a_second_and_on_reload(world: World) -> None:
    assert not world.runner.wants("before_tool")
    world.write("a.py", GOOD)
    world.now -= 10
    assert not world.runner.wants("before_tool")
    assert world.set.reload() == []
    assert world.runner.wants("before_tool")


async def test_a_file_that_broke_keeps_its_last_good_hooks(world: World) -> None:
    world.write("a.py", GOOD)
    assert world.runner.wants("before_tool")
    path = world.write("a.py", "\n\nthis is no Python\n")
    [error] = world.set.reload()
    assert error.startswith(f"{path}:4: ")
    assert (await world.runner.fire("before_tool", call())).block == "guarded"


@pytest.mark.parametrize(
    "broken", ["\nimport nothing_of_the_kind", "\n)", "\nraise SystemExit", '\nhook("nowhere")']
)
async def test_a_guard_in_a_file_that_never_loaded_blocks(world: World, broken: str) -> None:
    path = world.write("a.py", GOOD + broken)
    [error] = world.set.reload()
    assert error.startswith(str(path))
    for _ in range(5):
        outcome = await world.runner.fire("before_tool", call())
        assert str(path) in outcome.block
    assert not world.runner.wants("on_user_message")
    world.write("a.py", GOOD)
    assert (await world.runner.fire("before_tool", call())).block == "guarded"


async def test_a_broken_file_that_guards_nothing_blocks_nothing(world: World) -> None:
    world.write("a.py", '@hook("before_tool")\nasync def watch(event:\n')
    world.write("b.py", '@hook("on_turn_end")\nasync def watch(event): return again("on")\n')
    assert len(world.set.reload()) == 1
    assert (await world.runner.fire("before_tool", call())).block == ""
    assert (await world.runner.fire("on_turn_end", ended())).again == "on"


async def test_a_file_that_is_no_text_is_supposed_to_be_a_guard(world: World) -> None:
    (world.folder / "a.py").write_bytes(b"\xff\xfe\x00")
    assert "a.py" in world.set.reload()[0]
    assert (await world.runner.fire("before_tool", call())).block


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_that_may_not_be_read_is_supposed_to_be_a_guard(world: World) -> None:
    world.write("a.py", GOOD).chmod(0)
    assert "a.py" in world.set.reload()[0]
    assert (await world.runner.fire("before_tool", call())).block


async def test_hooks_that_were_only_imported_do_not_count_twice(world: World) -> None:
    world.write(
        "a.py",
        """
        @hook("on_turn_end")
        async def one(event):
            return again("x")
        two = one
        """,
    )
    outcome = await world.runner.fire("on_turn_end", ended())
    assert outcome.again in ("x", "x\nx")
    assert len(world.set.at("on_turn_end")) == 1


def test_files_beginning_with_an_underscore_are_left_alone(world: World) -> None:
    world.write("_draft.py", "raise SystemExit")
    (world.folder / ".hidden.py").write_text("raise SystemExit")
    assert world.set.reload() == []


def test_folders_need_not_be_there(world: World) -> None:
    assert HookSet((world.root / "nowhere" / "hooks",)).reload() == []


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (("before_lunch",), {}),
        (("before_tool",), {"fail": "ajar"}),
        (("on_turn_end",), {"fail": "closed"}),
        (("on_error",), {"fail": "closed"}),
        (("before_tool",), {"timeout": 0}),
        (("before_tool",), {"timeout": float("nan")}),
        (("before_tool",), {"timeout": 3600}),
        (("before_model",), {"tools": ("bash",)}),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(
    arguments: tuple[str], settings: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"."):
        hook(*arguments, **settings)  # type: ignore[arg-type]


async def test_the_guides_example_does_what_it_says(world: World) -> None:
    guide = Path(__file__).parents[2] / "docs" / "guides" / "hooks.md"
    example = guide.read_text().partition("```python\n")[2].partition("```")[0]
    (world.folder / "house.py").write_text(example)
    assert world.set.reload() == []
    forced = await world.runner.fire("before_tool", call(command="git push --force"))
    assert forced.block == "Nobody force-pushes here."
    assert "This machine" in (await world.runner.fire("before_model", prompt("x"))).value.tail
    promise = reply(Text(text="Fine. I will do that now."))
    assert "tools" in (await world.runner.fire("on_model_response", promise)).again


async def test_a_pipe_in_the_place_of_a_hook_file_blocks_what_it_would_guard(world: World) -> None:
    os.mkfifo(world.folder / "guard.py")
    [error] = world.set.reload()
    assert "not a regular file" in error
    assert (await world.runner.fire("before_tool", call(command="ls"))).block
