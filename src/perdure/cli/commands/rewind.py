"""`perdure rewind`: a session's files, its conversation, or both, as they were before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from perdure.cli.common import ago, drive, kept_place_of, resolve, table
from perdure.cli.link import Link
from perdure.cli.problems import DONE, USAGE, Problem
from perdure.cli.view.clean import one_line

if TYPE_CHECKING:
    from perdure.checkpoints import Changes, Checkpoint, LeftOut
    from perdure.cli.client import Client
    from perdure.kernel.events import Record
    from perdure.runtime.views import SessionView

SHOWN = 40
"""Changes and notes that are printed; `--json` has them all."""
SIGNS = {
    "add": ("+", "green"),
    "change": ("~", "yellow"),
    "remove": ("-", "red"),
    "mode": ("m", "yellow"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A place in a session to go back to: just before a turn's messages."""

    seq: int
    """Of the last record that is kept."""
    ends: int
    """Of the turn's last record."""
    at: datetime
    said: str
    checkpoint: Checkpoint | None
    """Of the files, if the turn changed something."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """What is going to be done."""

    files: Changes | None = None
    seq: int | None = None
    """Where the conversation goes on in a new session."""
    note: str = ""


@click.command()
@click.argument("reference", metavar="[ID]", required=False)
@click.option("--files", "what", flag_value="files", help="Only the files.")
@click.option("--conversation", "what", flag_value="conversation", help="Only the conversation.")
@click.option("--both", "what", flag_value="both", help="Both. The default.")
@click.option(
    "--to",
    type=click.IntRange(min=1),
    metavar="SEQ",
    help="Keep the records up to this one. Default: before the last turn.",
)
@click.option("--list", "listing", is_flag=True, help="Show where one can go back to.")
@click.option("--undo", is_flag=True, help="Take the last rewind of the files back.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; needs --list or --yes.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def rewind(
    ctx: click.Context,
    reference: str | None,
    what: str | None,
    to: int | None,
    listing: bool,
    undo: bool,
    as_json: bool,
    yes: bool,
) -> int:
    """Go back to before a turn: the files, the conversation, or both.

    What will change is shown first. Files come from the checkpoint that was taken before the turn's first
    change, and can be brought forward again with --undo. The conversation goes on in a new session; the
    old one stays as it is.

    \b
    perdure rewind                    before the last turn of the latest session
    perdure rewind ID --list          where one can go back to
    perdure rewind ID --to 12 --files
    perdure rewind ID --undo
    """
    place = kept_place_of(ctx)
    if as_json and not (listing or yes):
        raise click.UsageError("--json needs --list or --yes: nothing can be asked then.", ctx)

    async def look() -> tuple[SessionView, list[Point], Way]:
        async with Link(place) as link:
            view = await resolve(link.client, reference)
            if undo:
                return view, [], await _back(link.client, view)
            points = [point async for point in _points(link.client, view)]
            return (
                view,
                points,
                Way() if listing else await _way(link.client, view, points, what or "both", to),
            )

    async def go(view: SessionView, way: Way) -> None:
        async with Link(place) as link:
            await _do(link.client, view, way, as_json)

    view, points, way = drive(look())
    if listing:
        _print_points(view, points, as_json)
        return DONE
    if not as_json:
        _print_way(view, way)
    if way.files is not None and not way.files.changes and way.seq is None:
        return DONE
    if not yes:
        click.confirm("Do it?", abort=True)
    drive(go(view, way))
    return DONE


# Finding the way ------------------------------------------------------------------------------------


async def _points(client: Client, view: SessionView) -> AsyncIterator[Point]:
    """Turns, oldest first."""
    taken = {one.turn: one for one in await client.checkpoints(view.id) if one.kind == "turn"}
    from perdure.kernel import events as e

    received: dict[str, Record] = {}
    begun: tuple[e.TurnStarted, Record] | None = None
    last: Record | None = None
    async for record in client.records(view.id):
        event = record.event
        if isinstance(event, e.MessageReceived):
            received[event.message] = record
        elif isinstance(event, e.TurnStarted):
            begun = event, record
        elif isinstance(event, e.TurnEnded) and begun is not None:
            yield _point(begun, received, record, taken.get(begun[0].turn))
            begun = None
        last = record
    if begun is not None and last is not None:
        yield _point(begun, received, last, taken.get(begun[0].turn))


def _point(
    begun: tuple[object, Record],
    received: dict[str, Record],
    last: Record,
    checkpoint: Checkpoint | None,
) -> Point:
    from perdure.kernel import events as e

    event, record = begun
    assert isinstance(event, e.TurnStarted)
    messages = [received[m] for m in event.messages if m in received] or [record]
    first = messages[0]
    parts = first.event.parts if isinstance(first.event, e.MessageReceived) else ()
    said = " ".join(part.text for part in parts if isinstance(part, e.Text))
    return Point(
        seq=max(1, first.seq - 1),
        ends=last.seq,
        at=first.at,
        said=one_line(said),
        checkpoint=checkpoint,
    )


async def _way(
    client: Client, view: SessionView, points: Sequence[Point], what: str, to: int | None
) -> Way:
    if to is None:
        if not points:
            raise Problem("there is no turn in this session yet: nothing to go back from.")
        to = points[-1].seq
    if to > view.seq:
        raise Problem(
            f"session {view.id} has {view.seq} records, not {to}.",
            hint=f"See where one can go back to: perdure rewind {view.id} --list",
            code=USAGE,
        )
    seq = to if what != "files" else None
    if what == "conversation":
        return Way(seq=seq)
    checkpoint, note = _checkpoint_at(points, to)
    if checkpoint is None:
        if what == "files":
            raise Problem(
                f"no turn after record {to} has a checkpoint of the files.",
                hint=f"See which have one: perdure rewind {view.id} --list",
            )
        return Way(seq=seq, note="no checkpoint was taken since then; the files stay as they are")
    return Way(files=await client.checkpoint_changes(view.id, checkpoint.id), seq=seq, note=note)


def _checkpoint_at(points: Sequence[Point], seq: int) -> tuple[Checkpoint | None, str]:
    """The one that has the files as they were at record `seq`: taken by the first turn that changed
    something after it. Within a turn no moment but its first change is kept."""
    for point in points:
        if point.checkpoint is None or point.ends <= seq:
            continue
        inside = point.seq < seq and point.checkpoint.seq < seq
        note = "this lies within a turn: the files go back to before its first change"
        return point.checkpoint, note if inside else ""
    return None, ""


async def _back(client: Client, view: SessionView) -> Way:
    for one in await client.checkpoints(view.id):
        if one.kind == "rewind":
            return Way(files=await client.checkpoint_changes(view.id, one.id))
    raise Problem(
        f"the files of session {view.id} were never rewound.",
        hint="A rewound conversation needs no undoing: the old session is still there.",
    )


# Showing and doing it -------------------------------------------------------------------------------


def _print_points(view: SessionView, points: Sequence[Point], as_json: bool) -> None:
    if as_json:
        import msgspec

        click.echo(
            msgspec.json.encode(
                [
                    {
                        "to": point.seq,
                        "at": point.at,
                        "message": point.said,
                        "checkpoint": point.checkpoint,
                    }
                    for point in points
                ]
            )
        )
        return
    if not points:
        click.echo(f"{view.id}: no turn yet", err=True)
        return
    rows = [
        (
            str(point.seq),
            ago(point.at),
            f"{point.checkpoint.files} files" if point.checkpoint else "–",
            f"{point.checkpoint.skipped} left out"
            if point.checkpoint and point.checkpoint.skipped
            else "",
            point.said or "–",
        )
        for point in reversed(points)
    ]
    for line in table(("TO", "WHEN", "CHECKPOINT", "", "UNDOES THE TURN"), rows):
        click.echo(line)


def _print_way(view: SessionView, way: Way) -> None:
    if way.files is not None:
        changes = way.files.changes
        click.echo(f"Files in {one_line(way.files.workdir)}:")
        for change in changes[:SHOWN]:
            sign, color = SIGNS[change.action]
            tail = "/" if change.kind == "folder" else " (link)" if change.kind == "link" else ""
            click.echo(f"  {click.style(sign, fg=color)} {one_line(change.path)}{tail}")
        if len(changes) > SHOWN:
            click.echo(f"  … and {len(changes) - SHOWN} more")
        if not changes:
            click.echo("  nothing to change")
        _print_kept(way.files.kept)
    if way.note:
        click.echo(f"Note: {way.note}.")
    if way.seq is not None:
        click.echo(
            f"Conversation: a new session with records 1 to {way.seq} of {view.seq}; "
            f"{view.id} stays as it is."
        )


def _print_kept(kept: Sequence[LeftOut]) -> None:
    from perdure.checkpoints.records import WHY

    for left in kept[:SHOWN]:
        text = f"  stays as it is: {one_line(left.path)} ({WHY[left.why]})"
        click.echo(click.style(text, dim=True))
    if len(kept) > SHOWN:
        click.echo(click.style(f"  … and {len(kept) - SHOWN} more stay as they are", dim=True))


async def _do(client: Client, view: SessionView, way: Way, as_json: bool) -> None:
    restored = None
    if way.files is not None and way.files.changes:
        restored = await client.restore_checkpoint(view.id, way.files.checkpoint)
    forked = None if way.seq is None else await client.fork(view.id, way.seq)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"files": restored, "session": forked}))
        return
    if restored is not None:
        count = len(restored.changes)
        click.echo(
            f"Files: {count} change{'' if count == 1 else 's'} done. "
            f"Undo: perdure rewind {view.id} --undo"
        )
        known = way.files.kept if way.files else ()
        _print_kept([left for left in restored.kept if left not in known])
    if forked is not None:
        click.echo(f"Conversation: perdure attach {forked.id}")
