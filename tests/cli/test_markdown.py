"""A streaming answer is cut only where nothing that follows can change what was cut off."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from perdure.cli.view.markdown import finished

from .fake_server import ESSAY

_LINES = st.sampled_from(
    [
        "word",
        "",
        "- item",
        "  - inner",
        "1. one",
        "# head",
        "```",
        "> said",
        "| a |",
        "    code",
        "---",
    ]
)


def _pieces(source: str, step: int) -> list[str]:
    """As a stream would be cut, `step` characters at a time."""
    pieces, taken = [], 0
    for end in range(0, len(source) + step, step):
        size, _ = finished(source[taken:end])
        if size:
            pieces.append(source[taken : taken + size])
            taken += size
    return [*pieces, source[taken:]]


def _shape(source: str) -> list[tuple[str, str]]:
    parser = MarkdownIt().enable("table")
    kinds = [(t.type, t.content) for t in parser.parse(source)]
    lists = ("bullet_list_open", "bullet_list_close", "ordered_list_open", "ordered_list_close")
    return [kind for kind in kinds if kind[0] not in lists]


@given(st.lists(_LINES, max_size=12), st.integers(1, 9))
def test_pieces_are_the_source_and_nothing_is_lost(lines: list[str], step: int) -> None:
    source = "\n".join(lines)
    assert "".join(_pieces(source, step)) == source


def test_an_essay_cut_into_pieces_reads_as_the_whole() -> None:
    for step in (1, 3, 7, 50):
        shapes = [shape for piece in _pieces(ESSAY, step) for shape in _shape(piece)]
        assert shapes == _shape(ESSAY)


def test_a_paragraph_is_held_until_it_is_over() -> None:
    assert finished("one line\nanother") == (0, False)
    assert finished("one line\nanother\n\nNext") == (18, False)


def test_an_open_fence_is_held_to_its_end() -> None:
    assert finished("```\na\n\nb\n\nc") == (0, False)
    assert finished("```\na\n```\nText") == (10, False)


def test_a_long_list_does_not_wait_for_its_end() -> None:
    assert finished("- a\n- b\n- c") == (4, True)
