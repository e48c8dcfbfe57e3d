"""What stands around simple commands: pipelines, lists, blocks, loops, cases, functions, tests."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import conditions
from .lexer import Unclear
from .model import Word

if TYPE_CHECKING:
    from tree_sitter import Node

    from .context import Context
    from .reader import Reader

_NAME = re.compile(r"[\w.+:@%-]+\Z", re.A)
_TOKENS: dict[str, frozenset[str]] = {
    "compound_statement": frozenset(("{", "}", ";", "&")),
    "subshell": frozenset(("(", ")", ";", "&")),
    "do_group": frozenset(("do", "done", ";", "&")),
    "if_statement": frozenset(("if", "then", "fi", ";", "&")),
    "elif_clause": frozenset(("elif", "then", ";", "&")),
    "else_clause": frozenset(("else", ";", "&")),
    "while_statement": frozenset(("while", "until", ";", "&")),
}


def pipeline(reader: Reader, node: Node, context: Context, *, later: bool = False) -> None:
    at, first, operator = node.start_byte, not later, later
    # A redirection behind a pipeline is one of its last command.
    last = node.children[-1].id
    opened, context = context.opened, context._replace(opened=())
    for child in node.children:
        gap = reader.gap(at, child.start_byte)
        if "\n" in gap and not operator:
            reader.scene.unclear("a pipeline over several lines")
        at = child.end_byte
        if child.type in ("|", "|&"):
            if child.type == "|&" and not reader.bash:
                reader.scene.unclear("|& means something else to sh")
            operator = True
            continue
        if child.type == "comment":
            reader.comment(child)
            continue
        if not operator and not first:
            reader.scene.unclear("a pipeline that is not one")
        inner = context if first else context._replace(stdin="pipe", given=None)
        reader.statement(child, inner._replace(opened=opened) if child.id == last else inner)
        first = operator = False


def _list(reader: Reader, node: Node, context: Context) -> None:
    at, operator = node.start_byte, True
    for child in node.children:
        gap = reader.gap(at, child.start_byte)
        at = child.end_byte
        if child.type in ("&&", "||"):
            if operator or "\n" in gap:
                reader.scene.unclear("a list that is not one")
            operator = True
        elif child.type == "comment":
            reader.comment(child)
        elif operator and child.is_named:
            operator = False
            reader.statement(child, context)
        else:
            reader.scene.unclear("a list that is not one")


def _block(reader: Reader, node: Node, context: Context) -> None:
    """`{ …; }`, `do … done`, `if …` and the like."""
    kind = node.type
    if kind == "compound_statement" and reader.text.startswith("((", node.start_byte):
        _arithmetic(reader, reader.text[node.start_byte : node.end_byte])
        return
    reader.many(node, context, _TOKENS[kind])
    if kind == "compound_statement" and reader.text[node.start_byte + 1] not in " \t\n":
        reader.scene.unclear("a brace that runs into a word")


def _arithmetic(reader: Reader, text: str) -> None:
    if not reader.bash:
        raise Unclear("(( means something else to sh")
    reader.scene.evaluated(conditions.arithmetic(text))


def _negated(reader: Reader, node: Node, context: Context) -> None:
    if reader.text[node.start_byte + 1 : node.start_byte + 2] not in (" ", "\t"):
        raise Unclear("a ! that runs into a word")
    reader.many(node, context, frozenset(("!",)))


def _for(reader: Reader, node: Node, context: Context) -> None:
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
        head = reader.text[children[2].end_byte : body.start_byte]
        stop = children[2].end_byte + len(head.rstrip(" \t\n"))
        if reader.text[stop - 1] == ";":
            stop -= 1
        elif "\n" not in head[len(head.rstrip(" \t\n")) :]:
            raise Unclear("a loop that is not understood")
        with reader.within(node, context):
            words = list(reader.lexer.words(children[2].end_byte, stop))
    elif reader.text[at : body.start_byte].strip(" \t\n;"):
        raise Unclear("a loop that is not understood")
    variable = reader.text[name.start_byte : name.end_byte]
    numbers = bool(words) and all(w.text is not None and w.text.isdigit() for w in words)
    reader.scene.given(variable, words[0] if numbers else None)
    reader.statement(body, context)


def _c_for(reader: Reader, node: Node, context: Context) -> None:
    body = node.children[-1]
    if body.type not in ("do_group", "compound_statement"):
        raise Unclear("a loop that is not understood")
    head = reader.text[node.start_byte : body.start_byte].strip(" \t\n;")
    if not head.startswith("for"):
        raise Unclear("a loop that is not understood")
    _arithmetic(reader, head[3:].strip())
    reader.statement(body, context)


def _case(reader: Reader, node: Node, context: Context) -> None:
    children = node.children
    start = next((c for c in children if c.type == "in"), None)
    if start is None or children[0].type != "case" or children[-1].type != "esac":
        raise Unclear("a case that is not understood")
    with reader.within(node, context):
        words = reader.lexer.words(children[0].end_byte, start.start_byte)
    if len(words) != 1:
        raise Unclear("a case that is not understood")
    at = start.end_byte
    for child in children[children.index(start) + 1 :]:
        reader.gap(at, child.start_byte)
        at = child.end_byte
        if child.type == "case_item":
            _case_item(reader, child, context)
        elif child.type == "comment":
            reader.comment(child)
        elif child.type != "esac":
            reader.scene.unclear("a case that is not understood")


def _case_item(reader: Reader, node: Node, context: Context) -> None:
    for n, child in enumerate(node.children):
        if child.type == ")":
            conditions.case_patterns(reader.text, node.start_byte, child.end_byte)
            reader.many(node, context, frozenset((";", "&", ";;", ";&", ";;&")),
                       begin=child.end_byte, skip=n + 1)  # fmt: skip
            return
    raise Unclear("a case that is not understood")


def _function(reader: Reader, node: Node, context: Context) -> None:
    name = node.child_by_field_name("name")
    body = node.child_by_field_name("body")
    if name is None or body is None:
        raise Unclear("a function that is not understood")
    called = reader.text[name.start_byte : name.end_byte]
    head = reader.text[node.start_byte : body.start_byte]
    plain = re.fullmatch(r"(function[ \t]+)?[\w.+:@%-]+[ \t]*(\([ \t]*\))?\s*", head, re.A)
    if not _NAME.match(called) or plain is None or (plain[1] and not reader.bash):
        raise Unclear("a function that is not understood")
    if body.type not in ("compound_statement", "subshell") or body.end_byte != node.end_byte:
        raise Unclear("a function that is not understood")
    reader.scene.function(called)
    # It may be called behind a pipe.
    inner = context._replace(how="function", stdin="pipe", given=None)
    reader.statement(body, inner)


def _test(reader: Reader, node: Node, context: Context) -> None:
    start, end = node.start_byte, node.end_byte
    text = reader.text[start:end]
    if text.startswith("(("):
        _arithmetic(reader, text)
    elif not text.startswith("[["):
        reader.simple(node, start, end, context)
    elif not reader.bash:
        raise Unclear("[[ means something else to sh")
    else:
        reader.scene.evaluated(conditions.test(text))


HANDLERS: dict[str, Callable[[Reader, Node, Context], None]] = {
    **dict.fromkeys(_TOKENS, _block),
    "pipeline": pipeline,
    "list": _list,
    "negated_command": _negated,
    "for_statement": _for,
    "c_style_for_statement": _c_for,
    "case_statement": _case,
    "function_definition": _function,
    "test_command": _test,
}
