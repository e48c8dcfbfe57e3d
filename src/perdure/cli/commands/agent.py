"""`perdure agent …`: the agents of a workspace, which are files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from perdure.cli.common import place_of, table
from perdure.cli.naming import check_model
from perdure.cli.problems import DONE, FAILED

if TYPE_CHECKING:
    from perdure.agents import Agent, Agents
    from perdure.kernel.errors import ConfigError
    from perdure.tools import Toolbox


@click.group()
def agent() -> None:
    """Create, list, show and check agents. Works without a server."""


def _agents(ctx: click.Context) -> Agents:
    from perdure.agents import Agents, open_workspace

    return Agents(open_workspace(place_of(ctx).root))


@agent.command("create")
@click.argument("name")
@click.option(
    "-m", "--model", metavar="PROVIDER/NAME", default="", help="Default: the workspace's."
)
@click.option("-d", "--description", default="", help="One line about it.")
@click.pass_context
def create(ctx: click.Context, name: str, model: str, description: str) -> int:
    """Write the files of a new agent."""
    from perdure.agents import create_agent, open_workspace

    place = place_of(ctx)
    check_model(model)
    written = create_agent(open_workspace(place.root), name, model=model, description=description)
    for path in written:
        click.echo(click.style(f"  {path.relative_to(place.root)}", dim=True))
    click.echo(f"Talk to it: perdure chat {name}")
    return DONE


@agent.command("list")
@click.pass_context
def list_(ctx: click.Context) -> int:
    """List the workspace's agents."""
    agents = _agents(ctx)
    rows = []
    for entry in agents.list():
        name = entry.name + (" *" if entry.name == agents.default else "")
        if entry.agent is None or entry.error:
            rows.append((name, "broken", entry.error.splitlines()[0]))
        else:
            rows.append((name, entry.agent.model or "rehearsal", entry.agent.description))
    if not rows:
        click.echo("No agent yet. Make one: perdure agent create NAME", err=True)
        return DONE
    for line in table(("AGENT", "MODEL", "DESCRIPTION"), rows):
        click.echo(line)
    return DONE


@agent.command("show")
@click.argument("name", required=False, default="")
@click.pass_context
def show(ctx: click.Context, name: str) -> int:
    """Show what an agent's files come to."""
    agents = _agents(ctx)
    one = agents.get(name)
    click.echo(
        click.style(one.name, bold=True) + (f"  {one.description}" if one.description else "")
    )
    if one.version or one.labels:
        labels = ", ".join(f"{key}: {value}" for key, value in one.labels.items())
        click.echo("  version " + "  ".join(part for part in (one.version or "–", labels) if part))
    click.echo("  model   " + (", then ".join(m.reference for m in one.models) or "rehearsal"))
    click.echo(f"  folder  {one.folder}")
    for path in sorted(p for p in one.folder.rglob("*") if p.is_file()):
        click.echo(click.style(f"          {path.relative_to(one.folder)}", dim=True))
    return DONE


@agent.command("check")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.pass_context
def check(ctx: click.Context, names: tuple[str, ...]) -> int:
    """Check agents' files, policy, tools and hooks: what is wrong, in which file and line.

    Tool and hook files are loaded, which runs them.

    Exit code: 0 all well, 1 something is wrong.
    """
    agents = _agents(ctx)
    wrong = 0
    for name in names or agents.names():
        entry = agents.entry(name)
        found = [entry.error] if entry.error else problems_of(agents, name)
        if entry.agent is not None:
            found += [
                f"{error}\n{error.hint}".strip()
                for _, error in opened(agents, entry.agent)
                if error
            ]
        if found:
            wrong += 1
            click.echo(click.style("✗ ", fg="red") + name)
            for one in found:
                click.echo("  " + one.replace("\n", "\n  "))
        else:
            click.echo(click.style("✓ ", fg="green") + name)
            for warning in entry.agent.warnings if entry.agent is not None else ():
                click.echo("  " + warning)
    return FAILED if wrong else DONE


def problems_of(agents: Agents, name: str) -> list[str]:
    """What keeps an agent with a good agent.yaml from its policy, tools or hooks."""
    from perdure.guard import PolicyFiles
    from perdure.hooks import CommandHook, HookSet
    from perdure.kernel.errors import PerdureError
    from perdure.tools import Toolbox

    private = agents.workspace.private
    own = private / "agents" / name
    found: list[str] = []
    try:
        PolicyFiles(private, name).current()
    except PerdureError as error:
        found.append(str(error))
    toolbox = Toolbox(folders=(private / "tools", own / "tools"))
    found += [*map(str, toolbox.errors), *modules_wrong(toolbox)]
    commands = tuple(
        CommandHook(on=h.on, command=h.command, fail=h.fail, timeout=h.timeout, tools=h.tools)
        for h in agents.get(name).hooks
    )
    hooks = HookSet((private / "hooks", own / "hooks"), lambda: commands)
    try:
        found += hooks.reload()
    finally:
        hooks.close()
    return found


def modules_wrong(toolbox: Toolbox) -> list[str]:
    """Which WebAssembly modules cannot be run. Compiles them, each in a process of its own."""
    import asyncio

    from perdure.tools.wasm import WasmTool, installed, problem_of

    found = [toolbox.get(name) for name in toolbox.names()]
    tools = [tool for tool in found if tool is not None and issubclass(tool, WasmTool)]

    async def look() -> list[str]:
        return [f"{t.manifest.file}: {why}" for t in tools if (why := await problem_of(t))]

    return asyncio.run(look()) if tools and installed() else []


def opened(agents: Agents, agent: Agent) -> list[tuple[str, ConfigError | None]]:
    """Its models, each with what keeps it from being opened. Asks no server."""
    from perdure.kernel.errors import ConfigError
    from perdure.models.credentials import Credentials, config_folder
    from perdure.models.registry import Models
    from perdure.models.wire import Http
    from perdure.runtime.cast import Cast

    credentials = Credentials(config_folder(os.environ), os.environ)
    models = Models(Http(), credentials, base=agents.workspace.root)
    found: list[tuple[str, ConfigError | None]] = []
    for one, spec in zip(agent.models, Cast.specs(agent, ""), strict=False):
        try:
            models.open(spec)
        except ConfigError as error:
            found.append((one.reference, error))
        else:
            found.append((one.reference, None))
    return found
