"""Texts between `((` and `))`, `[[` and `]]`, and before the `)` of a case: understood only where nothing in
them can run. Arithmetic evaluates the values of variables, and a value such as `a[$(id)]` runs something."""

from __future__ import annotations

import re

from .lexer import Unclear

_CASE_PATTERN = re.compile(
    r"\(?[ \t]*(?:{p})(?:[ \t]*\|[ \t]*(?:{p}))*[ \t]*\)".format(
        p=r"[\w*?.,:/@%+=~^\[\]!-]+|'[^'\n]*'|\"[^\"$`\\\n]*\""
    ),
    re.A,
)
_TEST_WORD = (
    r"(?:[\w./:@%+,~*?^=\[\]{}-]|\\[.*+?^$\[\](){}|/ ]|'[^'\n]*'"
    r'|"(?:[^"$`\\\n]|\$\w++|\$\{\w++:?-?\})*+"|\$\w++|\$\{\w++:?-?\}|\$[?#@*])++'
)
_TEST = re.compile(rf"\[\[\s+(?>(?:!=|!|\(|\)|&&|\|\||<|>|\$(?=\s)|{_TEST_WORD})\s+)*\]\]\Z", re.A)
_NUMERIC_TEST = re.compile(r"(\S+)\s+-(?:eq|ne|lt|gt|le|ge)\s+(\S+)")
_EXPRESSION = re.compile(r"\(\(([\w\s+*/%<>=!&|^~?:,;-]*)\)\)\Z", re.A)
_NAMES = re.compile(r"[A-Za-z_]\w*", re.A)


def arithmetic(text: str) -> set[str]:
    """The variables that `((…))` evaluates. Raises Unclear."""
    m = _EXPRESSION.match(text)
    if m is None:
        raise Unclear("arithmetic in which something else may hide")
    return set(_NAMES.findall(m[1]))


def test(text: str) -> set[str]:
    """The variables whose values `[[ … ]]` evaluates as numbers. Raises Unclear."""
    if not _TEST.match(text) or "-v" in text.split():
        raise Unclear("a test in which something else may hide")
    found: set[str] = set()
    for m in _NUMERIC_TEST.finditer(text):
        for side in m.groups():
            bare = side.strip("\"'")
            if not re.fullmatch(r"-?\d+|\$\w+|\$\{\w+\}|\$[#?]", bare, re.A):
                raise Unclear("a test that evaluates what it compares")
            found.update(_NAMES.findall(bare))
    return found


def case_patterns(text: str, start: int, end: int) -> None:
    """Raises Unclear unless text[start:end] is a case's patterns with their `)`."""
    m = _CASE_PATTERN.match(text, start)
    if m is None or m.end() != end or m[0].lstrip("( \t").startswith("esac"):
        raise Unclear("a case whose patterns are not plain")
