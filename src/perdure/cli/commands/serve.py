"""`perdure serve`: the workspace's server, in the foreground or as a background process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import click
import msgspec

from perdure.cli import server_process
from perdure.cli.client import Client, Disconnected
from perdure.cli.common import ago, drive, place_of
from perdure.cli.place import Place, locate_server
from perdure.cli.problems import DONE, FAILED, SERVER, Problem
from perdure.cli.server_process import ServerFile
from perdure.runtime.views import RuntimeStatus, SessionView

STOP_SECONDS = 30.0
"""How long a graceful stop may take before it is called failed."""
LATEST = 200
"""Sessions that are looked at for held ones."""


@click.group(invoke_without_command=True)
@click.option("--host", help="Default: from perdure.yaml, else 127.0.0.1.")
@click.option("--port", type=int, help="Default: from perdure.yaml, else any free one.")
@click.option("-d", "--detach", is_flag=True, help="Start it in the background and return.")
@click.pass_context
def serve(ctx: click.Context, host: str | None, port: int | None, detach: bool) -> int:
    """Run the workspace's server in the foreground.

    Chat, run and the other commands start one in the background when none runs.
    """
    if ctx.invoked_subcommand is not None:
        return DONE
    place = place_of(ctx)
    if not detach:
        from perdure.cli.serving import serve_workspace

        return serve_workspace(place, host=host, port=port)
    if host is not None or port is not None:
        raise Problem(
            "--detach takes host and port from perdure.yaml.",
            hint="server:\n  host: …\n  port: …",
        )
    server = drive(server_process.ensure(place))
    click.echo(f"Listening: {server.url} (process {server.pid})")
    return DONE


def _place(ctx: click.Context) -> Place:
    option = ctx.find_root().obj
    return locate_server(option if isinstance(option, str) else None)


@serve.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> int:
    """Say whether the server runs. Exit code: 0 it does, 1 it does not."""
    place = _place(ctx)
    found = server_process.look(place)
    if found.held and (not found.alive or not _answers(found)):
        raise server_process.unreachable(place, found)
    if found.file is None or not found.alive:
        if as_json:
            click.echo(msgspec.json.encode({"running": False}))
        elif found.file is not None:
            click.echo(f"It does not run: process {found.file.pid} is gone without a good-bye.")
            click.echo(f"Its log: {place.server_log}\nThe next command starts it again.")
        else:
            click.echo("It does not run. The next command that needs it starts it.")
        return FAILED
    report, waiting = drive(_ask(found.file))
    if as_json:
        facts = {
            "running": True,
            "url": found.file.url,
            **msgspec.to_builtins(report),
            "sessions_held": [view.id for view in waiting],
        }
        click.echo(msgspec.json.encode(facts))
        return DONE
    click.echo(f"Running: {found.file.url} (process {report.pid}, {report.memory_mb:.0f} MB)")
    click.echo(f"Since {ago(report.started)}; version {report.version}; {report.workspace}")
    click.echo(f"Sessions: {report.sessions_running} running, {report.sessions_open} open")
    for name in report.dangerous:
        click.echo(click.style(f"DANGEROUS: {name} runs whatever no rule denies", fg="red"))
    for told in report.uncontained:
        click.echo(click.style(f"DANGEROUS: {told}", fg="red"))
    for told in report.unread:
        click.echo(click.style("✗ ", fg="red") + told)
    if report.trouble:
        told = report.trouble.replace("\n", "\n  ")
        click.echo(click.style("✗ ", fg="red") + f"{told}\n  What it said before stays in use.")
    if report.restart:
        keys = ", ".join(report.restart)
        click.echo(f"{keys}: counts from the next start on (perdure serve stop)")
    for view in waiting:
        click.echo(f"Held: {view.id}. Let it go on: perdure session resume {view.id}")
    return DONE


def _answers(found: server_process.Found) -> bool:
    return found.file is not None and drive(server_process.answers(found.file))


async def _ask(server: ServerFile) -> tuple[RuntimeStatus, list[SessionView]]:
    """What it says of itself, and which of its latest sessions are held."""
    async with Client(server.url, server.token) as client:
        views = await client.sessions(limit=LATEST)
        return await client.status(), [view for view in views if view.status == "held"]


@serve.command("stop")
@click.pass_context
def stop(ctx: click.Context) -> int:
    """Stop the server. Running turns go on when it is started again."""
    place = _place(ctx)
    found = server_process.look(place)
    if found.held and not found.alive:
        raise server_process.unreachable(place, found)
    if found.file is None or not found.alive:
        click.echo("It does not run.")
        return DONE
    drive(_stop(place, found.file))
    click.echo("Stopped.")
    return DONE


async def _stop(place: Place, server: ServerFile) -> None:
    if await server_process.answers(server):
        async with Client(server.url, server.token) as client:
            try:
                await client.shutdown()
            except Disconnected:
                os.kill(server.pid, signal.SIGTERM)
    else:
        raise server_process.unreachable(place, server_process.look(place))
    deadline = time.monotonic() + STOP_SECONDS
    while not server_process.gone(place, server.pid):
        if time.monotonic() > deadline:
            raise Problem(
                f"the server (process {server.pid}) did not stop in {STOP_SECONDS:.0f} seconds.",
                hint=f"Its log: {place.server_log}\nTo end it at once, losing nothing: "
                f"kill -9 {server.pid}",
                code=SERVER,
            )
        await asyncio.sleep(0.03)


@serve.command("reload")
@click.pass_context
def reload(ctx: click.Context) -> int:
    """Read agents, policy and hooks again. Exit code: 1 when some file is wrong."""
    place = _place(ctx)

    async def work() -> tuple[tuple[str, ...], tuple[str, ...]]:
        server = await server_process.running(place)
        if server is None and (found := server_process.look(place)).held:
            raise server_process.unreachable(place, found)
        if server is None:
            raise Problem(
                "the server does not run.", hint="It reads all files when it starts.", code=SERVER
            )
        async with Client(server.url, server.token) as client:
            report = await client.reload()
            return report.agents, report.errors

    agents, errors = drive(work())
    click.echo("Agents: " + (", ".join(agents) or "none"))
    for error in errors:
        click.echo(click.style("✗ ", fg="red") + error.replace("\n", "\n  "), file=sys.stderr)
    return FAILED if errors else DONE
