"""The chat in a terminal: finished blocks go to its scrollback, what is going on stands above the input
line, and a status line below it. Nothing takes over the screen, so scrolling, searching and copying
stay the terminal's own.

Invariant: everything on the screen is written in `_before_render` and by prompt_toolkit right after
it, in one held frame (`output.FrameOutput`).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from prompt_toolkit.application import Application, in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Size
from prompt_toolkit.filters import Condition, has_completions
from prompt_toolkit.formatted_text import ANSI, StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.layout import ConditionalContainer, HSplit, Layout, Window
from prompt_toolkit.layout.controls import BufferControl, FormattedTextControl
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.layout.screen import Screen
from prompt_toolkit.styles import Style
from wcwidth import wcwidth

from perdure.cli.chat import commands
from perdure.cli.chat.completer import ChatCompleter, completes
from perdure.cli.chat.conversation import Conversation
from perdure.cli.chat.keys import bindings
from perdure.cli.chat.output import frame_output
from perdure.cli.chat.paste import Pastes
from perdure.cli.chat.region import Region
from perdure.cli.problems import DONE
from perdure.cli.view.answers import Given, same
from perdure.cli.view.blocks import Block, Said
from perdure.cli.view.paint import Painter, painter
from perdure.kernel.events import ApprovalId, ApprovalRequested, MessageMode

FRAME_SECONDS = 1 / 30
TICK_SECONDS = 0.1
"""How often the display is refreshed while something runs: spinner and clock."""
CALM_SECONDS = 0.3
"""Between a question, or what was typed last, and a key that answers it."""
TWICE_SECONDS = 2.0
"""Within which a second Ctrl-C leaves."""
MENU_ROWS = 6
MIN_REGION = 3
STYLE = Style.from_dict(
    {
        "prompt": "ansicyan bold",
        "note": "ansiyellow bold",
        "status": "ansibrightblack",
        "hint": "ansibrightblack",
        "menu": "",
        "menu.current": "reverse",
    }
)


class LiveChat:
    def __init__(
        self, conversation: Conversation, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock`: seconds that only go forward."""
        self.conversation = conversation
        self._clock = clock
        self.pastes = Pastes()
        self.denying: Sequence[ApprovalRequested] = ()
        """Set while the person types why not."""
        self._region = Region(conversation)
        self._scroll: Painter | None = None
        self._answered: set[str] = set()
        self._asked_at = 0.0
        self._asked: list[ApprovalId] = []
        self._typed_at = 0.0
        self._began = math.inf
        self._interrupted_at = -math.inf
        self._live = ANSI("")
        self._drawn_at: Size | None = None
        """Size of the terminal at the last frame."""
        self._work: asyncio.TaskGroup | None = None
        self.buffer = Buffer(
            multiline=True,
            history=_history(conversation),
            completer=ChatCompleter(conversation),
            complete_while_typing=Condition(
                lambda: completes(self.buffer.document.text_before_cursor)
            ),
            enable_history_search=True,
            on_text_changed=self._on_typed,
        )
        self.output = frame_output(sys.stdout)
        self.app: Application[None] = _Application(
            layout=self._layout(),
            key_bindings=bindings(self),
            style=STYLE,
            output=self.output,
            min_redraw_interval=FRAME_SECONDS,
            erase_when_done=True,
        )
        self.app.ttimeoutlen = 0.05
        self.app.before_render += self._before_render
        self.app.after_render += self._after_render

    async def run(self) -> int:
        """Until the person leaves."""
        conversation = self.conversation
        conversation.changed = self.app.invalidate
        ticker = asyncio.create_task(self._tick())
        try:
            async with asyncio.TaskGroup() as self._work:
                conversation.follow()
                self._began = self._clock()
                await self.app.run_async(handle_sigint=False)
        finally:
            ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticker
            await conversation.close()
            self.output.release()
        self._good_bye()
        return DONE

    def _good_bye(self) -> None:
        lines = self._painter().scroll(self.conversation.take())
        session = self.conversation.session
        if session is not None:
            goes_on = "The agent goes on. " if self.conversation.busy else ""
            lines += ["", f"{goes_on}Come back: perdure attach {session.id}"]
        if lines:
            print("\n".join(lines))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            waiting = self.conversation.story.approvals
            if (self.conversation.busy and not waiting) or not self.conversation.connected:
                self.app.invalidate()

    # Layout -----------------------------------------------------------------------------------------

    def _layout(self) -> Layout:
        self._input = Window(
            BufferControl(self.buffer),
            height=self._input_height,
            get_line_prefix=self._prefix,
            wrap_lines=True,
            dont_extend_height=True,
        )
        menu = Window(FormattedTextControl(self._menu), dont_extend_height=True)
        return Layout(
            HSplit(
                [
                    ConditionalContainer(
                        Window(FormattedTextControl(lambda: self._live), dont_extend_height=True),
                        filter=Condition(lambda: bool(self._live.value)),
                    ),
                    Window(height=1),
                    self._input,
                    ConditionalContainer(menu, filter=has_completions),
                    Window(FormattedTextControl(self._status), height=1),
                    # Takes the rows that remain from a taller frame until it is drawn anew.
                    Window(height=Dimension(min=0, preferred=0)),
                ]
            ),
            focused_element=self._input,
        )

    def _input_height(self) -> Dimension:
        rows = self.output.get_size().rows
        return Dimension(min=1, max=max(1, min(12, rows // 2)))

    def _prefix(self, line: int, wraps: int) -> StyleAndTextTuples:
        if line or wraps:
            return [("", "  ")]
        return [("class:note", "why not? ")] if self.denying else [("class:prompt", "› ")]

    def _status(self) -> StyleAndTextTuples:
        columns = self.output.get_size().columns
        if self._clock() - self._interrupted_at < TWICE_SECONDS:
            return [("class:note", "Ctrl-C again to leave"[: columns - 1])]
        return [("class:status", self._region.status(columns))]

    def _menu(self) -> StyleAndTextTuples:
        state = self.buffer.complete_state
        if state is None:
            return []
        columns = self.output.get_size().columns
        current = state.complete_index or 0
        first = max(0, min(current - MENU_ROWS // 2, len(state.completions) - MENU_ROWS))
        out: StyleAndTextTuples = []
        for index, one in enumerate(state.completions[first : first + MENU_ROWS], first):
            chosen = index == state.complete_index
            text = f" {one.display_text} "
            meta = one.display_meta_text if columns > 40 else ""
            out.append(("class:menu.current" if chosen else "class:menu", text[: columns - 3]))
            out.append(("class:hint", meta[: max(0, columns - len(text) - 3)]))
            out.append(("", "\n"))
        return out[:-1]

    # Frames -----------------------------------------------------------------------------------------

    def _painter(self) -> Painter:
        columns = self.output.get_size().columns
        if self._scroll is None:
            self._scroll = painter(columns, styled=True)
        self._scroll.resize(columns)
        return self._scroll

    def _before_render(self, app: Application[None]) -> None:
        self.output.hold()
        size = self.output.get_size()
        lines = self._painter().scroll(map(self._refolded, self.conversation.take()))
        used = self._rows_below(size.columns)
        room = max(MIN_REGION, size.rows - used - 1)
        live = self._region.lines(size.columns, min(room, max(MIN_REGION, size.rows // 2)))
        self._live = ANSI("\n".join(live))
        self._watch_question()
        screen = app.renderer.last_rendered_screen
        resized = self._drawn_at is not None and self._drawn_at != size
        if resized and screen is not None:
            self.output.cursor_up(self._grown(screen, size.columns))
        self._drawn_at = size
        if resized or lines or (screen is not None and screen.height > len(live) + used):
            app.renderer.erase()
            for line in lines:
                self.output.write_raw(line + "\r\n")

    def _refolded(self, block: Block) -> Block:
        """A message as it was typed here."""
        if isinstance(block, Said) and not block.sender:
            return replace(block, text=self.pastes.refold(block.text))
        return block

    def _grown(self, screen: Screen, columns: int) -> int:
        """By how many rows the frame above the cursor grew when the terminal got narrower and wrapped
        its lines anew. Going back by the rows it had before would leave pieces of it behind."""
        cursor = screen.get_cursor_position(self._input)
        grown = cursor.x // columns
        for row in range(cursor.y):
            cells = screen.data_buffer[row]
            last = max((x for x, cell in cells.items() if cell.char.strip()), default=-1)
            grown += max(0, math.ceil((last + 1) / columns) - 1)
        return grown

    def _after_render(self, app: Application[None]) -> None:
        self.output.release()

    def _rows_below(self, columns: int) -> int:
        """Rows of the blank line, the input, the menu and the status line."""
        rows = sum(
            1 + max(0, _wide(line) + 1) // max(1, columns - 2)
            for line in self.buffer.text.split("\n")
        )
        height = self._input_height().max
        state = self.buffer.complete_state
        menu = min(MENU_ROWS, len(state.completions)) if state is not None else 0
        return 1 + min(rows, height) + menu + 1

    # Typing -----------------------------------------------------------------------------------------

    def _on_typed(self, buffer: Buffer) -> None:
        self._typed_at = self._clock()

    def _watch_question(self) -> None:
        asked = [r.approval for r in self.conversation.questions]
        if asked != self._asked:
            self._asked, self._asked_at = asked, self._clock()
            self.denying = ()

    def questions(self) -> Sequence[ApprovalRequested]:
        """The approvals that a single key answers now. None while something is being typed, and for a
        moment after the question came up: that key was meant for something else."""
        asked = self.conversation.questions
        if self.denying or self.buffer.text or any(r.approval in self._answered for r in asked):
            return ()
        calm = self._clock() - max(self._asked_at, self._typed_at)
        return asked if self._asked == [r.approval for r in asked] and calm > CALM_SECONDS else ()

    def one_by_one(self) -> None:
        self.conversation.one_by_one()

    def just_begun(self) -> bool:
        """What is read now was typed before the input line was there."""
        return self._clock() - self._began < 0.3

    def submit(self, mode: MessageMode = "steer") -> None:
        if self.denying:
            requests, self.denying = self.denying, ()
            note = self.buffer.text.strip()
            self.buffer.reset()
            self.answer(requests, same(requests, "deny", note=note))
            return
        text = self.pastes.unfold(self.buffer.text)
        if not text.strip():
            return
        typed = self.buffer.text
        self.buffer.append_to_history()
        self.buffer.reset()
        if commands.is_command(text):
            self.start(self._command(text.strip()))
        else:
            self.start(self._send(text, typed, mode))

    async def _send(self, text: str, typed: str, mode: MessageMode) -> None:
        if not await self.conversation.send(text, mode) and not self.buffer.text:
            self.buffer.text = typed
            self.buffer.cursor_position = len(typed)

    async def _command(self, text: str) -> None:
        try:
            await commands.run(self.conversation, text)
        except commands.Detach:
            self.leave()
        self.app.invalidate()

    def answer(self, requests: Sequence[ApprovalRequested], given: Sequence[Given]) -> None:
        allows = any(one.answer == "allow" for one in given)
        if allows and any(map(self.conversation.unseen, requests)):
            return
        self._answered |= {one.approval for one in given}
        self.start(self._decide(given))

    async def _decide(self, given: Sequence[Given]) -> None:
        try:
            await self.conversation.decide(given)
        except Exception as error:
            self._answered -= {one.approval for one in given}
            self.conversation.fail(error)

    def deny(self, requests: Sequence[ApprovalRequested]) -> None:
        """Ask why not; the answer is sent with Enter, empty or not."""
        self.denying = tuple(requests)
        self.app.invalidate()

    def view(self, requests: Sequence[ApprovalRequested]) -> None:
        """Show all of what would be allowed, in the pager."""
        self.start(self._view(tuple(requests)))

    async def _view(self, requests: Sequence[ApprovalRequested]) -> None:
        import click

        from perdure.cli.view.question import whole_text

        async with in_terminal():
            await asyncio.to_thread(click.echo_via_pager, "\n".join(map(whole_text, requests)))
        for request in requests:
            self.conversation.viewed(request)

    def interrupt(self) -> None:
        """Ctrl-C: clear the line, or stop the turn, or (twice) leave."""
        now = self._clock()
        again = now - self._interrupted_at < TWICE_SECONDS
        if self.denying:
            self.denying = ()
            self.buffer.reset()
        elif again:
            self.leave()
        elif self.buffer.text:
            self.buffer.reset()
        else:
            self._interrupted_at = now
            if self.conversation.busy:
                self.start(self._stop())
            asyncio.get_running_loop().call_later(TWICE_SECONDS, self.app.invalidate)

    async def _stop(self) -> None:
        try:
            await self.conversation.stop()
        except Exception as error:
            self.conversation.fail(error)

    def leave(self) -> None:
        if self.app.is_running and not self.app.is_done:
            self.app.exit()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run beside the display; the chat waits for it before it ends."""
        assert self._work is not None
        self._work.create_task(work)


class _Application(Application[None]):
    def _on_resize(self) -> None:
        # Not erased here, as prompt_toolkit does: a frame may have noticed the new size before this
        # signal came. `LiveChat._before_render` does it with the frame.
        self.invalidate()


def _history(conversation: Conversation) -> History:
    path = conversation.link.place.history
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


def _wide(text: str) -> int:
    return sum(max(0, wcwidth(letter)) for letter in text)
