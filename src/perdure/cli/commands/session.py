"""`perdure session …`: the conversations of a workspace."""

from __future__ import annotations

import sys
from codecs import getincrementaldecoder
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from perdure.cli.common import (
    ago,
    drive,
    echo_json,
    kept_place_of,
    resolve,
    styled,
    table,
    terminal_width,
)
from perdure.cli.link import Link
from perdure.cli.place import Place
from perdure.cli.problems import DONE, FAILED
from perdure.cli.view.clean import exact, one_line
from perdure.runtime.views import SessionView

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from perdure.storage import SessionStore


@click.group()
def session() -> None:
    """List, show, fork, export, verify, stop and delete sessions.

    ID is a session's id, its beginning or end, or `last`.
    """


@session.command("list")
@click.option("-n", "--limit", default=20, show_default=True, help="How many, newest first.")
@click.option("-a", "--agent", metavar="NAME", help="Only this agent's.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_(ctx: click.Context, limit: int, agent: str | None, as_json: bool) -> int:
    """List sessions, newest first."""
    return drive(print_sessions(kept_place_of(ctx), limit, agent, as_json))


async def print_sessions(place: Place, limit: int, agent: str | None, as_json: bool) -> int:
    async with Link(place) as link:
        views = await link.client.sessions(limit=limit, agent=agent)
    if as_json:
        echo_json(views)
    elif not views:
        click.echo("No session yet. Start one: perdure chat", err=True)
    else:
        head = ("ID", "AGENT", "STATUS", "UPDATED", "MSGS", "COST", "TITLE")
        for line in table(head, [_row(view) for view in views]):
            click.echo(line)
    return DONE


def _row(view: SessionView) -> tuple[str, ...]:
    from perdure.cli.view.story import money

    return (
        view.id,
        view.agent,
        view.status,
        ago(view.updated),
        str(view.messages),
        money(view.cost_usd, unpriced=view.unpriced) if view.cost_usd else "–",
        one_line(view.title or view.error or "–"),
    )


@session.command("show")
@click.argument("reference", metavar="[ID]", required=False)
@click.option(
    "--events", is_flag=True, help="Print the records as they are stored, one JSON a line."
)
@click.option("--after", default=0, metavar="SEQ", help="Only what came after this record.")
@click.pass_context
def show(ctx: click.Context, reference: str | None, events: bool, after: int) -> int:
    """Print a session's transcript."""
    return drive(_show(kept_place_of(ctx), reference, events, after))


async def _show(place: Place, reference: str | None, events: bool, after: int) -> int:
    from perdure.cli.view.paint import painter
    from perdure.cli.view.story import Story, money, tokens

    async with Link(place) as link:
        view = await resolve(link.client, reference)
        if events:
            async for record in link.client.records(view.id, after):
                echo_json(record)
            return DONE
        story = Story()
        paint = painter(min(terminal_width(), 100), styled=styled())
        click.echo(click.style(f"{view.id} · {view.agent} · {one_line(view.workdir)}\n", dim=True))
        async for record in link.client.records(view.id, after):
            story.feed(record)
            for line in paint.scroll(story.take()):
                click.echo(line)
    facts = [
        view.status,
        f"{view.turns} turn{'' if view.turns == 1 else 's'}",
        tokens(view.usage.input + view.usage.output),
        money(view.cost_usd, unpriced=view.unpriced),
        *([f"holds: {one_line(view.label.words)}"] if view.label else []),
        *([f"DANGEROUS: {one_line(view.sandbox)}"] if view.sandbox else []),
        f"log: {place.state / 'sessions' / view.id / 'events.jsonl'}",
    ]
    click.echo("\n" + click.style(" · ".join(facts), dim=True))
    if view.error:
        click.echo(click.style(one_line(view.error), fg="red"), err=True)
    return DONE


@session.command("resume")
@click.argument("reference", metavar="[ID]", required=False)
@click.pass_context
def resume(ctx: click.Context, reference: str | None) -> int:
    """Let a session go on that is held: the server died twice while resuming it, or it comes from a
    backup in the middle of its work."""

    async def work() -> SessionView:
        async with Link(kept_place_of(ctx)) as link:
            view = await resolve(link.client, reference)
            return await link.client.resume(view.id)

    view = drive(work())
    click.echo(f"{view.id} goes on. Watch it: perdure attach {view.id}")
    return DONE


@session.command("fork")
@click.argument("reference", metavar="ID")
@click.option(
    "--at",
    type=click.IntRange(min=1),
    metavar="SEQ",
    help="Take the records up to this one. Default: all.",
)
@click.pass_context
def fork(ctx: click.Context, reference: str, at: int | None) -> int:
    """Start a new session from another one's past. The other stays as it is."""

    async def work() -> SessionView:
        async with Link(kept_place_of(ctx)) as link:
            parent = await resolve(link.client, reference)
            return await link.client.fork(parent.id, at)

    view = drive(work())
    click.echo(view.id)
    if sys.stderr.isatty():
        click.echo(f"Go there: perdure attach {view.id}", err=True)
    return DONE


@session.command("stop")
@click.argument("reference", metavar="ID")
@click.pass_context
def stop(ctx: click.Context, reference: str) -> int:
    """Stop a session's running turn, with all it started."""

    async def work() -> tuple[SessionView, bool]:
        async with Link(kept_place_of(ctx)) as link:
            view = await resolve(link.client, reference)
            return view, await link.client.stop(view.id)

    view, stopped = drive(work())
    click.echo(f"{view.id}: stopped" if stopped else f"{view.id}: no turn was running")
    return DONE


@session.command("delete")
@click.argument("references", metavar="ID...", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def delete(ctx: click.Context, references: tuple[str, ...], yes: bool) -> int:
    """Delete sessions for good, with their artifacts."""

    async def find() -> list[SessionView]:
        async with Link(place) as link:
            return [await resolve(link.client, reference) for reference in references]

    async def remove(views: list[SessionView]) -> None:
        async with Link(place) as link:
            for view in views:
                await link.client.delete(view.id)
                click.echo(f"{view.id}: deleted")

    place = kept_place_of(ctx)
    views = drive(find())
    if not yes:
        for view in views:
            messages = f"{view.messages} message{'s' if view.messages != 1 else ''}"
            click.echo(f"{view.id}  {messages}  {one_line(view.title)}")
        click.confirm("Delete for good?", abort=True)
    drive(remove(views))
    return DONE


@session.command("export")
@click.argument("reference", metavar="ID")
@click.option(
    "-f",
    "--format",
    "kind",
    type=click.Choice(["md", "jsonl", "json"]),
    default="md",
    show_default=True,
    help="md: a transcript; jsonl: the log's own lines; json: one array.",
)
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="A file. Default: stdout.")
@click.pass_context
def export(ctx: click.Context, reference: str, kind: str, output: str | None) -> int:
    """Write a session out. Works without a server.

    A file or a pipe gets every byte as it is; on a terminal control characters are shown as signs.
    """
    place = kept_place_of(ctx, files=True)
    found = _stored(place, reference)
    if output is None:
        if not sys.stdout.isatty():
            _export(place, found, kind, sys.stdout.buffer)
            return DONE
        seen = Seen(sys.stdout.buffer)
        _export(place, found, kind, seen)
        seen.end()
        return DONE
    with Path(output).open("wb") as out:
        _export(place, found, kind, out)
    click.echo(f"{found} → {output}", err=True)
    return DONE


class Seen(BytesIO):
    """On its way to a terminal: every character seen, none acting."""

    def __init__(self, out: BinaryIO) -> None:
        super().__init__()
        self._out = out
        self._decoder = getincrementaldecoder("utf-8")("replace")

    def write(self, data: Buffer, /) -> int:
        self._pass(bytes(data))
        return len(bytes(data))

    def end(self) -> None:
        """Nothing follows."""
        self._pass(b"", last=True)
        self._out.flush()

    def _pass(self, data: bytes, last: bool = False) -> None:
        self._out.write(exact(self._decoder.decode(data, last)).encode())


def _export(place: Place, session: str, kind: str, out: BinaryIO) -> None:
    from perdure.kernel.events import SessionId
    from perdure.storage import ExportFormat

    formats: dict[str, ExportFormat] = {"md": "md", "jsonl": "jsonl", "json": "json"}
    with _Store(place) as store:
        store.export(SessionId(session), formats[kind], out)


@session.command("verify")
@click.argument("reference", metavar="[ID]", required=False)
@click.option("--all", "every", is_flag=True, help="All sessions.")
@click.option("--repair", is_flag=True, help="Mend what can be mended; the rest is set aside.")
@click.pass_context
def verify(ctx: click.Context, reference: str | None, every: bool, repair: bool) -> int:
    """Check every byte of a session's log, artifacts and snapshot. Works without a server.

    Exit code: 0 whole, 1 something is damaged.
    """
    from perdure.kernel.events import SessionId

    place = kept_place_of(ctx, files=True)
    bad: list[str] = []
    with _Store(place) as store:
        for name in list(store.ids()) if every else [SessionId(_stored(place, reference))]:
            report = store.verify(name, repair=repair)
            state = (
                click.style("whole", fg="green") if report.ok else click.style("damaged", fg="red")
            )
            click.echo(f"{name}: {state}, {report.records} records")
            for problem in report.problems:
                where = f"line {problem.line}: " if problem.line else ""
                click.echo(f"  {where}{problem.what}")
            for done in report.done:
                click.echo(f"  done: {done}")
            bad += [] if report.ok else [name]
    if bad and not repair:
        which = bad[0] if len(bad) == 1 else "--all"
        click.echo(f"Mend what can be mended: perdure session verify {which} --repair", err=True)
    return FAILED if bad else DONE


class _Store:
    """The session store, without a server."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def __enter__(self) -> SessionStore:
        from perdure.storage import Committer, RealDisk, SessionStore, SystemClock

        self._committer = Committer(RealDisk())
        return SessionStore(self._place.state, self._committer, SystemClock())

    def __exit__(self, *error: object) -> None:
        self._committer.close()


def _stored(place: Place, reference: str | None) -> str:
    """An id from what a person typed, by the folder's names alone."""
    from perdure.kernel.errors import NotFound

    with _Store(place) as store:
        ids = [str(name) for name in store.ids()]
    if reference is None or reference == "last":
        near = ids[:1]
    else:
        near = [i for i in ids if i == reference] or [
            i for i in ids if i.startswith(reference) or i.endswith(reference)
        ]
    if len(near) == 1:
        return near[0]
    raise NotFound(
        f"{len(near)} sessions match '{reference}'"
        if near
        else f"there is no session '{reference}'",
        hint="See them: perdure session list",
    )
