"""A line of nothing but words is read without the grammar, and comes to what the grammar makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.guard.shell import Parsed, scene
from perdure.guard.shell.parsing import _read
from perdure.guard.shell.plain import KEYWORDS, plain_line

LINE = """
git log -n 5 --oneline cd export FOO A=b declare -x a=b unset sudo env xargs rm -rf / . .. ./x sh -c bash time
command exec eval source test let echo done do in then printf -v 1 @ % ^ a,b c:d x@y timeout 10 find -exec
nice read trap EXIT set -e shopt alias wait kill local readonly typeset function select getopts -delete
python3 -m coproc npm run make -C
"""
WORDS = st.sampled_from(LINE.split())
BLANKS = st.sampled_from([" ", "  ", "\t"])


def read(text: str, *, bash: bool) -> Parsed:
    _read.cache_clear()
    return _read(text, str(Path("/work")), bash=bash)[0]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(BLANKS, WORDS), min_size=1, max_size=6), st.booleans())
def test_it_is_read_as_by_the_grammar_where_that_can_read_it(
    words: list[tuple[str, str]], bash: bool
) -> None:
    text = "".join(blank + word for blank, word in words)
    plain = read(text, bash=bash)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene, "plain_line", lambda text: None)
        full = read(text, bash=bash)
    _read.cache_clear()
    assert plain == full or "it cannot be parsed" in full.unknown


@pytest.mark.parametrize(
    "text",
    ["A=1 ls", "ls 'a'", "ls *", "ls ~", "ls $x", "ls; id", "ls\nid", "ls&", "ls > x", "ls #x", "ls {a,b}",
     "ls \\\nid", "", " ", "time ls", "! ls", "ls a=(b)", "lä", "[ a ]",
     *(f"{word} x" for word in sorted(KEYWORDS))],
)  # fmt: skip
def test_whatever_else_is_in_a_line_is_for_the_grammar(text: str) -> None:
    assert plain_line(text) is None
