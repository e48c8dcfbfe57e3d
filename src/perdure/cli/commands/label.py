"""`perdure label`: whose words a file holds, and how the owner vouches for it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from perdure.cli.common import echo_json, kept_place_of
from perdure.cli.problems import DONE, FAILED
from perdure.cli.view.clean import one_line


@click.group()
def label() -> None:
    """See and clear the labels of files.

    A file that an agent wrote after it had read what others wrote is labelled `third party`: what is in it
    cannot decide where data or money goes without asking you.
    """


SHOWN = 10
"""Paths, before it is asked about a folder."""
PATHS = click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path)
)


@label.command("show")
@PATHS
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def show(ctx: click.Context, paths: tuple[Path, ...], as_json: bool) -> int:
    """Print the labels of files. Of a folder: of all that lies in it."""
    from perdure.runtime.labelling import file_labels

    place, missing = kept_place_of(ctx, files=True), False
    labels = file_labels(place.state)
    try:
        for path in paths:
            real = Path(os.path.realpath(path.expanduser()))
            found = labels.of(real)
            missing = missing or not os.path.lexists(real)
            if as_json:
                echo_json({"path": str(real), "label": found, "words": found.words})
            elif os.path.lexists(real):
                click.echo(f"{one_line(str(path))}: {one_line(found.words)}")
            else:
                click.echo(f"{one_line(str(path))}: there is no such file", err=True)
    finally:
        labels.close()
    return FAILED if missing else DONE


@label.command("clear")
@PATHS
@click.option("-y", "--yes", is_flag=True, help="Do not ask, when it is a folder.")
@click.pass_context
def clear(ctx: click.Context, paths: tuple[Path, ...], yes: bool) -> int:
    """Vouch for files as they are now: they count as yours. Of a folder: all that lies in it, but for other
    workspaces and what Perdure keeps.

    A change by an agent that has read what others wrote labels a file again.
    """
    from perdure.runtime.labelling import file_labels

    place = kept_place_of(ctx, files=True)
    labels, own = file_labels(place.state), os.path.realpath(place.state)
    wanted = [Path(os.path.realpath(path.expanduser())) for path in paths]
    try:
        for folder in (path for path in wanted if path.is_dir() and not yes):
            found = labels.clearable(folder)
            if found and found != [folder]:
                _confirm(folder, found)
        cleared = [done for path in wanted for done in labels.clear(path)]
        kept = [path for path in wanted if path.is_dir() and labels.foreign(str(path))]
        foreign = [path for path in kept if str(path) != own]
    finally:
        labels.close()
    for done in cleared:
        click.echo(f"Cleared: {one_line(str(done))}")
    for path in foreign:
        root = path.parent if path.name == ".perdure" else path
        click.echo(
            f"{one_line(str(path))} belongs to a workspace of its own; what lies in it was left as it is. "
            f"If you trust it: perdure --workspace {shlex.quote(str(root))} label clear PATH",
            err=True,
        )
    if not cleared and not foreign:
        click.echo("Nothing there was labelled as written by others.", err=True)
    return DONE


def _confirm(folder: Path, found: list[Path]) -> None:
    for path in found[:SHOWN]:
        click.echo(f"  {one_line(str(path))}", err=True)
    if len(found) > SHOWN:
        click.echo(f"  and {len(found) - SHOWN:,} more", err=True)
    what = f"{len(found):,} files and folders" if len(found) != 1 else "this"
    click.confirm(f"Vouch for {what} in {one_line(str(folder))}?", abort=True, err=True)


@label.command("reset")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def reset(ctx: click.Context, yes: bool) -> int:
    """Begin anew where the labels are gone or damaged, vouching for every file as it is now.

    Until then every file counts as written by others. What a file says of itself, in its attribute, stays;
    a damaged labels.sqlite is kept as labels.old.sqlite.
    """
    from perdure.runtime.labelling import file_labels

    if not yes:
        click.confirm("Count every file of this workspace as yours, as it is now?", abort=True)
    labels = file_labels(kept_place_of(ctx, files=True).state)
    try:
        labels.reset()
    finally:
        labels.close()
    click.echo("Begun anew: no file is labelled, but by its own attribute.")
    return DONE
