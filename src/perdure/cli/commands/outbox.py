"""`perdure outbox`: answers that have not arrived at their channel, and another try."""

from __future__ import annotations

import click

from perdure.cli.common import ago, drive, kept_place_of
from perdure.cli.link import Link
from perdure.cli.place import Place
from perdure.cli.problems import DONE
from perdure.cli.view.clean import one_line
from perdure.kernel.errors import NotFound


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def outbox(ctx: click.Context, as_json: bool) -> int:
    """See answers that have not arrived, and send dead letters again.

    Channels are named in perdure.yaml; `perdure run --deliver NAME` uses one.
    """
    return DONE if ctx.invoked_subcommand else drive(_list(kept_place_of(ctx), as_json))


@outbox.command("retry")
@click.argument("delivery")
@click.pass_context
def retry(ctx: click.Context, delivery: str) -> int:
    """Send a failed or unconfirmed answer again (the end of its id is enough)."""

    async def work() -> int:
        async with Link(kept_place_of(ctx)) as link:
            near = [x for x in await link.client.letters() if x.delivery.endswith(delivery)]
            if len(near) != 1:
                said = f"'{delivery}' is not unique" if near else f"no delivery '{delivery}'"
                raise NotFound(said, hint="See them: perdure outbox")
            await link.client.redeliver(near[0].delivery)
            click.echo(f"On its way again: {near[0].delivery}")
        return DONE

    return drive(work())


async def _list(place: Place, as_json: bool) -> int:
    async with Link(place) as link:
        letters = await link.client.letters()
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(letters))
    elif not letters:
        click.echo("Everything has arrived.", err=True)
    else:
        for letter in letters:
            tries = "1 attempt" if letter.attempts == 1 else f"{letter.attempts} attempts"
            click.echo(
                f"{letter.delivery}  {letter.status} after {tries}, {ago(letter.at)}\n"
                f"  to {letter.to}: {one_line(letter.text)[:100]}"
            )
            if letter.error:
                click.echo(f"  {one_line(letter.error)}")
    return DONE
