"""`perdure sandbox …`: what keeps commands inside here, and whether it holds."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from perdure.cli.common import drive, echo_json, place_of
from perdure.cli.problems import DONE, FAILED

if TYPE_CHECKING:
    from perdure.cli.place import Place
    from perdure.sandbox import Confines
    from perdure.sandbox.means import Means
    from perdure.sandbox.probing import Result

SIGNS = {
    "enforced": ("✓", "green"),
    "held": ("✓", "green"),
    "not enforced": ("✗", "red"),
    "broken": ("✗", "red"),
    "not tested": ("•", "yellow"),
    "untried": ("•", "yellow"),
}


@click.group()
def sandbox() -> None:
    """See what keeps commands inside on this machine, and try it."""


@sandbox.command("status")
@click.option("-a", "--agent", metavar="NAME", help="With this agent's settings.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def status(ctx: click.Context, agent: str | None, as_json: bool) -> int:
    """Say which control is enforced by what, measured by attacks on it.

    Exit code: 0 commands are contained, 1 they are not, or cannot run.
    """
    from perdure.kernel.errors import PerdureError
    from perdure.sandbox.status import summary

    confines = confines_for(place_of(ctx), agent)
    if confines.backend == "none":
        return _none(as_json)
    try:
        means, results = drive(_attacked(confines))
    except PerdureError as error:
        if not as_json:
            raise
        echo_json({"backend": None, "error": error.message, "hint": error.hint, "controls": []})
        return FAILED
    found = summary(means, results, confines)
    settings = dataclasses.asdict(confines)
    if as_json:
        listed = [dataclasses.asdict(c) for c in found]
        echo_json({"backend": means.name, "settings": settings, "controls": listed})
    else:
        click.echo(f"Commands are contained by {means.name}{_version(means)}.")
        click.echo(
            f"Network: {_network(confines)}. Memory {confines.memory}, {confines.processes} processes, "
            f"files up to {confines.file_size}."
        )
        width = max(len(c.name) for c in found)
        for one in found:
            sign, color = SIGNS[one.state]
            click.echo(f"{click.style(sign, fg=color)} {one.name:<{width}}  {one.by}")
        click.echo("Every attack by itself: perdure sandbox test")
    tested = [c for c in found if c.attacks]
    return FAILED if any(r.outcome == "broken" for r in results) or not tested else DONE


@sandbox.command("test")
@click.option("-a", "--agent", metavar="NAME", help="With this agent's settings.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def test(ctx: click.Context, agent: str | None, as_json: bool) -> int:
    """Attack the sandbox from inside. Exit code: 0 it held, 1 something got through."""
    confines = confines_for(place_of(ctx), agent)
    means, results = drive(_attacked(confines))
    if as_json:
        listed = [
            {"attack": r.attack.name, "what": r.attack.what, "outcome": r.outcome, "said": r.said}
            for r in results
        ]
        echo_json({"backend": means.name, "attacks": listed})
    else:
        click.echo(f"Attacks on {means.name}, each run as the command of a tool:")
        for one in results:
            sign, color = SIGNS[one.outcome]
            said = f": {one.said}" if one.said and one.outcome != "held" else ""
            click.echo(f"{click.style(sign, fg=color)} {one.attack.what}{said}")
        held = sum(r.outcome == "held" for r in results)
        click.echo(f"{held} of {len(results)} were held.")
    return FAILED if any(r.outcome == "broken" for r in results) else DONE


def confines_for(place: Place, agent: str | None) -> Confines:
    """The settings of one agent, by default of the workspace's default one."""
    from perdure.agents import Agents, open_workspace
    from perdure.runtime.confining import confines_of

    agents = Agents(open_workspace(place.root))
    return confines_of(agents.get(agent or agents.default).sandbox)


async def _attacked(confines: Confines) -> tuple[Means, list[Result]]:
    from perdure.sandbox.probing import attack_all

    means: list[Means] = []
    results = [result async for result in attack_all(confines, chosen=means.append)]
    return means[0], results


def _none(as_json: bool) -> int:
    if as_json:
        echo_json({"backend": "none", "controls": []})
    else:
        click.echo(
            f"{click.style('✗', fg='red')} Commands run without a sandbox: `sandbox.backend` is none."
        )
        click.echo("They can read, change and send whatever you can.")
    return FAILED


def _version(means: Means) -> str:
    return f" ({means.program})" if means.program else ", which is part of Perdure"


def _network(confines: Confines) -> str:
    return {
        "none": "none",
        "proxy": "only through the egress, by the rules in `egress`",
        "open": "open: commands reach everything, unseen",
    }[confines.network]
