"""`perdure backup`: copies of the workspace, in a folder or an S3 bucket."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli.common import place_of, styled
from perdure.cli.problems import DONE, FAILED
from perdure.cli.view.clean import one_line

if TYPE_CHECKING:
    from perdure.backup import Manifest

WIDTH = 60
"""Columns of the line that tells how far it is."""
SHOWN = 20


@click.group()
def backup() -> None:
    """Copy the workspace, check a copy, restore one.

    DEST is a folder, or s3://bucket/prefix (then credentials come from the AWS_… variables). A backup
    adds to what is there: only what is new is stored.
    """


@backup.command("create")
@click.argument("dest", metavar="DEST")
@click.pass_context
def create(ctx: click.Context, dest: str) -> int:
    """Back up the workspace. It may be in use meanwhile."""
    from perdure import backup as backups
    from perdure.models.credentials import STORE, config_folder

    place = place_of(ctx)
    with _Progress() as progress:
        made = backups.create(
            place.root,
            backups.open_depot(dest),
            credentials=config_folder(os.environ) / STORE,
            progress=progress.show,
        )
    click.echo(f"{made.name}: {_summary(made.manifest)}; {_size(made.new_bytes)} new")
    if "://" not in dest and Path(dest).expanduser().resolve().is_relative_to(place.root.resolve()):
        click.echo(
            f"{one_line(dest)} lies within the workspace: it is lost with it, and commands of agents can "
            "write there. Keep copies elsewhere.",
            err=True,
        )
    for problem in made.manifest.problems:
        click.echo(click.style("  problem: ", fg="yellow") + one_line(problem), err=True)
    return FAILED if made.manifest.problems else DONE


@backup.command("verify")
@click.argument("dest", metavar="DEST")
@click.option("--backup", "name", metavar="NAME", help="Only this one. Default: all.")
def verify(dest: str, name: str | None) -> int:
    """Read all of it again and check every hash and every log.

    Exit code: 0 whole, 1 something is damaged or missing.
    """
    from perdure import backup as backups

    with _Progress() as progress:
        report = backups.check(backups.open_depot(dest), name, progress=progress.show)
    for one, manifest in report.backups:
        click.echo(f"{one}: {_summary(manifest)}")
        for session in manifest.sessions:
            if session.damage:
                click.echo(
                    f"  session {session.id} was damaged when it was copied: {session.damage}"
                )
    for problem in report.problems[:SHOWN]:
        click.echo(click.style("  problem: ", fg="red") + one_line(problem), err=True)
    if len(report.problems) > SHOWN:
        click.echo(f"  … and {len(report.problems) - SHOWN} more", err=True)
    state = click.style("whole", fg="green") if report.ok else click.style("damaged", fg="red")
    click.echo(f"{state}: {report.pieces} pieces, {_size(report.bytes)} read")
    if report.unneeded:
        click.echo(
            f"{report.unneeded} pieces belong to no backup: one was cut off, or is being made."
        )
    return DONE if report.ok else FAILED


@backup.command("restore")
@click.argument("dest", metavar="DEST")
@click.argument("target", metavar="TARGET", type=click.Path(file_okay=False, path_type=Path))
@click.option("--backup", "name", metavar="NAME", help="This one. Default: the latest.")
@click.option("--tokens", is_flag=True, help="Tokens that were handed out count there as well.")
def restore(dest: str, target: Path, name: str | None, tokens: bool) -> int:
    """Make a workspace in TARGET, an empty or new folder, and compare it with the backup.

    Sessions that had work left wait there for your word, and tokens have to be made anew: what was
    answered, sent or revoked since the backup is not known to it.
    """
    from perdure import backup as backups

    target = target.expanduser().absolute()
    with _Progress() as progress:
        done = backups.restore(
            backups.open_depot(dest), target, name, tokens=tokens, progress=progress.show
        )
    click.echo(f"{done.name}: {_summary(done.manifest)}; compared, all the same")
    at = done.manifest.created.astimezone().strftime("%Y-%m-%d %H:%M")
    click.echo(
        f"It is as it was on {at}: what was done, sent, spent, approved or taken back since is not in it. "
        "Do not run both workspaces."
    )
    if done.waiting:
        many = len(done.waiting) != 1
        click.echo(
            f"{len(done.waiting)} session{'s' if many else ''} had work left (a turn, a message, an answer "
            f"on its way) and wait{'' if many else 's'} for you:"
        )
        for session in done.waiting[:SHOWN]:
            click.echo(f"  perdure --workspace {target} session resume {session}")
        if len(done.waiting) > SHOWN:
            click.echo(f"  … and {len(done.waiting) - SHOWN} more: perdure session list")
    if done.tokens:
        click.echo(
            "Tokens that were handed out do not count there: make new ones with perdure token create, or "
            "restore with --tokens."
        )
    if done.credentials is not None:
        click.echo(
            f"Provider keys, still encrypted: {done.credentials}\n"
            "To use them on another machine, put that file and your identity.txt into "
            "~/.config/perdure/."
        )
    click.echo(f"Use it: perdure --workspace {target}")
    return DONE


def _summary(manifest: Manifest) -> str:
    sessions = len(manifest.sessions)
    return (
        f"{len(manifest.files)} files, {sessions} session{'' if sessions == 1 else 's'}, "
        f"{_size(manifest.bytes)}"
    )


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} bytes"
    size = count / 1000
    for unit in ("kB", "MB"):
        if size < 1000:
            return f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


class _Progress:
    """One line on a terminal that says where it is."""

    def __enter__(self) -> _Progress:
        self._on = styled(sys.stderr)
        return self

    def show(self, what: str) -> None:
        if self._on:
            text = one_line(what)[-WIDTH:]
            click.echo("\r\x1b[K" + click.style(text, dim=True), err=True, nl=False)

    def __exit__(self, *_: object) -> None:
        if self._on:
            click.echo("\r\x1b[K", err=True, nl=False)
