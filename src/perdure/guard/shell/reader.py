"""From a syntax tree to the commands in it.

The tree is not believed: every construct is one we know, what stands between its parts is blank or the
separator that bash wants there, and words are read by `lexer`. Whatever else is there makes the line
unknown, and is still looked through for commands, so that a deny rule can find them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from . import conditions
from .grammar import tree
from .heredoc import heredoc
from .lexer import Lexer, Redirection, Simple, Unclear
from .model import How, Word

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_DEPTH = 40
_NAME = re.compile(r"[\w.+:@%-]+\Z", re.A)
_OPERATORS = frozenset(
    ("&&", "||", ";;", ";&", "|&", "&>", "<<", "<>", "<&", ">>", ">&", ">|", "<(", ">(", "((")
)
_CLOSING = frozenset(("then", "do", "fi", "done", "elif", "else", "esac", "}"))
"""Keywords before which bash wants a separator."""
_SIMPLE = frozenset(
    (
        "command",
        "declaration_command",
        "unset_command",
        "variable_assignment",
        "variable_assignments",
        "file_redirect",
        "herestring_redirect",
    )
)


class Context(NamedTuple):
    """How the commands that are being read would run."""

    how: How = "direct"
    via: tuple[str, ...] = ()
    stdin: str = ""
    """Where they read from: empty (nothing), `pipe`, `file`, `text`."""
    given: str | None = None
    """The text they read, where it is known."""
    opened: tuple[Redirection, ...] = ()
    """Redirections of what stands around them."""


class Scene(Protocol):
    """Takes what is read."""

    def unclear(self, reason: str) -> None: ...

    def simple(self, found: Simple, context: Context) -> None: ...

    def function(self, name: str) -> None: ...

    def evaluated(self, names: set[str]) -> None:
        """Variables whose values arithmetic evaluates."""

    def given(self, name: str, value: Word | None) -> None:
        """A variable is set to a value; None: not known."""


class Reader:
    """Of one text."""

    def __init__(self, text: str, scene: Scene, *, bash: bool, depth: int) -> None:
        self._source = text.encode()
        # One character per byte: offsets are the tree's.
        self._text = text if text.isascii() else self._source.decode("latin-1")
        self._scene, self._bash, self._depth = scene, bash, depth
        self._node: Node | None = None
        self._context = Context()
        self._lexer = Lexer(self._text, self._substituted, bash=bash, ascii_only=text.isascii())

    def read(self, context: Context) -> None:
        root = tree(self._source)
        if root.has_error:
            self._scene.unclear("it cannot be parsed")
        self._many(root, context, frozenset((";", "&")), begin=0, end=len(self._source))
        if self._lexer.arithmetic:
            self._scene.evaluated(self._lexer.arithmetic)

    # Lists --------------------------------------------------------------------------------------

    def _many(
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
            gap = self._gap(at, child.start_byte, last_token)
            # The newline behind a clause may be part of its node.
            ended = self._text[max(0, at - 2) : at]
            separated = (
                "\n" in gap or last != "statement" or (ended[-1:] == "\n" and ended != "\\\n")
            )
            kind = child.type
            at = child.end_byte
            if child.is_missing:
                self._scene.unclear("it cannot be parsed")
            elif kind == "comment":
                self._comment(child)
                last_token = ""
                continue
            elif not child.is_named:
                if kind not in tokens or (kind in _CLOSING and not separated):
                    self._scene.unclear(f"an unexpected {kind.strip()[:20] or 'line'}")
                if kind == ";" and last == "start":
                    self._scene.unclear("an empty command")
                last, last_token = "token", kind
                continue
            else:
                if not separated:
                    self._scene.unclear("two commands with nothing between them")
                if (
                    last_token
                    and not gap
                    and kind not in ("subshell", "compound_statement")
                    and (last_token[-1].isalpha() or last_token in "!{")
                ):
                    self._scene.unclear("a keyword that runs into a word")
                self.statement(child, context)
                last = "statement"
                if kind in ("else_clause", "elif_clause") and child.children[-1].type in (";", "&"):
                    last = "token"
            last_token = ""
        if end is not None:
            self._gap(at, end, last_token)

    def _gap(self, start: int, end: int, token: str = "") -> str:
        """What stands between two parts, which may be blank only."""
        gap = self._text[start:end]
        if gap.strip(" \t\n"):
            rest = gap.replace("\\\n", "")
            if rest.strip(" \t\n"):
                self._scene.unclear("text between commands that the grammar passes over")
            elif not rest:
                self._scene.unclear("a line is continued within a word")
        elif not gap and token and token + self._text[end : end + 1] in _OPERATORS:
            self._scene.unclear("operators that may be read in two ways")
        return gap

    def _comment(self, node: Node) -> None:
        text, start, end = self._text, node.start_byte, node.end_byte
        before, after = text[start - 1 : start] if start else "\n", text[end : end + 1]
        if text[start] != "#" or before not in " \t\n;&|()" or after not in ("", "\n"):
            self._scene.unclear("something that may or may not be a comment")
        if "\n" in text[start:end]:
            self._scene.unclear("something that may or may not be a comment")

    # Statements ---------------------------------------------------------------------------------

    def statement(self, node: Node, context: Context) -> None:
        kind = node.type
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                self._scene.unclear("it is nested too deeply")
            elif kind in _SIMPLE:
                self._simple(node, node.start_byte, node.end_byte, context)
            elif (handler := _HANDLERS.get(kind)) is not None:
                handler(self, node, context)
            else:
                self._strange(node, context)
        except Unclear as error:
            self._scene.unclear(str(error))
            self._search(node, context)
        finally:
            self._depth -= 1

    def _strange(self, node: Node, context: Context) -> None:
        known = "it cannot be parsed" if node.type == "ERROR" else node.type.replace("_", " ")
        self._scene.unclear(known)
        self._search(node, context)

    def _search(self, node: Node, context: Context) -> None:
        """For commands below a node that is not understood."""
        words: list[Word] = []
        for child in node.children:
            if child.type in _HANDLERS or (child.type in _SIMPLE and child.type != "file_redirect"):
                self.statement(child, context)
            elif child.is_named:
                text = self._text[child.start_byte : child.end_byte]
                plain = re.sub(r"\\\n|[\\'\"]", "", text)
                if node.type in ("command", "ERROR"):
                    words.append(Word(None if re.search(r"[$`*?{]", text) else plain, plain))
                self._depth += 1
                if self._depth <= MAX_DEPTH * 2:
                    self._search(child, context)
                self._depth -= 1
        if words:
            self._scene.simple(Simple([], words, []), context)

    def _simple(self, node: Node, start: int, end: int, context: Context) -> None:
        before = self._node, self._context
        self._node, self._context = node, context
        try:
            found = self._lexer.simple(start, end)
        finally:
            self._node, self._context = before
        self._scene.simple(found, context)

    def _substituted(self, at: int, quoted: bool) -> int:
        """Read the commands of the substitution that begins here."""
        assert self._node is not None
        node = _at(self._node, at, self._text)
        if node is None:
            raise Unclear("a substitution that the grammar does not see")
        text = self._text[at : node.end_byte]
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
            self._many(node, context, _WITHIN)
        finally:
            self._depth -= 1
            self._node, self._context = outer
        return node.end_byte

    def _redirected(self, node: Node, context: Context) -> None:
        children = node.children
        heredocs = [c for c in children if c.type == "heredoc_redirect"]
        if heredocs:
            self._with_heredoc(node, heredocs, context)
            return
        body = children[0]
        if body.type in _SIMPLE or (body.type == "test_command" and self._text[body.start_byte] == "["
                                    and not self._text.startswith("[[", body.start_byte)):  # fmt: skip
            self._simple(node, node.start_byte, node.end_byte, context)
            return
        self._compound(node, body, body.end_byte, node.end_byte, context)

    def _compound(
        self, node: Node, body: Node, start: int, end: int, context: Context, given: str | None = ""
    ) -> None:
        """A statement with redirections behind it."""
        before = self._node, self._context
        self._node, self._context = node, context
        try:
            found = self._lexer.simple(start, end)
        finally:
            self._node, self._context = before
        if found.words or found.assignments:
            raise Unclear("words behind a compound command")
        stdin = context.stdin
        known = context.given
        if any(r.operator in ("<", "<>") for r in found.redirections):
            stdin, known = "file", None
        if given != "":
            stdin, known = "text", given
        opened = (*context.opened, *found.redirections)
        self.statement(body, context._replace(opened=opened, stdin=stdin, given=known))

    def _with_heredoc(self, node: Node, heredocs: list[Node], context: Context) -> None:
        here = heredocs[0]
        text, at = self._text, here.start_byte
        if len(heredocs) > 1 or node.children[-1].id != here.id:
            raise Unclear("a here-document that is not a plain one")
        mark_end, line_end, begin, finish, given, runs = heredoc(text, at)
        if here.end_byte != finish:
            raise Unclear("a here-document that the grammar reads in another way")
        if runs:
            self._scene.unclear("a here-document in which commands may run")
            self._search(here, context)
        tail: list[Node] = []
        for child in here.children:
            if child.type in ("heredoc_body", "heredoc_end"):
                if child.start_byte < begin and child.end_byte > begin:
                    raise Unclear("a here-document that the grammar reads in another way")
            elif child.start_byte >= mark_end:
                if child.end_byte > line_end:
                    raise Unclear("a here-document whose line does not end")
                tail.append(child)
        redirects = [c for c in tail if c.type in ("file_redirect", "herestring_redirect")]
        rest = [c for c in tail if c.type not in ("file_redirect", "herestring_redirect")]
        stop = redirects[-1].end_byte if redirects else mark_end
        if redirects and rest and rest[0].start_byte < stop:
            raise Unclear("a here-document whose line is out of order")
        first = node.children[0]
        if first.type in _SIMPLE:
            self._fed(node, at, mark_end, stop, given, context)
        elif first.id == here.id:
            raise Unclear("a here-document for no command")
        else:
            if text[mark_end:stop].strip():
                raise Unclear("redirections behind a here-document")
            self._compound(node, first, first.end_byte, at, context, given)
        self._behind(rest, stop, line_end, context)

    def _fed(
        self,
        node: Node,
        at: int,
        behind: int,
        stop: int,
        given: str | None,
        context: Context,
    ) -> None:
        """A simple command that reads a here-document, which stands in the midst of its words."""
        before = self._node, self._context
        self._node, self._context = node, context
        try:
            found = self._lexer.simple(node.start_byte, at)
            more = self._lexer.simple(behind, stop)
        finally:
            self._node, self._context = before
        if more.assignments or (more.words and not found.words):
            raise Unclear("a here-document that is not a plain one")
        found.words += more.words
        found.redirections += more.redirections
        self._scene.simple(found, context._replace(stdin="text", given=given))

    def _behind(self, rest: list[Node], at: int, end: int, context: Context) -> None:
        """What follows a here-document's mark on its line: `| sort`, `&& make`."""
        for child in rest:
            self._gap(at, child.start_byte)
            at = child.end_byte
            if child.type == "pipeline":
                self._pipeline(child, context._replace(stdin="pipe", given=None), later=True)
            elif child.is_named:
                self.statement(child, context)
            elif child.type not in ("&&", "||"):
                raise Unclear("a here-document with more behind it")
        rest_of_line = self._text[at:end]
        if rest_of_line.strip(" \t"):
            raise Unclear("a here-document with more behind it")

    def _pipeline(self, node: Node, context: Context, *, later: bool = False) -> None:
        at, first, operator = node.start_byte, not later, later
        # A redirection behind a pipeline is one of its last command.
        last = node.children[-1].id
        opened, context = context.opened, context._replace(opened=())
        for child in node.children:
            gap = self._gap(at, child.start_byte)
            if "\n" in gap and not operator:
                self._scene.unclear("a pipeline over several lines")
            at = child.end_byte
            if child.type in ("|", "|&"):
                if child.type == "|&" and not self._bash:
                    self._scene.unclear("|& means something else to sh")
                operator = True
                continue
            if child.type == "comment":
                self._comment(child)
                continue
            if not operator and not first:
                self._scene.unclear("a pipeline that is not one")
            inner = context if first else context._replace(stdin="pipe", given=None)
            self.statement(child, inner._replace(opened=opened) if child.id == last else inner)
            first = operator = False

    def _list(self, node: Node, context: Context) -> None:
        at, operator = node.start_byte, True
        for child in node.children:
            gap = self._gap(at, child.start_byte)
            at = child.end_byte
            if child.type in ("&&", "||"):
                if operator or "\n" in gap:
                    self._scene.unclear("a list that is not one")
                operator = True
            elif child.type == "comment":
                self._comment(child)
            elif operator and child.is_named:
                operator = False
                self.statement(child, context)
            else:
                self._scene.unclear("a list that is not one")

    def _block(self, node: Node, context: Context) -> None:
        """`{ …; }`, `do … done`, `if …` and the like."""
        kind = node.type
        if kind == "compound_statement" and self._text.startswith("((", node.start_byte):
            self._arithmetic(self._text[node.start_byte : node.end_byte])
            return
        self._many(node, context, _TOKENS[kind])
        if kind == "compound_statement" and self._text[node.start_byte + 1] not in " \t\n":
            self._scene.unclear("a brace that runs into a word")

    def _arithmetic(self, text: str) -> None:
        if not self._bash:
            raise Unclear("(( means something else to sh")
        self._scene.evaluated(conditions.arithmetic(text))

    def _negated(self, node: Node, context: Context) -> None:
        if self._text[node.start_byte + 1 : node.start_byte + 2] not in (" ", "\t"):
            raise Unclear("a ! that runs into a word")
        self._many(node, context, frozenset(("!",)))

    def _for(self, node: Node, context: Context) -> None:
        children = node.children
        kinds = [c.type for c in children]
        if kinds[0] not in ("for", "select") or kinds[1] != "variable_name":
            raise Unclear("a loop that is not understood")
        name, body = children[1], children[-1]
        if body.type != "do_group":
            raise Unclear("a loop that is not understood")
        words: list[Word] = []
        at = name.end_byte
        if kinds[2] == "in":
            head = self._text[children[2].end_byte : body.start_byte]
            stop = children[2].end_byte + len(head.rstrip(" \t\n"))
            if self._text[stop - 1] == ";":
                stop -= 1
            elif "\n" not in head[len(head.rstrip(" \t\n")) :]:
                raise Unclear("a loop that is not understood")
            before = self._node, self._context
            self._node, self._context = node, context
            try:
                words = list(self._lexer.words(children[2].end_byte, stop))
            finally:
                self._node, self._context = before
        elif self._text[at : body.start_byte].strip(" \t\n;"):
            raise Unclear("a loop that is not understood")
        variable = self._text[name.start_byte : name.end_byte]
        numbers = bool(words) and all(w.text is not None and w.text.isdigit() for w in words)
        self._scene.given(variable, words[0] if numbers else None)
        self.statement(body, context)

    def _c_for(self, node: Node, context: Context) -> None:
        body = node.children[-1]
        if body.type not in ("do_group", "compound_statement"):
            raise Unclear("a loop that is not understood")
        head = self._text[node.start_byte : body.start_byte].strip(" \t\n;")
        if not head.startswith("for"):
            raise Unclear("a loop that is not understood")
        self._arithmetic(head[3:].strip())
        self.statement(body, context)

    def _case(self, node: Node, context: Context) -> None:
        children = node.children
        start = next((c for c in children if c.type == "in"), None)
        if start is None or children[0].type != "case" or children[-1].type != "esac":
            raise Unclear("a case that is not understood")
        before = self._node, self._context
        self._node, self._context = node, context
        try:
            words = self._lexer.words(children[0].end_byte, start.start_byte)
        finally:
            self._node, self._context = before
        if len(words) != 1:
            raise Unclear("a case that is not understood")
        at = start.end_byte
        for child in children[children.index(start) + 1 :]:
            self._gap(at, child.start_byte)
            at = child.end_byte
            if child.type == "case_item":
                self._case_item(child, context)
            elif child.type == "comment":
                self._comment(child)
            elif child.type != "esac":
                self._scene.unclear("a case that is not understood")

    def _case_item(self, node: Node, context: Context) -> None:
        for n, child in enumerate(node.children):
            if child.type == ")":
                conditions.case_patterns(self._text, node.start_byte, child.end_byte)
                self._many(node, context, frozenset((";", "&", ";;", ";&", ";;&")),
                           begin=child.end_byte, skip=n + 1)  # fmt: skip
                return
        raise Unclear("a case that is not understood")

    def _function(self, node: Node, context: Context) -> None:
        name = node.child_by_field_name("name")
        body = node.child_by_field_name("body")
        if name is None or body is None:
            raise Unclear("a function that is not understood")
        called = self._text[name.start_byte : name.end_byte]
        head = self._text[node.start_byte : body.start_byte]
        plain = re.fullmatch(r"(function[ \t]+)?[\w.+:@%-]+[ \t]*(\([ \t]*\))?\s*", head, re.A)
        if not _NAME.match(called) or plain is None or (plain[1] and not self._bash):
            raise Unclear("a function that is not understood")
        if body.type not in ("compound_statement", "subshell") or body.end_byte != node.end_byte:
            raise Unclear("a function that is not understood")
        self._scene.function(called)
        # It may be called behind a pipe.
        inner = context._replace(how="function", stdin="pipe", given=None)
        self.statement(body, inner)

    def _test(self, node: Node, context: Context) -> None:
        start, end = node.start_byte, node.end_byte
        text = self._text[start:end]
        if text.startswith("(("):
            self._arithmetic(text)
        elif not text.startswith("[["):
            self._simple(node, start, end, context)
        elif not self._bash:
            raise Unclear("[[ means something else to sh")
        else:
            self._scene.evaluated(conditions.test(text))


_TOKENS: dict[str, frozenset[str]] = {
    "compound_statement": frozenset(("{", "}", ";", "&")),
    "subshell": frozenset(("(", ")", ";", "&")),
    "do_group": frozenset(("do", "done", ";", "&")),
    "if_statement": frozenset(("if", "then", "fi", ";", "&")),
    "elif_clause": frozenset(("elif", "then", ";", "&")),
    "else_clause": frozenset(("else", ";", "&")),
    "while_statement": frozenset(("while", "until", ";", "&")),
}

_HANDLERS: dict[str, Callable[[Reader, Node, Context], None]] = {
    **dict.fromkeys(_TOKENS, Reader._block),
    "redirected_statement": Reader._redirected,
    "pipeline": Reader._pipeline,
    "list": Reader._list,
    "negated_command": Reader._negated,
    "for_statement": Reader._for,
    "c_style_for_statement": Reader._c_for,
    "case_statement": Reader._case,
    "function_definition": Reader._function,
    "test_command": Reader._test,
}
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
