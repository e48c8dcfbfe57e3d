"""`perdure budget`: what was spent, and what may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from perdure.cli.common import drive, kept_place_of, table
from perdure.cli.link import Link
from perdure.cli.place import Place
from perdure.cli.problems import DONE

if TYPE_CHECKING:
    from perdure.runtime.views import SpendingView, Used


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def budget(ctx: click.Context, as_json: bool) -> int:
    """Show what was spent today and this month, by agent, and what may be.

    Caps are `budget` in agent.yaml and perdure.yaml, and `spending` in perdure.yaml for all agents.
    """
    return drive(_show(kept_place_of(ctx), as_json))


async def _show(place: Place, as_json: bool) -> int:
    async with Link(place) as link:
        view = await link.client.spending()
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(view))
        return DONE
    for line in table(("WHO", "WHEN", "COST", "TOKENS", "CALLS", "TURNS", "WORK"), _rows(view)):
        click.echo(line)
    for agent in view.agents:
        if agent.error:
            click.echo(f"{agent.agent}: its caps cannot be read: {agent.error}", err=True)
    if view.unsettled:
        click.echo(
            f"{view.unsettled} reservation{'s' if view.unsettled > 1 else ''} left open by a crash, "
            "or of calls under way, counted in full.",
            err=True,
        )
    return DONE


def _rows(view: SpendingView) -> list[tuple[str, ...]]:
    named = [("all agents", view.workspace), *((a.agent, a.used) for a in view.agents)]
    when = {"day": view.day, "month": view.month}
    return [
        (
            name,
            when[one.period],
            _of(one, "cost_usd", "${:.4f}"),
            _of(one, "tokens", "{:,.0f}"),
            _of(one, "calls", "{:,.0f}"),
            _of(one, "turns", "{:,.0f}"),
            _of(one, "seconds", "{:,.0f} s"),
        )
        for name, used in named
        for one in used
    ]


def _of(used: Used, kind: str, shape: str) -> str:
    spent = shape.format(getattr(used, kind))
    return f"{spent} of {shape.format(used.caps[kind])}" if kind in used.caps else spent
