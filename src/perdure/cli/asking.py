"""Questions put at a terminal line by line, where there is no chat: `perdure run` asks right there."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Sequence

import click

from perdure.cli.common import styled, terminal_width
from perdure.cli.view.answers import Given, Lines
from perdure.cli.view.blocks import Asked
from perdure.cli.view.question import question_of, whole_text
from perdure.kernel.events import ApprovalId, ApprovalRequested


def person() -> bool:
    """Is somebody there to be asked? Questions go to stderr, answers come from stdin."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


class Asker:
    """Remembers over one command what was shown."""

    def __init__(self) -> None:
        self._viewed: set[ApprovalId] = set()
        self._shown: set[ApprovalId] = set()
        self._lines = Lines(self._unseen)

    def _unseen(self, request: ApprovalRequested) -> str:
        return "" if request.approval in self._viewed else question_of(request).cut

    async def ask(self, waiting: Sequence[ApprovalRequested]) -> Sequence[Given] | None:
        """Show what is new and wait for an answer to some of it; None when the input has ended."""
        self._show(waiting)
        while True:
            click.echo(f"\n{self._lines.prompt(waiting)}\n> ", err=True, nl=False)
            line = await _line()
            if not line:
                return None
            heard = self._lines.hear(line, waiting)
            if heard is None:
                if line.strip():
                    click.echo("That is no answer to this.", err=True)
                continue
            for request in heard.view:
                click.echo(whole_text(request), err=True)
                self._viewed.add(request.approval)
            if heard.told:
                click.echo(heard.told, err=True)
            if heard.given:
                return heard.given

    def _show(self, waiting: Sequence[ApprovalRequested]) -> None:
        from perdure.cli.view.paint import painter

        paint = painter(terminal_width(), styled=styled(sys.stderr))
        for request in waiting:
            if request.approval not in self._shown:
                self._shown.add(request.approval)
                click.echo("\n".join(paint.block(Asked(request=request))), err=True)


async def _line() -> str:
    """One line of stdin, empty at its end, read by a thread that does not hold up the process's end."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[str] = loop.create_future()

    def put(line: str) -> None:
        if not came.done():
            came.set_result(line)

    def read() -> None:
        line = sys.stdin.readline()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(put, line)

    threading.Thread(target=read, name="perdure-answer", daemon=True).start()
    return await came
