"""Owner's tools are loaded from folders, reloaded when they change, and cannot break the rest."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from pydantic import BaseModel, Field

from perdure.kernel.events import ToolResult
from perdure.tools import Tool, Toolbox, ToolContext, ok
from perdure.tools.schema import parameters

HELLO = '''
from __future__ import annotations
from perdure.tools import Tool, ToolContext, ToolResult, ok

class Hello(Tool):
    """Greet somebody."""

    effects = frozenset()
    who: str

    async def execute(self, context: ToolContext) -> ToolResult:
        return ok(f"hello {self.who}")
'''


def test_the_core_tools_are_there_in_a_stable_order_and_small() -> None:
    schemas = Toolbox().schemas()
    assert [s.name for s in schemas] == ["read", "write", "edit", "bash", "process", "extract"]
    assert len(msgspec.json.encode(schemas)) / 4 < 620


def test_a_tool_file_is_loaded_and_reloaded(tmp_path: Path) -> None:
    path = tmp_path / "hello.py"
    path.write_text(HELLO)
    box = Toolbox(folders=[tmp_path])
    assert not box.errors, box.errors
    assert [s.name for s in box.schemas()][-1] == "hello"
    path.write_text(HELLO.replace("Greet somebody.", "Greet."))
    os.utime(path, ns=(1, 1))
    assert box.schemas()[-1].description == "Greet."
    path.unlink()
    assert box.get("hello") is not None  # until the next look
    box.refresh()
    assert box.get("hello") is None


@pytest.mark.filterwarnings("ignore:Field name")
@pytest.mark.parametrize(
    ("code", "line", "word"),
    [
        ("x = (", 1, "SyntaxError"),
        ("a = 1\nraise ValueError('no key')", 2, "no key"),
        ("import sys\nsys.exit(3)", 2, "SystemExit"),
        ("import perdure.nothing", 1, "ModuleNotFoundError"),
        (
            "from perdure.tools import Tool\n\nclass T(Tool):\n    effects = 'writes'\n",
            3,
            "effects",
        ),
        ("from perdure.tools import Tool\nclass T(Tool):\n    name: str\n", 2, "alias"),
    ],
)
def test_a_broken_file_keeps_the_last_good_tools_and_says_where(
    tmp_path: Path, code: str, line: int, word: str
) -> None:
    path = tmp_path / "hello.py"
    path.write_text(HELLO)
    box = Toolbox(folders=[tmp_path])
    path.write_text(code)
    box.refresh()
    assert box.get("hello") is not None
    (error,) = box.errors
    assert (error.file, error.line) == (path, line)
    assert word in error.message
    assert str(error).startswith(f"{path}:{line}: ")


def test_a_core_tool_cannot_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "bash.py").write_text(HELLO.replace("class Hello", "class Bash"))
    box = Toolbox(folders=[tmp_path])
    assert "core tool" in str(box.errors[0])
    assert box.get("bash").__module__ == "perdure.tools.bash"  # type: ignore[union-attr]


def test_a_later_folder_overrides_an_earlier_one(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hello.py").write_text(HELLO.replace("Greet somebody", name))
    box = Toolbox(folders=[tmp_path / "one", tmp_path / "two", tmp_path / "missing"])
    assert box.schemas()[-1].description == "two."


def test_files_beginning_with_a_dot_or_underscore_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "_shared.py").write_text("raise RuntimeError")
    (tmp_path / ".x.py").write_text("raise RuntimeError")
    assert not Toolbox(folders=[tmp_path]).errors


class Inner(BaseModel):
    deep: int | None = None


class Rich(Tool):
    """Rich."""

    label: str = Field(alias="name", description="What it is called")
    inner: Inner
    many: list[Inner] = Field(default_factory=list)
    choice: int | str | None = None

    async def execute(self, context: ToolContext) -> ToolResult:
        return ok()


def test_a_schema_is_compact_and_holds_no_references() -> None:
    inner = {"type": "object", "properties": {"deep": {"type": "integer"}}}
    assert parameters(Rich) == {
        "type": "object",
        "required": ["name", "inner"],
        "properties": {
            "name": {"type": "string", "description": "What it is called"},
            "inner": inner,
            "many": {"type": "array", "items": inner},
            "choice": {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]},
        },
    }


def test_an_undeclared_tool_is_taken_for_the_worst() -> None:
    assert Rich.name == "rich"
    assert (Rich.only_reads(), Rich.recovers_by()) == (False, "doubt")


def test_a_pipe_in_the_place_of_a_tool_file_is_an_error_and_waits_for_nobody(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "x.py")
    [error] = Toolbox(folders=[tmp_path]).errors
    assert "not a regular file" in str(error)


@pytest.mark.parametrize("raises", ["KeyboardInterrupt", "SystemExit", "GeneratorExit"])
def test_a_tool_file_that_raises_what_ends_programs_is_an_error(
    tmp_path: Path, raises: str
) -> None:
    (tmp_path / "x.py").write_text(f"raise {raises}\n")
    [error] = Toolbox(folders=[tmp_path]).errors
    assert raises in str(error)
