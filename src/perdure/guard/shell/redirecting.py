"""Statements with redirections behind them, here-documents among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .constructs import pipeline
from .context import SIMPLE
from .heredoc import heredoc
from .lexer import Unclear

if TYPE_CHECKING:
    from tree_sitter import Node

    from .context import Context
    from .reader import Reader


def redirected(reader: Reader, node: Node, context: Context) -> None:
    children = node.children
    heredocs = [c for c in children if c.type == "heredoc_redirect"]
    if heredocs:
        _with_heredoc(reader, node, heredocs, context)
        return
    body = children[0]
    if body.type in SIMPLE or (body.type == "test_command" and reader.text[body.start_byte] == "["
                                and not reader.text.startswith("[[", body.start_byte)):  # fmt: skip
        reader.simple(node, node.start_byte, node.end_byte, context)
        return
    _compound(reader, node, body, body.end_byte, node.end_byte, context)


def _compound(
    reader: Reader,
    node: Node,
    body: Node,
    start: int,
    end: int,
    context: Context,
    given: str | None = "",
) -> None:
    """A statement with redirections behind it."""
    with reader.within(node, context):
        found = reader.lexer.simple(start, end)
    if found.words or found.assignments:
        raise Unclear("words behind a compound command")
    stdin = context.stdin
    known = context.given
    if any(r.operator in ("<", "<>") for r in found.redirections):
        stdin, known = "file", None
    if given != "":
        stdin, known = "text", given
    opened = (*context.opened, *found.redirections)
    reader.statement(body, context._replace(opened=opened, stdin=stdin, given=known))


def _with_heredoc(reader: Reader, node: Node, heredocs: list[Node], context: Context) -> None:
    here = heredocs[0]
    text, at = reader.text, here.start_byte
    if len(heredocs) > 1 or node.children[-1].id != here.id:
        raise Unclear("a here-document that is not a plain one")
    mark_end, line_end, begin, finish, given, runs = heredoc(text, at)
    if here.end_byte != finish:
        raise Unclear("a here-document that the grammar reads in another way")
    if runs:
        reader.scene.unclear("a here-document in which commands may run")
        reader.search(here, context)
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
    if first.type in SIMPLE:
        _fed(reader, node, at, mark_end, stop, given, context)
    elif first.id == here.id:
        raise Unclear("a here-document for no command")
    else:
        if text[mark_end:stop].strip():
            raise Unclear("redirections behind a here-document")
        _compound(reader, node, first, first.end_byte, at, context, given)
    _behind(reader, rest, stop, line_end, context)


def _fed(
    reader: Reader,
    node: Node,
    at: int,
    behind: int,
    stop: int,
    given: str | None,
    context: Context,
) -> None:
    """A simple command that reads a here-document, which stands in the midst of its words."""
    with reader.within(node, context):
        found = reader.lexer.simple(node.start_byte, at)
        more = reader.lexer.simple(behind, stop)
    if more.assignments or (more.words and not found.words):
        raise Unclear("a here-document that is not a plain one")
    found.words += more.words
    found.redirections += more.redirections
    reader.scene.simple(found, context._replace(stdin="text", given=given))


def _behind(reader: Reader, rest: list[Node], at: int, end: int, context: Context) -> None:
    """What follows a here-document's mark on its line: `| sort`, `&& make`."""
    for child in rest:
        reader.gap(at, child.start_byte)
        at = child.end_byte
        if child.type == "pipeline":
            pipeline(reader, child, context._replace(stdin="pipe", given=None), later=True)
        elif child.is_named:
            reader.statement(child, context)
        elif child.type not in ("&&", "||"):
            raise Unclear("a here-document with more behind it")
    rest_of_line = reader.text[at:end]
    if rest_of_line.strip(" \t"):
        raise Unclear("a here-document with more behind it")
