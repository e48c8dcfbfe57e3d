"""`perdure chat` and `perdure attach`: a conversation in the terminal."""

from __future__ import annotations

from pathlib import Path

import click

from perdure.cli.common import drive, kept_place_of, place_of
from perdure.cli.place import Gone, Place


@click.command()
@click.argument("agent", required=False)
@click.option(
    "-m", "--model", metavar="PROVIDER/NAME", default="", help="Another model, this session."
)
@click.option(
    "-C",
    "--workdir",
    type=click.Path(exists=True, file_okay=False),
    default=".",
    help="The folder the agent works in. Default: this one.",
)
@click.option("--plain", is_flag=True, help="Line by line, without colours or a live display.")
@click.pass_context
def chat(
    ctx: click.Context,
    agent: str | None = None,
    model: str = "",
    workdir: str = ".",
    plain: bool = False,
) -> int:
    """Talk to an agent. Type /help there for what you can do."""
    from perdure.cli.chat.start import Start, talk

    start = Start(
        agent=agent, model=model, workdir=str(Path(workdir).resolve()), session=None, plain=plain
    )
    return drive(talk(_place(ctx), start))


@click.command()
@click.argument("reference", metavar="[ID]", required=False)
@click.option("--list", "listing", is_flag=True, help="List the sessions there are.")
@click.option("--plain", is_flag=True, help="Line by line, without colours or a live display.")
@click.pass_context
def attach(ctx: click.Context, reference: str | None, listing: bool, plain: bool) -> int:
    """Go back to a session: by its id, its beginning or end, or the latest one.

    Any number of terminals can be attached to one session.
    """
    place = kept_place_of(ctx)
    if listing:
        from perdure.cli.commands.session import print_sessions

        return drive(print_sessions(place, 20, None, False))
    from perdure.cli.chat.start import Start, talk

    start = Start(agent=None, model="", workdir="", session=reference or "last", plain=plain)
    return drive(talk(place, start))


def _place(ctx: click.Context) -> Place:
    """The workspace; a person who has none yet is offered one."""
    import sys

    from perdure.cli.problems import WORKSPACE, Problem

    try:
        return place_of(ctx)
    except Problem as problem:
        asks = sys.stdin.isatty() and sys.stdout.isatty()
        missing = problem.code == WORKSPACE and not isinstance(problem, Gone)
        if not missing or ctx.find_root().obj or not asks:
            raise
    click.echo("There is no workspace yet.")
    if not click.confirm("Create one now?", default=True):
        raise click.Abort
    from perdure.cli.commands.init import init

    ctx.invoke(init, folder=None, yes=False, model=None, agent="default")
    click.echo()
    return place_of(ctx)
