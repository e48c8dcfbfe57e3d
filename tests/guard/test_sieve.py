"""A rule that is passed over is one that would have said no."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.guard.matching import catches, uncovered, why_not
from perdure.guard.patterns import could_fit_text, fits_text, head_of
from perdure.guard.query import Query
from perdure.guard.rules import Rule
from perdure.guard.shell.model import HOLE
from perdure.guard.sieve import Sieve
from perdure.tools.base import Touch

WORK = Path("/home/ann/work")
PATTERNS = st.sampled_from(
    ["git *", "git push *", "git push*", "gi[t] push", "*push*", "?it *", "ls", "ls *", "cd *", "[x", "*",
     "rm -rf *", "/usr/bin/git *", "env *", "echo \\n*", " git *", "git  *", "true"]
)  # fmt: skip
COMMANDS = st.sampled_from(
    ["git push", "git push origin", "git -C x push", "git $x", "$x push", "ls", "ls -l && git push", "cd x",
     "cd x && true", "env A=1 git push", "/usr/bin/git push", " git push ", "rm -rf x", "python3 x.py",
     "sh -c 'git push'", "echo '\ngit push'", "if", "", "(", "git --no-pager log", "x=1", "> f", "ls; [x"]
)  # fmt: skip
RULES = st.builds(
    Rule,
    tool=st.sampled_from(["bash", "process", "*", "ba*", "read", "b?sh"]),
    command=st.one_of(st.just(""), PATTERNS),
    path=st.sampled_from(["", "", "x/**", "/**"]),
)
QUERIES = st.builds(
    Query,
    tool=st.sampled_from(["bash", "process", "read"]),
    workdir=st.just(WORK),
    workspace=st.just(WORK),
    command=st.one_of(st.none(), COMMANDS),
    touches=st.sampled_from([(), (Touch(path=WORK / "x/y", write=True),)]),
)


@settings(max_examples=600, deadline=None)
@given(st.lists(RULES, max_size=8), QUERIES)
def test_what_is_passed_over_catches_and_covers_nothing(rules: list[Rule], query: Query) -> None:
    sieve = Sieve(rules)
    caught = {id(rule) for rule in sieve.catching(query)}
    for rule in rules:
        if id(rule) not in caught:
            assert catches(rule, query)[0] == "no"
    allowing = {id(rule) for rule in sieve.allowing(query)}
    for rule in rules:
        if id(rule) not in allowing and not why_not(rule, query):
            why, covered = uncovered(query, rule)
            assert rule.command and why and not covered


@given(PATTERNS | st.text("ab *?[]", max_size=8), st.text(f"ab *?[]{HOLE}", max_size=8))
def test_what_a_pattern_fits_begins_with_its_head(pattern: str, text: str) -> None:
    try:
        fits = fits_text(pattern, text)
    except re.error:  # no pattern
        return
    assert text.startswith(head_of(pattern)) or not fits
    assert could_fit_text(pattern, text) or not fits
