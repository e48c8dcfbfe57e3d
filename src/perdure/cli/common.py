"""What commands share: the workspace option, the event loop, naming a session, printing tables."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from perdure.cli.client import Client
from perdure.cli.place import Place, locate, locate_server
from perdure.kernel.errors import NotFound
from perdure.runtime.views import SessionView

T = TypeVar("T")
TITLE = 60
"""Characters."""


def place_of(ctx: click.Context) -> Place:
    """The workspace named by `--workspace`, or found."""
    option = ctx.find_root().obj
    return locate(option if isinstance(option, str) else None)


def kept_place_of(ctx: click.Context, *, files: bool = False, say: bool = True) -> Place:
    """As `place_of`, for what goes on while perdure.yaml is wrong or gone, which is told on stderr: through
    the server that runs, or, with `files`, by what is kept on the disk. Raises what is wrong where neither
    is so. `say`: it has not been told yet."""
    from perdure.cli.problems import problem_of
    from perdure.cli.server_process import held

    option = ctx.find_root().obj
    place = locate_server(option if isinstance(option, str) else None)
    if place.wrong is not None:
        if not files and not held(place):
            raise place.wrong
        if not say:
            return place
        problem = problem_of(place.wrong)
        told = problem.message if problem is not None else str(place.wrong)
        click.echo(click.style("✗ ", fg="red") + told.replace("\n", "\n  "), err=True)
    return place


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run to its end. Ctrl-C cancels it, waits for it, and raises KeyboardInterrupt."""
    return asyncio.run(work)


async def resolve(client: Client, reference: str | None) -> SessionView:
    """A session by its id, by the beginning or end of it, or the latest one (None or `last`)."""
    if reference is None or reference == "last":
        latest = await client.sessions(limit=1)
        if not latest:
            raise NotFound("there is no session yet", hint="Start one: perdure chat")
        return latest[0]
    try:
        return await client.session(reference)
    except NotFound:
        near = [
            view
            for view in await client.sessions(limit=200)
            if view.id.startswith(reference) or view.id.endswith(reference)
        ]
    if len(near) == 1:
        return near[0]
    if near:
        raise NotFound(
            f"{len(near)} sessions match '{reference}'",
            hint="Give more of the id: " + ", ".join(view.id for view in near[:5]),
        )
    raise NotFound(f"there is no session '{reference}'", hint="See them: perdure session list")


def title_of(message: str) -> str:
    """A session's first title: how its first message begins."""
    from perdure.cli.view.clean import one_line

    words = one_line(message[:1_000])
    return words if len(words) <= TITLE else words[: TITLE - 1].rstrip() + "…"


def terminal_width() -> int:
    return shutil.get_terminal_size((80, 24)).columns


def styled(stream: Any = None) -> bool:
    """Whether escape sequences belong on this stream (stdout by default)."""
    return (stream or sys.stdout).isatty() and os.environ.get("TERM") != "dumb"


def echo_json(value: object) -> None:
    """On stdout, as one line; on a terminal with every character seen."""
    import msgspec

    from perdure.cli.view.clean import exact

    data = msgspec.json.encode(value)
    click.echo(exact(data.decode()) if sys.stdout.isatty() else data)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Aligned columns; the last one takes what room is left."""
    from wcwidth import wcswidth

    def wide(text: str) -> int:
        return max(0, wcswidth(text))

    every = [head, *rows]
    widths = [max(wide(row[i]) for row in every) for i in range(len(head) - 1)]
    room = max(10, terminal_width() - sum(widths) - 2 * len(widths))
    for number, row in enumerate(every):
        cells = [
            text + " " * (width - wide(text)) for text, width in zip(row, widths, strict=False)
        ]
        line = "  ".join([*cells, cut(row[-1], room) if sys.stdout.isatty() else row[-1]]).rstrip()
        yield click.style(line, dim=True) if number == 0 else line


def cut(text: str, room: int) -> str:
    """To at most `room` columns."""
    from wcwidth import wcwidth

    used = 0
    for place, letter in enumerate(text):
        used += max(0, wcwidth(letter))
        if used > room:
            return _shorter(text[:place], room - 1) + "…"
    return text


def _shorter(text: str, room: int) -> str:
    from wcwidth import wcswidth

    while text and wcswidth(text) > room:
        text = text[:-1]
    return text


def ago(then: datetime, now: datetime | None = None) -> str:
    """`just now`, `5 min ago`, `3 h ago`, else the date."""
    passed = ((now or datetime.now(UTC)) - then).total_seconds()
    if passed < 60:
        return "just now"
    if passed < 3600:
        return f"{passed // 60:.0f} min ago"
    if passed < 86_400:
        return f"{passed // 3600:.0f} h ago"
    return then.astimezone().strftime("%Y-%m-%d")


@contextmanager
def spinner(text: str) -> Iterator[None]:
    """Says what is waited for, on a terminal, when it takes longer than a moment."""
    if not styled(sys.stderr):
        yield
        return
    click.echo(click.style(text, dim=True), err=True, nl=False)
    try:
        yield
    finally:
        click.echo("\r\x1b[K", err=True, nl=False)
