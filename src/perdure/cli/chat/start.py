"""How a chat begins: with which session, and in which kind of terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from perdure.cli.common import spinner
from perdure.cli.link import Link
from perdure.cli.place import Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    agent: str | None
    """None: the workspace's default."""
    model: str
    workdir: str
    session: str | None
    """Id or part of one, or `last`; None: a new session, made with the first message."""
    plain: bool


def live_terminal() -> bool:
    return (
        sys.stdin.isatty()
        and sys.stdout.isatty()
        and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")
    )


async def talk(place: Place, start: Start) -> int:
    """Until the person leaves. Returns the exit code."""
    live = live_terminal() and not start.plain
    with typed_ahead() if live else nullcontext():
        from perdure.cli.chat.conversation import Conversation

        link = Link(place)
        with spinner("Starting …"):
            await link.__aenter__()
        try:
            conversation = Conversation(link, start)
            await conversation.open()
            if live:
                from perdure.cli.chat.live import LiveChat

                return await LiveChat(conversation).run()
            from perdure.cli.chat.plain import PlainChat

            return await PlainChat(conversation).run()
        finally:
            await link.__aexit__(None, None, None)


@contextmanager
def typed_ahead() -> Iterator[None]:
    """What is typed while the chat starts is not echoed, and its Enter stays an Enter: it is all read
    by the input line once that is there."""
    import termios

    before = termios.tcgetattr(sys.stdin)
    quiet = termios.tcgetattr(sys.stdin)
    quiet[0] &= ~termios.ICRNL
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
