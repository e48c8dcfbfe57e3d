"""`perdure label`: whose words a file holds, and how the owner vouches for it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from perdure.cli.common import echo_json, place_of
from perdure.cli.problems import DONE, FAILED
from perdure.cli.view.clean import one_line


@click.group()
def label() -> None:
    """See and clear the labels of files.

    A file that an agent wrote after it had read what others wrote is labelled `third party`: what is in it
    cannot decide where data or money goes without asking you.
    """


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

    place, missing = place_of(ctx), False
    labels = file_labels(place.state)
    try:
        for path in paths:
            real = Path(os.path.realpath(path.expanduser()))
            found = labels.of(real)
            missing = missing or not os.path.lexists(real)
            if as_json:
                echo_json({"path": str(real), "label": found, "words": found.words})
            else:
                gone = "" if os.path.lexists(real) else " (there is no such file)"
                click.echo(f"{one_line(str(path))}: {one_line(found.words)}{gone}")
    finally:
        labels.close()
    return FAILED if missing else DONE


@label.command("clear")
@PATHS
@click.pass_context
def clear(ctx: click.Context, paths: tuple[Path, ...]) -> int:
    """Vouch for files as they are now: they count as yours. Of a folder: all that lies in it.

    A change by an agent that has read what others wrote labels a file again.
    """
    from perdure.runtime.labelling import file_labels

    labels = file_labels(place_of(ctx).state)
    try:
        cleared = [
            done
            for path in paths
            for done in labels.clear(Path(os.path.realpath(path.expanduser())))
        ]
    finally:
        labels.close()
    for done in cleared:
        click.echo(f"Cleared: {one_line(str(done))}")
    if not cleared:
        click.echo("Nothing there was labelled as written by others.", err=True)
    return DONE


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
    labels = file_labels(place_of(ctx).state)
    try:
        labels.reset()
    finally:
        labels.close()
    click.echo("Begun anew: no file is labelled, but by its own attribute.")
    return DONE
