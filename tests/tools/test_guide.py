"""The guides' examples work as they stand."""

from __future__ import annotations

import re
from pathlib import Path

from perdure.guard import PolicyFiles
from perdure.kernel.events import CallId, ToolCall, ToolResult
from perdure.tools import Toolbox

from .world import World

GUIDES = Path(__file__).parents[2] / "docs" / "guides"


def example(guide: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", (GUIDES / guide).read_text("utf-8"), re.DOTALL)
    assert found
    return found[1]


async def test_the_example_tool_runs(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "temperature.py").write_text(example("tools.md", "python"))
    world.toolbox = Toolbox(folders=[folder])
    assert not world.toolbox.errors
    world.bench = world.open()
    call = ToolCall(id=CallId("c"), name="temperature", arguments={"room": "attic"})
    assert not isinstance(world.bench.prepare(call), ToolResult)
    assert (await world("temperature", room="attic")).text == "21.5 °C"


def test_the_example_policy_is_read(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(example("policy.md", "yaml"))
    policy = PolicyFiles(tmp_path, "ann").current()
    assert (policy.mode, len(policy.allow), len(policy.deny)) == ("ask", 5, 3)
