"""Paints blocks as lines of text with colours, for one width.

Lines carry no trailing blanks, so that a narrower terminal does not wrap them and copied text is
clean. Colours are the terminal's own sixteen; NO_COLOR (https://no-color.org) leaves bold and dim.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence

from rich.color import ColorSystem
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.text import Text
from rich.theme import Theme

from perdure.cli.view.blocks import Answer, Asked, Block, Note, Running, Said, ToolDone
from perdure.cli.view.clean import clean, exact, exact_line, one_line
from perdure.cli.view.markdown import Markdown
from perdure.cli.view.question import facts_of, question_of, wrapped
from perdure.kernel.events import ApprovalRequested, Json, ToolResult

MIN_WIDTH = 20
SAID_LINES = 12
OUTPUT_LINES = 8
DIFF_LINES = 60
_LEVELS = {"dim": "dim", "info": "", "warning": "yellow", "error": "red"}
_THEME = Theme(
    {
        "markdown.code": "cyan",
        "markdown.item.bullet": "none",
        "markdown.item.number": "none",
        "markdown.block_quote": "dim",
        "markdown.link": "underline",
        "markdown.link_url": "dim",
    }
)
BODY = "│ "
"""Before each line of what would be done: none of it can pass for what Perdure says about it."""
_DIFF = {"+": "green", "-": "red", "@": "cyan"}
_SUBJECT = ("command", "path", "url", "query", "pattern", "name", "text")
"""Arguments that say best what a call is about, in this order."""


class Painter:
    def __init__(self, width: int, *, color: bool = True, styled: bool = True) -> None:
        self.width = 0
        self.styled = styled
        """False: no escape sequences at all."""
        self.color = color
        self._begun = False
        self._short = False
        """The last block was a tool call of one line."""
        self._console = Console(
            file=io.StringIO(),
            force_terminal=styled,
            width=width,
            color_system="standard" if styled else None,
            no_color=not color,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
            theme=_THEME,
        )
        self.resize(width)

    def resize(self, width: int) -> None:
        self.width = self._console.width = max(MIN_WIDTH, width)

    def lines(self, renderable: RenderableType, width: int | None = None) -> list[str]:
        """Rendered lines, with escape sequences where `styled`. Code may be wider when `width` is not
        given: the terminal wraps it, so that it stays whole when copied."""
        options = self._console.options.update(width=max(MIN_WIDTH, width or self.width))
        rendered = Segment.split_lines(self._console.render(renderable, options))
        lines = ["".join(map(self._ansi, _trimmed(line))) for line in rendered]
        # Markdown brings blank lines of its own around some blocks.
        while lines and not lines[0]:
            lines.pop(0)
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def block(self, block: Block) -> list[str]:
        return self.lines(renderable_of(block, self.width))

    def scroll(self, blocks: Iterable[Block]) -> list[str]:
        """Blocks one below the other, going on from the call before: a blank line stands between
        them, but not within a list nor between one-line tool calls."""
        out: list[str] = []
        for block in blocks:
            lines = self.block(block)
            if not lines:
                continue
            short = isinstance(block, ToolDone) and len(lines) == 1
            tight = (isinstance(block, Answer) and block.tight) or (short and self._short)
            if self._begun and not tight:
                out.append("")
            out += lines
            self._begun, self._short = True, short
        return out

    def _ansi(self, segment: Segment) -> str:
        style = segment.style
        if style is None or not self.styled:
            return segment.text
        if not self.color:
            style = style.without_color
        return style.render(segment.text, color_system=ColorSystem.STANDARD)


def painter(width: int, *, styled: bool) -> Painter:
    """As the environment wants it."""
    return Painter(width, color=not os.environ.get("NO_COLOR"), styled=styled)


def _trimmed(line: Sequence[Segment]) -> list[Segment]:
    kept = list(line)
    while kept:
        last = kept[-1]
        if last.style is not None and (last.style.bgcolor or last.style.underline):
            break
        text = last.text.rstrip(" ")
        if text:
            kept[-1] = Segment(text, last.style)
            break
        kept.pop()
    return kept


# Blocks --------------------------------------------------------------------------------------------


def renderable_of(block: Block, width: int) -> RenderableType:
    match block:
        case Said():
            return _said(block)
        case Answer(markdown=markdown):
            return Markdown(clean(markdown))
        case ToolDone():
            return _tool_done(block, width)
        case Asked(request=request, whole=whole):
            return _asked(request, whole, width)
        case Note(text=text, level=level):
            return Text(clean(text), _LEVELS[level])


def _asked(request: ApprovalRequested, whole: bool, width: int) -> RenderableType:
    """What is asked, wrapped instead of cut. A diff keeps its head: it names the file."""
    one = question_of(request, whole=whole)
    text = Text(no_wrap=True, overflow="ignore")
    text.append("? ", "bold yellow").append(exact_line(request.tool), "bold")
    subject = subject_of(request.arguments, limit=None)
    inline = subject and Text(f"? {exact_line(request.tool)} {subject}").cell_len <= width
    if inline:
        text.append(f" {subject}")
    if request.reason:
        _append(text, exact_line(request.reason), width, "yellow")
    if not (inline and one.text == subject):
        diff = any(line.startswith("@@ ") for line in one.text.split("\n"))
        if diff and subject and not inline:
            _append(text, subject, width)
        for line in one.text.split("\n"):
            _append(text, line, width, _DIFF.get(line[:1], "dim") if diff else "", mark=BODY)
    for fact in facts_of(request):
        _append(text, fact.text, width, "yellow" if fact.doubtful else "")
    if one.rule:
        _append(text, f"always: {one.rule}", width, "dim")
    if one.cut:
        _append(text, one.cut, width, "bold yellow")
        _append(text, "All of it: v in the chat, or", width, "bold yellow")
        _append(text, f"perdure approvals {request.approval}", width, "bold yellow")
    return text


def _append(text: Text, line: str, width: int, style: str = "", mark: str = "  ") -> None:
    for sign, row in wrapped(line, width, mark):
        text.append(f"\n{sign}", "dim").append(row, style)


def _said(block: Said) -> RenderableType:
    text = clean(block.text).strip("\n")
    lines = text.split("\n")
    if len(lines) > SAID_LINES:
        more = len(lines) - SAID_LINES + 2
        lines = [*lines[: SAID_LINES - 2], f"… {more:,} more lines"]
    if block.images:
        lines.append(f"[{block.images} image{'s' if block.images > 1 else ''}]")
    body = Text("\n".join(lines), "bold")
    if block.sender:
        body = Text().append(f"{one_line(block.sender)}: ", "cyan").append_text(body)
    return _marked(Text("› ", "bold cyan"), body)


def _tool_done(block: ToolDone, width: int) -> RenderableType:
    result = block.result
    good = result.status == "ok" and not result.data.get("exit_code")
    head = _head("● ", "green" if good else "red", block.tool, block.arguments, width - 16)
    facts = list(_facts(result, block.ms))
    if facts:
        head.append("  " + " · ".join(facts), "dim" if good else "red")
    detail = _detail(block)
    return head if detail is None else Group(head, _indented(detail))


def _facts(result: ToolResult, ms: int) -> Iterable[str]:
    if result.status != "ok":
        yield result.status.replace("_", " ")
    code = result.data.get("exit_code")
    if isinstance(code, int) and code:
        yield f"exit {code}"
    lines = result.data.get("lines")
    if isinstance(lines, int):
        yield f"{lines:,} line{'s' if lines != 1 else ''}"
    told = result.data.get("seconds")  # by whoever saw it run: `ms` begins anew with the server
    took = float(told) if isinstance(told, int | float) else ms / 1000
    if took >= 0.1:
        yield seconds(took)


def _detail(block: ToolDone) -> Text | None:
    result = block.result
    diff = result.data.get("diff")
    if isinstance(diff, str) and diff.strip():
        return None if block.diff_shown else _diff(diff, DIFF_LINES)
    if result.status == "ok" and block.tool in ("read", "edit", "write"):
        return None
    text = clean(result.text).strip("\n")
    return _folded(text.split("\n"), OUTPUT_LINES, "dim") if text else None


def _diff(source: str, limit: int) -> Text:
    """A diff with its colours, without the names of the file, which stand above it."""
    lines = exact(source).strip("\n").split("\n")
    if lines[0].startswith("--- ") and lines[1:] and lines[1].startswith("+++ "):
        lines = lines[2:]
    text = Text(no_wrap=False, overflow="fold")
    for line in _fold(lines, limit):
        text.append(line + "\n", _DIFF.get(line[:1], "dim"))
    text.rstrip()
    return text


def _folded(lines: list[str], limit: int, style: str) -> Text:
    return Text("\n".join(_fold(lines, limit)), style, overflow="fold")


def _fold(lines: list[str], limit: int) -> list[str]:
    """Head and tail of many lines."""
    if len(lines) <= limit:
        return lines
    head = (limit - 1) // 2
    tail = limit - 1 - head
    return [*lines[:head], f"… {len(lines) - head - tail:,} more lines", *lines[-tail:]]


def _indented(text: Text) -> RenderableType:
    return Padding(text, (0, 0, 0, 2), expand=False)


def _marked(mark: Text, body: Text) -> RenderableType:
    """`body` with a hanging indent behind a two-column mark."""
    from rich.table import Table

    grid = Table.grid(padding=0)
    grid.add_column(width=2, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(mark, body)
    return grid


def _head(mark: str, style: str, tool: str, arguments: dict[str, Json], room: int) -> Text:
    """`● bash ls -la`, on one line of `room` columns."""
    text = Text(overflow="fold")
    text.append(mark, style).append(exact_line(tool), "bold")
    subject = subject_of(arguments)
    if subject:
        text.append(" ")
        room = max(10, room - 4 - len(tool))
        shown = Text(subject)
        shown.truncate(room, overflow="ellipsis")
        text.append_text(shown)
    return text


def subject_of(arguments: dict[str, Json], *, limit: int | None = 1_000) -> str:
    """What a call is about, on one line with every character seen; of `limit` characters, for display
    that is cut anyway."""
    for value in (*map(arguments.get, _SUBJECT), *arguments.values()):
        if isinstance(value, str) and value.strip():
            return exact_line(value[:limit])
    return ""


def running_lines(running: Running, since: float | None, room: int, width: int) -> Text:
    """A call on its way, with the end of its output. `since`: seconds, None when it has not begun."""
    mark = "yellow" if since is not None else "dim"
    head = _head("● ", mark, running.tool, running.arguments, width - 12)
    if since is not None and since >= 1:
        head.append(f"  {seconds(since)}", "dim")
    output = clean(running.output).rstrip("\n")
    if output and room > 0:
        for line in output.split("\n")[-room:]:
            cut = Text(line, "dim")
            cut.truncate(width - 3, overflow="ellipsis")
            head.append("\n  ").append_text(cut)
    return head


def seconds(value: float) -> str:
    if value < 10:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    minutes, rest = divmod(int(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
