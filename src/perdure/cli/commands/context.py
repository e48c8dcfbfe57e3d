"""`perdure context ID`: what a model call contained, and why."""

from __future__ import annotations

import click

from perdure.cli.common import drive, kept_place_of, resolve
from perdure.cli.link import Link
from perdure.cli.problems import DONE
from perdure.cli.view.clean import clean
from perdure.kernel.events import Json


@click.command()
@click.argument("reference", metavar="[ID]", required=False)
@click.option("-r", "--request", metavar="ID", help="Which model call. Default: the latest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def context(ctx: click.Context, reference: str | None, request: str | None, as_json: bool) -> int:
    """Show what a model call of a session contained."""

    async def work() -> dict[str, Json]:
        async with Link(kept_place_of(ctx)) as link:
            view = await resolve(link.client, reference)
            return await link.client.context(view.id, request)

    report = drive(work())
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(report))
        return DONE
    for line in _lines(report, 0):
        click.echo(line)
    return DONE


def _lines(value: Json, depth: int) -> list[str]:
    """An outline that reads like YAML; long texts stand indented below their name."""
    pad = "  " * depth
    if isinstance(value, dict):
        lines = []
        for key, inner in value.items():
            name = click.style(f"{pad}{clean(key)}:", bold=depth == 0, fg="cyan")
            if isinstance(inner, dict | list) and inner:
                lines += [name, *_lines(inner, depth + 1)]
            elif isinstance(inner, str) and "\n" in inner:
                lines += [name, *(f"{pad}  {line}" for line in clean(inner).split("\n"))]
            else:
                lines.append(f"{name} {_scalar(inner)}")
        return lines
    if isinstance(value, list):
        lines = []
        for inner in value:
            if isinstance(inner, dict) and inner:
                first, *rest = _lines(inner, depth + 1)
                lines += [f"{pad}- {first.replace('  ' * (depth + 1), '', 1)}", *rest]
            else:
                lines.append(f"{pad}- {_scalar(inner)}")
        return lines
    return [f"{pad}{_scalar(value)}"]


def _scalar(value: Json) -> str:
    if value is None or value == [] or value == {}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return clean(value) if isinstance(value, str) else f"{value}"
