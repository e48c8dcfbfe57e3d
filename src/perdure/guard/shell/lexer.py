"""The words of a simple command, read by our own rules.

tree-sitter says where a command begins and ends and what stands around it; its words are read here, so
that what the shell takes for one word is one word, whatever the grammar thought. Where the two disagree
the line is not understood. Text is held as one character per byte, so that offsets are the tree's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .model import HOLE, Word
from .variables import added, risky


class Unclear(Exception):
    """The text is not understood; the message says why."""


PLAIN_WORD = r"[A-Za-z0-9_./:@%+,^-][A-Za-z0-9_./:@%+,^=-]*"
"""One that stands for itself."""
PLAIN = re.compile(PLAIN_WORD + r"(?=[ \t\n;&|<>()]|\Z)")
BLANKS = re.compile(r"(?:[ \t]|\\\n)*")
REDIRECTION = re.compile(r"(\d*)(<<<|<>|<&|>&|>>|>\||<(?![<(])|>(?!\())|()(&>>|&>)", re.A)
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\[\d+\])?\+?=", re.A)
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|[0-9@*#?$!-])", re.A)
EXPANSION = re.compile(
    r"""\$\{(?:
        \#?(?:\w+|[@*?$!-]|\#)(?:\[[@*\d]+\])?
      | \w+(?:\[[@*\d]+\])?(?:
            :[ ]*-?\d+(?::[ ]*-?\d+)?
          | (?::?[-+?]|\#\#?|%%?|//?|\^\^?|,,?)
            (?:[\w ./,:@%+=*?~^\[\]|;\#-]|\\[\w./*?]|\$\w++)*+
        )
    )\}""",
    re.A | re.X,
)
"""`${…}` in which nothing can run: no substitution, no indirection, no transformation, no arithmetic on
names, no assignment."""
_ARITHMETIC = re.compile(r"\$\(\(([\w\s+*/%<>=!&|^~?:,()-]*)\)\)", re.A)
_NAMES = re.compile(r"[A-Za-z_]\w*", re.A)
_ESCAPE = re.compile(
    r"\\(?:([abeEfnrtv\\'\"?])|x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|([0-7]{1,3})|(.))",
    re.S,
)
_SIMPLE_ESCAPES = dict(zip("abeEfnrtv\\'\"?", "\a\b\x1b\x1b\f\n\r\t\v\\'\"?", strict=True))
_META = frozenset(" \t\n;&|<>()")


@dataclass(slots=True)
class Redirection:
    operator: str
    target: Word


@dataclass(slots=True)
class Simple:
    """What stands between two separators."""

    assignments: list[tuple[str, Word | None]]
    """Name and value; None for an array."""
    words: list[Word]
    redirections: list[Redirection]


Substitution = Callable[[int, bool], int]
"""Told where a `$(`, backtick, `<(` or `>(` begins and whether it stands within double quotes: reads the
commands within and returns where it ends."""


class Lexer:
    def __init__(
        self, text: str, substitution: Substitution, *, bash: bool, ascii_only: bool
    ) -> None:
        self._text, self._substitution, self._bash, self._ascii = (
            text,
            substitution,
            bash,
            ascii_only,
        )
        self.arithmetic: set[str] = set()
        """Names that arithmetic evaluates."""

    def simple(self, start: int, end: int) -> Simple:
        """Assignments, words and redirections of text[start:end]. Raises Unclear."""
        found = Simple([], [], [])
        text, at = self._text, start
        while True:
            at = self._skip(at, end, start)
            if at >= end:
                return found
            char = text[at]
            if (char in "<>&" or char.isdigit()) and (m := REDIRECTION.match(text, at, end)):
                operator = m[2] or m[4]
                if not self._bash and operator in ("&>", "&>>", "<<<"):
                    raise Unclear(f"{operator} means something else to sh")
                begin = BLANKS.match(text, m.end(), end).end()  # type: ignore[union-attr]
                word, at = self.word(begin, end)
                found.redirections.append(Redirection(operator, word))
                continue
            if not found.words and (m := ASSIGNMENT.match(text, at, end)):
                at = self._assign(m, found, end)
                continue
            if (m := ASSIGNMENT.match(text, at, end)) and text[m.end() : m.end() + 1] == "(":
                at = self._assign(m, found, end)
                found.words.append(Word(None, f"{m[0]}{HOLE}"))
                continue
            word, at = self.word(at, end)
            found.words.append(word)

    def _assign(self, m: re.Match[str], found: Simple, end: int) -> int:
        text, at = self._text, m.end()
        if text[at : at + 1] != "(":
            begin = at
            word, at = self.word(at, end, value=True)
            number = _ARITHMETIC.fullmatch(text, begin, at)
            value = Word("0", HOLE) if number else word
            # What is put behind another value may make any value of it.
            found.assignments.append((m[1], None if added(m) and risky(m[1]) else value))
            return at
        if not self._bash:
            raise Unclear("arrays are not known to sh")
        at += 1
        while True:
            while at < end and text[at] in " \t\n":
                at += 1
            if at >= end:
                raise Unclear("an array does not end")
            if text[at] == ")":
                found.assignments.append((m[1], None))
                return at + 1
            if text[at] == "[":
                raise Unclear("an array with subscripts")
            _, at = self.word(at, end)

    def words(self, start: int, end: int) -> Sequence[Word]:
        """Nothing but words."""
        found = self.simple(start, end)
        if found.assignments or found.redirections:
            raise Unclear("a list of words holds something else")
        return found.words

    def _skip(self, at: int, end: int, start: int) -> int:
        after = BLANKS.match(self._text, at, end).end()  # type: ignore[union-attr]
        gap = self._text[at:after]
        if "\\" in gap and at > start and after < end and not gap.replace("\\\n", ""):
            raise Unclear("a line is continued within a word")
        return after

    def word(self, at: int, end: int, *, value: bool = False) -> tuple[Word, int]:
        """One word and where it ends. `value`: of an assignment, may be empty."""
        text = self._text
        if m := PLAIN.match(text, at, end):
            return Word(m[0], m[0]), m.end()
        begin = at
        literal: list[str] = []
        """As the program gets it; HOLE for what is not known."""
        bare: list[str] = []
        """Unquoted characters; NUL in place of others."""
        many = False
        while at < end:
            char = text[at]
            if char == "'":
                close = text.find("'", at + 1, end)
                if close < 0:
                    raise Unclear("a quote is not closed")
                literal.append(text[at + 1 : close])
                bare.append("\0")
                at = close + 1
            elif char == '"':
                at, more = self._quoted(at + 1, end, literal)
                many = many or more
                bare.append("\0")
            elif char == "\\":
                if at + 1 >= end:
                    raise Unclear("a backslash with nothing behind it")
                if text[at + 1] == "\n":
                    raise Unclear("a line is continued within a word")
                literal.append(text[at + 1])
                bare.append("\0")
                at += 2
            elif char == "$" and text.startswith("$'", at):
                at = self._ansi(at, end, literal)
                bare.append("\0")
            elif char == "$" and text.startswith('$"', at):
                raise Unclear("a translated text")
            elif char in "$`":
                at, known, _ = self._dollar(at, end, quoted=False, out=literal)
                bare.append("$" if known else "\0")
                many = many or (not known and text[at - 2 : at] not in ("$?", "$#", "$$", "$!"))
            elif char in "<>" and text[at + 1 : at + 2] == "(":
                if not self._bash:
                    raise Unclear("process substitution is not known to sh")
                at = self._substitution(at, False)
                literal.append(f"/dev/fd/{HOLE}")
                bare.append("\0")
            elif char in _META:
                break
            else:
                literal.append(char)
                bare.append(char)
                at += 1
        if at == begin and not value:
            raise Unclear("a word is missing")
        if text[at : at + 1] in ("<", ">") and re.fullmatch(r"\{\w+\}", text[begin:at], re.A):
            raise Unclear("a redirection into a variable")
        raw = "".join(bare)
        if raw.startswith("#"):
            raise Unclear("a word begins like a comment")
        return self._word("".join(literal), raw, many, value), at

    def _word(self, literal: str, bare: str, many: bool, value: bool) -> Word:
        shape = literal if self._ascii else _utf8(literal)
        glob = ""
        if bare.startswith("~"):
            shape = _home(shape, bare)
        elif re.match(r"[A-Za-z_]\w*\+?=.*~", bare, re.A) or (value and "~" in bare):
            shape = shape.replace("~", HOLE)
        if not value and "{" in bare and ("," in bare or ".." in bare):
            return Word(None, _before(shape, "{") + HOLE, True)
        if not value and bare not in ("[", "]") and any(c in bare for c in "*?["):
            glob = shape
            first = min(i for i in (shape.find(c) for c in "*?[") if i >= 0)
            last = max(shape.rfind(c) for c in "*?[]")
            shape = f"{shape[:first]}{HOLE}{shape[last + 1 :]}"
            many = True
        if HOLE in shape:
            return Word(None, shape, many, glob)
        return Word(shape, shape)

    def _quoted(self, at: int, end: int, out: list[str]) -> tuple[int, bool]:
        """The rest of a text in double quotes. True: `"$@"`, which may be several words."""
        text, many = self._text, False
        while at < end:
            char = text[at]
            if char == '"':
                return at + 1, many
            if char == "\\" and text[at + 1 : at + 2] in ("$", "`", '"', "\\"):
                out.append(text[at + 1])
                at += 2
            elif char == "\\" and text[at + 1 : at + 2] == "\n":
                at += 2
            elif char in "$`":
                at, _, list_ = self._dollar(at, end, quoted=True, out=out)
                many = many or list_
            else:
                out.append(char)
                at += 1
        raise Unclear("a quote is not closed")

    def _dollar(self, at: int, end: int, *, quoted: bool, out: list[str]) -> tuple[int, bool, bool]:
        """An expansion: where it ends, whether it is none but a mere `$`, and whether it is a list."""
        text = self._text
        if text[at] == "`" or (text.startswith("$(", at) and not text.startswith("$((", at)):
            out.append(HOLE)
            return self._substitution(at, quoted), False, False
        if text.startswith("$((", at):
            m = _ARITHMETIC.match(text, at, end)
            if m is None or not _balanced(m[1]):
                raise Unclear("arithmetic in which something else may hide")
            self.arithmetic.update(_NAMES.findall(m[1]))
            out.append(HOLE)
            return m.end(), False, False
        if text.startswith("${", at):
            m = EXPANSION.match(text, at, end)
            if m is None:
                raise Unclear("an expansion in which something else may hide")
            if not self._bash and re.search(r"/|\^|,|\[|:\s*-?\d", m[0]):
                raise Unclear("an expansion that sh does not know")
            out.append(HOLE)
            return m.end(), False, "@" in m[0]
        if text.startswith("$[", at):
            raise Unclear("old arithmetic")
        if m := _VARIABLE.match(text, at, end):
            out.append(HOLE)
            return m.end(), False, m[0] == "$@"
        out.append("$")
        return at + 1, True, False

    def _ansi(self, at: int, end: int, out: list[str]) -> int:
        if not self._bash:
            raise Unclear("$' means something else to sh")
        close = at + 2
        text = self._text
        while close < end and text[close] != "'":
            close += 2 if text[close] == "\\" else 1
        if close >= end:
            raise Unclear("a quote is not closed")
        try:
            decoded = _ESCAPE.sub(_unescaped, text[at + 2 : close])
        except (ValueError, OverflowError) as error:
            raise Unclear("an escape that is not understood") from error
        out.append(decoded)
        return close + 1


def _unescaped(m: re.Match[str]) -> str:
    """In bytes, one character each."""
    if m[1]:
        return _SIMPLE_ESCAPES[m[1]]
    code = m[2] or m[3] or m[4]
    number = int(code, 16) if code else int(m[5], 8) if m[5] else -1
    if number <= 0 or (m[5] and number > 255):
        raise ValueError
    if m[2] or m[5]:
        if number > 127:
            raise ValueError
        return chr(number)
    return chr(number).encode().decode("latin-1")


def _balanced(text: str) -> bool:
    depth = 0
    for char in text:
        depth += (char == "(") - (char == ")")
        if depth < 0:
            return False
    return depth == 0


def _home(shape: str, bare: str) -> str:
    if bare == "~" or bare.startswith("~/"):
        return os.path.expanduser("~") + shape[1:]  # noqa: PTH111
    return HOLE + (f"/{shape.partition('/')[2]}" if "/" in shape else "")


def _before(text: str, mark: str) -> str:
    return text.partition(mark)[0]


def _utf8(text: str) -> str:
    """Of bytes as characters; a HOLE stays one."""
    parts = (part.encode("latin-1").decode("utf-8") for part in text.split(HOLE))
    return HOLE.join(parts)
