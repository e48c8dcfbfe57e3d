"""`perdure init`: a workspace, with as few questions as can be."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from perdure.cli.naming import check_model
from perdure.cli.place import CONFIG
from perdure.cli.problems import DONE


@click.command()
@click.argument("folder", required=False, type=click.Path(file_okay=False))
@click.option("-y", "--yes", is_flag=True, help="Ask nothing.")
@click.option(
    "-m", "--model", metavar="PROVIDER/NAME", help="The model, e.g. anthropic/claude-sonnet-5-5."
)
@click.option("-a", "--agent", metavar="NAME", default="default", show_default=True)
@click.pass_context
def init(ctx: click.Context, folder: str | None, yes: bool, model: str | None, agent: str) -> int:
    """Create a workspace in FOLDER.

    FOLDER is this one, or ~/perdure when you are in your home folder. Files that exist are left as
    they are.
    """
    from perdure.agents import scaffold

    option = ctx.find_root().obj
    root = _root(folder or (option if isinstance(option, str) else None))
    asks = not yes and sys.stdin.isatty() and sys.stdout.isatty()
    there = (root / CONFIG).exists()
    if model is None and not there:
        model = _ask_model() if asks else ""
    check_model(model or "")
    written = scaffold(root, agent=agent, model=model or "")
    if not written:
        click.echo(f"{root} is a workspace already; nothing was changed.")
        return DONE
    click.echo(f"Workspace: {root}")
    for path in written:
        click.echo(click.style(f"  {path.relative_to(root)}", dim=True))
    if not model and not there:
        click.echo(
            "\nNo model is set, so the built-in rehearsal answers: simple rules, to try it out.\n"
            "To connect a model: perdure login PROVIDER, then `model:` in perdure.yaml."
        )
    here = root == Path.cwd() or root in Path.cwd().parents
    where = "" if here or root == Path.home() / "perdure" else f"cd {root} && "
    click.echo(f"\nTalk to it: {where}perdure")
    return DONE


def _root(folder: str | None) -> Path:
    if folder is not None:
        return Path(folder).expanduser().resolve()
    here = Path.cwd()
    return here / "perdure" if here == Path.home() else here


def _ask_model() -> str:
    """One question, with an answer that fits the keys there are."""
    from perdure.models.credentials import Credentials, config_folder
    from perdure.models.providers import PROVIDERS

    known = [one.provider for one in Credentials(config_folder(os.environ), os.environ).list()]
    suggestions = [
        f"{row.name}/{row.example}" for name in known if (row := PROVIDERS[name]).example
    ]
    if suggestions:
        click.echo("Found a key for: " + ", ".join(known))
        return str(click.prompt("Model", default=suggestions[0]))
    click.echo("No model provider's key was found. Leave empty to try Perdure without a model.")
    return str(click.prompt("Model (provider/name)", default="", show_default=False))
