"""Painted lines fit the width, carry no trailing blanks, and follow NO_COLOR."""

from __future__ import annotations

import re

import pytest
from wcwidth import wcswidth

from perdure.cli.view.blocks import Answer, Asked, Block, Note, Running, Said, ToolDone
from perdure.cli.view.paint import Painter, running_lines, seconds
from perdure.kernel import events as e

from .fake_server import DIFF, ESSAY, call, result

_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
BLOCKS: list[Block] = [
    Said(text="hello 你好 🌊 " + "word " * 60),
    Answer(markdown=ESSAY),
    ToolDone(
        tool="bash",
        arguments={"command": "echo 長い長い長い長い長い長い長い長い長い長い長い " * 3},
        result=result("out 你好 " * 80 + "\nend", exit_code=3),
        ms=1234,
    ),
    ToolDone(tool="edit", arguments={"path": "a"}, result=result("", diff=DIFF), ms=3),
    Asked(
        request=e.ApprovalRequested(
            approval=e.ApprovalId("a"),
            call=e.CallId("c"),
            tool="bash",
            arguments={"command": "rm -rf build"},
            reason="asks",
            preview="rm -rf build " * 20,
        )
    ),
    Note(text="a note " * 30, level="warning"),
]


def _plain(line: str) -> str:
    return _ESCAPE.sub("", line)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: type(b).__name__)
def test_no_line_is_wider_than_the_terminal_nor_ends_in_blanks(block: Block, width: int) -> None:
    for line in map(_plain, Painter(width).block(block)):
        if not line.startswith("  "):  # code is left to the terminal to wrap
            assert wcswidth(line) <= width, line
        assert line == line.rstrip(" ")


def test_code_is_not_broken_so_that_it_can_be_copied() -> None:
    code = "x = " + "1 + " * 60 + "1"
    lines = [_plain(line) for line in Painter(40).block(Answer(markdown=f"```python\n{code}\n```"))]
    assert lines == [f"  {code}"]


def test_code_in_the_live_region_is_broken_so_that_it_fits() -> None:
    from perdure.cli.view.markdown import Markdown

    code = "x = " + "1 + " * 60 + "1"
    lines = Painter(40).lines(Markdown(f"```python\n{code}\n```"), 39)
    assert len(lines) > 5
    assert all(wcswidth(_plain(line)) <= 39 for line in lines)


def test_no_color_leaves_bold_and_dim_and_no_colour() -> None:
    painted = "\n".join(line for b in BLOCKS for line in Painter(80, color=False).block(b))
    codes = {int(c) for found in re.findall(r"\x1b\[([0-9;]+)m", painted) for c in found.split(";")}
    assert codes <= {0, 1, 2, 3, 4, 7, 9}
    assert 1 in codes


def test_unstyled_has_no_escape_at_all() -> None:
    assert "\x1b" not in "".join(x for b in BLOCKS for x in Painter(80, styled=False).block(b))


def test_an_escape_in_a_result_does_not_reach_the_terminal() -> None:
    evil = "\x1b]52;c;eA==\x07\x1b[2Jall clear"
    for block in (
        Said(text=evil),
        Answer(markdown=evil),
        Note(text=evil),
        ToolDone(tool=evil, arguments={"command": evil}, result=result(evil), ms=1),
    ):
        painted = "".join(Painter(80).block(block))
        assert "\x1b]" not in painted
        assert "\x1b[2J" not in painted
        assert "all clear" in painted


def test_long_output_and_messages_are_folded() -> None:
    many = "\n".join(f"line {i}" for i in range(10_000))
    done = ToolDone(tool="bash", arguments={"command": "seq"}, result=result(many), ms=1)
    lines = [_plain(line) for line in Painter(80).block(done)]
    assert len(lines) == 9
    assert lines[4] == "  … 9,993 more lines"
    assert lines[-1] == "  line 9999"
    assert len(Painter(80).block(Said(text=many))) < 15


def test_one_line_calls_stand_together_and_other_blocks_apart() -> None:
    read = ToolDone(tool="read", arguments={"path": "a"}, result=result("x"), ms=1)
    paint = Painter(80, styled=False)
    assert paint.scroll([Said(text="hi"), read, read, Answer(markdown="done")]) == [
        "› hi",
        "",
        "● read a",
        "● read a",
        "",
        "done",
    ]


def test_items_of_a_streamed_list_stand_together() -> None:
    paint = Painter(80, styled=False)
    lines = paint.scroll([Answer(markdown="- a"), Answer(markdown="- b", tight=True)])
    assert lines == [" • a", " • b"]


def test_a_running_call_shows_the_last_lines_of_its_output() -> None:
    one = call("bash", command="make")
    running = Running(tool=one.name, arguments=one.arguments, output="1\n2\n3\n4\n")
    shown = running_lines(running, 12.0, 2, 80).plain
    assert shown == "● bash make  12 s\n  3\n  4"


def test_durations_read_well() -> None:
    assert [seconds(s) for s in (0.25, 12, 90, 3700)] == [
        "0.2 s",
        "12 s",
        "1 min 30 s",
        "1 h 1 min",
    ]
