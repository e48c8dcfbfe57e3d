"""From a syntax tree to the commands in it.

The tree is not believed: every construct is one we know, what stands between its parts is blank or the
separator that bash wants there, and words are read by `lexer`. Whatever else is there makes the line
unknown, and is still looked through for commands, so that a deny rule can find them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from . import constructs
from .context import SIMPLE, Context, Scene
from .grammar import tree
from .lexer import Lexer, Simple, Unclear
from .model import Word
from .redirecting import redirected

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_DEPTH = 40
_OPERATORS = frozenset(
    ("&&", "||", ";;", ";&", "|&", "&>", "<<", "<>", "<&", ">>", ">&", ">|", "<(", ">(", "((")
)
_CLOSING = frozenset(("then", "do", "fi", "done", "elif", "else", "esac", "}"))
"""Keywords before which bash wants a separator."""

_HANDLERS: dict[str, Callable[[Reader, Node, Context], None]] = {
    **constructs.HANDLERS,
    "redirected_statement": redirected,
}


class Reader:
    """Of one text."""

    def __init__(self, text: str, scene: Scene, *, bash: bool, depth: int) -> None:
        self._source = text.encode()
        # One character per byte: offsets are the tree's.
        self.text = text if text.isascii() else self._source.decode("latin-1")
        self.scene, self.bash = scene, bash
        self._depth = depth
        self._node: Node | None = None
        self._context = Context()
        self.lexer = Lexer(self.text, self._substituted, bash=bash, ascii_only=text.isascii())

    def read(self, context: Context) -> None:
        root = tree(self._source)
        if root.has_error:
            self.scene.unclear("it cannot be parsed")
        self.many(root, context, frozenset((";", "&")), begin=0, end=len(self._source))
        if self.lexer.arithmetic:
            self.scene.evaluated(self.lexer.arithmetic)

    # Lists --------------------------------------------------------------------------------------

    def many(
        self,
        node: Node,
        context: Context,
        tokens: frozenset[str],
        *,
        begin: int | None = None,
        end: int | None = None,
        skip: int = 0,
    ) -> None:
        """Statements with separators between them; `tokens` may stand there as well."""
        at = node.start_byte if begin is None else begin
        last, last_token = "start", ""
        for child in node.children[skip:]:
            gap = self.gap(at, child.start_byte, last_token)
            # The newline behind a clause may be part of its node.
            ended = self.text[max(0, at - 2) : at]
            separated = (
                "\n" in gap or last != "statement" or (ended[-1:] == "\n" and ended != "\\\n")
            )
            kind = child.type
            at = child.end_byte
            if child.is_missing:
                self.scene.unclear("it cannot be parsed")
            elif kind == "comment":
                self.comment(child)
                last_token = ""
                continue
            elif not child.is_named:
                if kind not in tokens or (kind in _CLOSING and not separated):
                    self.scene.unclear(f"an unexpected {kind.strip()[:20] or 'line'}")
                if kind == ";" and last == "start":
                    self.scene.unclear("an empty command")
                last, last_token = "token", kind
                continue
            else:
                if not separated:
                    self.scene.unclear("two commands with nothing between them")
                if (
                    last_token
                    and not gap
                    and kind not in ("subshell", "compound_statement")
                    and (last_token[-1].isalpha() or last_token in "!{")
                ):
                    self.scene.unclear("a keyword that runs into a word")
                self.statement(child, context)
                last = "statement"
                if kind in ("else_clause", "elif_clause") and child.children[-1].type in (";", "&"):
                    last = "token"
            last_token = ""
        if end is not None:
            self.gap(at, end, last_token)

    def gap(self, start: int, end: int, token: str = "") -> str:
        """What stands between two parts, which may be blank only."""
        gap = self.text[start:end]
        if gap.strip(" \t\n"):
            rest = gap.replace("\\\n", "")
            if rest.strip(" \t\n"):
                self.scene.unclear("text between commands that the grammar passes over")
            elif not rest:
                self.scene.unclear("a line is continued within a word")
        elif not gap and token and token + self.text[end : end + 1] in _OPERATORS:
            self.scene.unclear("operators that may be read in two ways")
        return gap

    def comment(self, node: Node) -> None:
        text, start, end = self.text, node.start_byte, node.end_byte
        before, after = text[start - 1 : start] if start else "\n", text[end : end + 1]
        if text[start] != "#" or before not in " \t\n;&|()" or after not in ("", "\n"):
            self.scene.unclear("something that may or may not be a comment")
        if "\n" in text[start:end]:
            self.scene.unclear("something that may or may not be a comment")

    # Statements ---------------------------------------------------------------------------------

    def statement(self, node: Node, context: Context) -> None:
        kind = node.type
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                self.scene.unclear("it is nested too deeply")
            elif kind in SIMPLE:
                self.simple(node, node.start_byte, node.end_byte, context)
            elif (handler := _HANDLERS.get(kind)) is not None:
                handler(self, node, context)
            else:
                self._strange(node, context)
        except Unclear as error:
            self.scene.unclear(str(error))
            self.search(node, context)
        finally:
            self._depth -= 1

    def _strange(self, node: Node, context: Context) -> None:
        known = "it cannot be parsed" if node.type == "ERROR" else node.type.replace("_", " ")
        self.scene.unclear(known)
        self.search(node, context)

    def search(self, node: Node, context: Context) -> None:
        """For commands below a node that is not understood."""
        words: list[Word] = []
        for child in node.children:
            if child.type in _HANDLERS or (child.type in SIMPLE and child.type != "file_redirect"):
                self.statement(child, context)
            elif child.is_named:
                text = self.text[child.start_byte : child.end_byte]
                plain = re.sub(r"\\\n|[\\'\"]", "", text)
                if node.type in ("command", "ERROR"):
                    words.append(Word(None if re.search(r"[$`*?{]", text) else plain, plain))
                self._depth += 1
                if self._depth <= MAX_DEPTH * 2:
                    self.search(child, context)
                self._depth -= 1
        if words:
            self.scene.simple(Simple([], words, []), context)

    def simple(self, node: Node, start: int, end: int, context: Context) -> None:
        before = self._node, self._context
        self._node, self._context = node, context
        try:
            found = self.lexer.simple(start, end)
        finally:
            self._node, self._context = before
        self.scene.simple(found, context)

    @contextlib.contextmanager
    def within(self, node: Node, context: Context) -> Iterator[None]:
        """Substitutions that the lexer meets are looked for in this node, and run as its commands do."""
        before = self._node, self._context
        self._node, self._context = node, context
        try:
            yield
        finally:
            self._node, self._context = before

    def _substituted(self, at: int, quoted: bool) -> int:
        """Read the commands of the substitution that begins here."""
        assert self._node is not None
        node = _at(self._node, at, self.text)
        if node is None:
            raise Unclear("a substitution that the grammar does not see")
        text = self.text[at : node.end_byte]
        if text[0] == "`" and ("\\" in text or (quoted and ('"' in text or "'" in text))):
            raise Unclear("backticks with quotes or backslashes in them")
        if not text.endswith("`" if text[0] == "`" else ")") or len(text) < 3:
            raise Unclear("a substitution that does not end")
        context = Context("substitution", self._context.via, self._context.stdin)
        if text[0] == ">":
            context = context._replace(stdin="pipe")
        outer = self._node, self._context
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                raise Unclear("it is nested too deeply")
            self.many(node, context, _WITHIN)
        finally:
            self._depth -= 1
            self._node, self._context = outer
        return node.end_byte


_WITHIN = frozenset(("$(", "`", ")", "<(", ">(", ";", "&"))
_SUBSTITUTIONS = frozenset(("command_substitution", "process_substitution"))


def _at(node: Node, at: int, text: str) -> Node | None:
    """The substitution below a node that begins at an offset, blanks before it aside."""
    for child in node.children:
        if child.start_byte <= at < child.end_byte:
            if child.type in _SUBSTITUTIONS:
                lead = text[child.start_byte : at]
                if not lead.strip(" \t\n"):
                    return child
            return _at(child, at, text)
    return None
