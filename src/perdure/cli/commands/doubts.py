"""`perdure doubts`: calls that were under way when the server died, and what became of them."""

from __future__ import annotations

from typing import Literal

import click

from perdure.cli.common import ago, drive, echo_json, kept_place_of, resolve
from perdure.cli.link import Link
from perdure.cli.place import Place
from perdure.cli.problems import DONE
from perdure.cli.view.clean import exact_line
from perdure.kernel.errors import NotFound
from perdure.runtime.views import OpenDoubt


@click.command()
@click.argument("reference", metavar="[SESSION]", required=False)
@click.argument("answer", required=False, type=click.Choice(["happened", "again"]))
@click.option(
    "--call", metavar="KEY", help="Which one, when there are several: its key, or its end."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doubts(
    ctx: click.Context,
    reference: str | None,
    answer: Literal["happened", "again"] | None,
    call: str | None,
    as_json: bool,
) -> int:
    """See and settle calls that a crash left in doubt.

    \b
    perdure doubts                    of the latest session
    perdure doubts ID                 of one session
    perdure doubts ID happened        it was done: the agent is told not to do it again
    perdure doubts ID again           it was not done: the agent is told to do it
    """
    place = kept_place_of(ctx)
    if answer is None:
        return drive(_list(place, reference, as_json))
    return drive(_settle(place, reference, answer, call))


async def _list(place: Place, reference: str | None, as_json: bool) -> int:
    async with Link(place) as link:
        view = await resolve(link.client, reference)
        found = await link.client.doubts(view.id)
    if as_json:
        echo_json(found)
    elif not found:
        click.echo("Nothing is in doubt.", err=True)
    else:
        for doubt in found:
            click.echo(
                f"{doubt.key}  begun {ago(doubt.at)}\n  {exact_line(doubt.tool)} {doubt.arguments}"
            )
    return DONE


async def _settle(
    place: Place, reference: str | None, answer: Literal["happened", "again"], call: str | None
) -> int:
    async with Link(place) as link:
        view = await resolve(link.client, reference)
        doubt = _pick(await link.client.doubts(view.id), call)
        await link.client.settle(view.id, doubt.key, answer)
    click.echo(f"The agent is told. Watch it: perdure attach {view.id}")
    return DONE


def _pick(found: list[OpenDoubt], call: str | None) -> OpenDoubt:
    near = [d for d in found if call is None or d.key.endswith(call)]
    if len(near) == 1:
        return near[0]
    if not near:
        raise NotFound("no such call is in doubt", hint="See them: perdure doubts")
    keys = ", ".join(d.key for d in near)
    raise NotFound(f"several calls are in doubt: {keys}", hint="Name one: --call KEY")
