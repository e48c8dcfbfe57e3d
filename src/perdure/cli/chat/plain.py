"""The chat line by line: for pipes, dumb terminals, screen readers and logs. No cursor movement."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator

from perdure.cli.chat import commands
from perdure.cli.chat.conversation import Conversation
from perdure.cli.common import styled, terminal_width
from perdure.cli.problems import DONE, FAILED, NEEDS_APPROVAL
from perdure.cli.view.answers import Lines
from perdure.cli.view.blocks import Said
from perdure.cli.view.clean import exact_line
from perdure.cli.view.paint import painter
from perdure.cli.view.question import whole_text
from perdure.kernel.events import ApprovalRequested


class PlainChat:
    """With a person at a keyboard every line is a message at once; from a pipe, each line is sent
    when the turn before it has ended, and the end of the pipe ends the chat."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._person = sys.stdin.isatty()
        self._paint = painter(terminal_width(), styled=styled() and not conversation.start.plain)
        self._news = asyncio.Event()
        self._lines = Lines(conversation.unseen)
        self._asked: tuple[str, ...] | None = None

    async def run(self) -> int:
        conversation = self._conversation
        conversation.changed = self._news.set
        printer = asyncio.create_task(self._print_for_ever())
        try:
            conversation.follow()
            self._print()
            async for line in _lines():
                if not await self._typed(line):
                    break
                if not self._person:
                    await self._idle()
                    if conversation.approval is not None:
                        return self._stuck(conversation.approval)
            return self._code()
        finally:
            printer.cancel()
            await asyncio.gather(printer, return_exceptions=True)
            await conversation.close()
            self._print()
            if conversation.session is not None and self._person:
                print(f"\nCome back: perdure attach {conversation.session.id}")

    async def _typed(self, line: str) -> bool:
        """False: the person wants to leave."""
        conversation = self._conversation
        text = line.strip()
        if not text:
            return True
        if conversation.approval is not None and self._person and await self._answer(text):
            return True
        if commands.is_command(text):
            try:
                await commands.run(conversation, text)
            except commands.Detach:
                return False
        else:
            await conversation.send(text)
        return True

    async def _answer(self, text: str) -> bool:
        """Whether the line was an answer to the open question."""
        conversation = self._conversation
        heard = self._lines.hear(text, conversation.waiting)
        if heard is None:
            return False
        for request in heard.view:
            print(whole_text(request))
            conversation.viewed(request)
        if heard.told:
            conversation.note(heard.told, "warning")
        if heard.given:
            try:
                await conversation.decide(heard.given)
            except Exception as error:
                conversation.fail(error)
        else:
            self._asked = None  # so that the question is put again
            conversation.changed()
        return True

    async def _idle(self) -> None:
        """Until nothing runs or an approval is needed."""
        conversation = self._conversation
        while conversation.busy and conversation.approval is None:
            self._news.clear()
            await self._news.wait()

    def _stuck(self, request: ApprovalRequested) -> int:
        session = self._conversation.session
        assert session is not None
        self._print()
        print(
            f"\n{exact_line(request.tool)} needs your approval: perdure attach {session.id}",
            file=sys.stderr,
        )
        return NEEDS_APPROVAL

    def _code(self) -> int:
        end = self._conversation.story.last_end
        met = end is not None and end.reason not in ("done", "stopped")
        return FAILED if met and not self._person else DONE

    async def _print_for_ever(self) -> None:
        seen = asyncio.Event()
        conversation = self._conversation

        def changed() -> None:
            self._news.set()
            seen.set()

        conversation.changed = changed
        while True:
            await seen.wait()
            seen.clear()
            self._print()

    def _print(self) -> None:
        conversation = self._conversation
        blocks = conversation.take()
        if self._person:
            # The person's own lines stand there already, as they typed them.
            blocks = [b for b in blocks if not (isinstance(b, Said) and not b.sender)]
        for line in self._paint.scroll(blocks):
            print(line)
        waiting = conversation.waiting
        asked = tuple(request.approval for request in waiting)
        if waiting and asked != self._asked and self._person:
            print(f"\n{self._lines.prompt(waiting)}")
        self._asked = asked
        sys.stdout.flush()


async def _lines() -> AsyncIterator[str]:
    """Lines of stdin, read by a thread that does not hold up the end of the process."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    def put(line: str | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(queue.put_nowait, line)

    def read() -> None:
        for line in sys.stdin:
            put(line)
        put(None)

    threading.Thread(target=read, name="perdure-stdin", daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line
