"""Markdown as it reads well in a terminal, and where a stream of it may be cut.

Code stays free of frames, padding and hard line breaks, so that it can be copied; headings are plain
bold lines, not boxes.
"""

from __future__ import annotations

from functools import cache
from typing import ClassVar

from markdown_it import MarkdownIt
from rich import box, markdown
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

CODE_THEME = "ansi_dark"
"""Uses the terminal's own sixteen colours, so it fits light and dark ones."""


class _Heading(markdown.Heading):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text = self.text.copy()
        text.justify = "left"
        text.stylize("bold underline" if self.tag == "h1" else "bold")
        yield text


class _Code(markdown.CodeBlock):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        syntax = Syntax("", self.lexer_name, theme=self.theme, background_color="default")
        text = syntax.highlight(code)
        text.rstrip()
        if options.max_width < console.width:
            # Inside a list or a quotation there is a margin to keep.
            text.no_wrap, text.overflow = False, "fold"
            yield Padding(text, (0, 0, 0, 2), expand=False)
            return
        for line in text.split("\n", allow_blank=True):
            # The terminal wraps what is too long, which keeps it whole when copied.
            line.no_wrap, line.overflow = True, "ignore"
            yield Text("  ", no_wrap=True, overflow="ignore").append_text(line)


class _HorizontalRule(markdown.HorizontalRule):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("─" * min(options.max_width, 40), style="dim")


class _Table(markdown.TableElement):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, border_style="dim")
        if self.header is not None and self.header.row is not None:
            for column in self.header.row.cells:
                table.add_column(_cell(column), header_style="bold", overflow="fold")
        for row in self.body.rows if self.body is not None else ():
            table.add_row(*(_cell(cell) for cell in row.cells))
        yield table


def _cell(element: markdown.MarkdownElement) -> Text:
    assert isinstance(element, markdown.TableDataElement)
    return element.content.copy()


class Markdown(markdown.Markdown):
    elements: ClassVar[dict[str, type[markdown.MarkdownElement]]] = {
        **markdown.Markdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
        "hr": _HorizontalRule,
        "table_open": _Table,
    }

    def __init__(self, source: str) -> None:
        super().__init__(source, code_theme=CODE_THEME, hyperlinks=False)


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt().enable("strikethrough").enable("table")


def finished(source: str) -> tuple[int, bool]:
    """How many characters at the start of a still growing source are whole blocks, which nothing
    that follows can change, and whether the cut lies between two items of one list: items count as
    blocks, so that a long list does not wait for its end."""
    whole, newline, line = source.rpartition("\n")
    if not newline:
        return 0, False
    if not line[:1].isalpha():
        # Half a line of marks may still become something else: a fence, a list, a rule.
        source = whole + newline
    blocks, items = [0], []
    for token in _parser().parse(source):
        if token.map is None or token.nesting < 0:
            continue
        if token.level == 0:
            blocks.append(token.map[0])
        elif token.level == 1 and token.type == "list_item_open":
            items.append(token.map[0])
    cut = blocks[-1]
    inside = bool(items) and items[-1] > cut
    lines = source.split("\n")[: items[-1] if inside else cut]
    return sum(len(one) + 1 for one in lines), inside
