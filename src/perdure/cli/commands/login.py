"""`perdure login`: keys of model providers, into the encrypted store."""

from __future__ import annotations

import asyncio
import os
import sys

import click

from perdure.cli.common import drive, table
from perdure.cli.naming import check_provider
from perdure.cli.problems import DONE, USAGE, Problem


@click.command()
@click.argument("provider", required=False)
@click.option(
    "--key", "paste", is_flag=True, help="Paste a key, also where a browser login exists."
)
@click.option(
    "--base-url",
    "at",
    metavar="URL",
    default="",
    help="For the server at this address alone, e.g. a proxy or a compatible server.",
)
@click.option("--remove", is_flag=True, help="Forget the stored key.")
@click.option("--anyway", is_flag=True, help="Also for a provider that is not known.")
@click.option("--list", "listing", is_flag=True, help="List the providers that have a key.")
def login(
    provider: str | None, paste: bool, at: str, remove: bool, anyway: bool, listing: bool
) -> int:
    """Store a model provider's key, encrypted, outside of any workspace.

    A provider's key is sent to that provider's own servers only. For a server named by base_url it is
    stored for that address.

    \b
    perdure login openrouter              in the browser
    perdure login anthropic               asks for the key (it is not shown)
    perdure login openai < key.txt        reads it from stdin
    perdure login my-box --base-url http://box:8000/v1
    """
    from perdure.models.credentials import Credentials, config_folder
    from perdure.models.oauth import offers_login
    from perdure.models.places import origin

    credentials = Credentials(config_folder(os.environ), os.environ)
    if listing:
        rows = [
            (one.provider + (f" at {one.at}" if one.at else ""), one.source, one.where)
            for one in credentials.list()
        ]
        if not rows:
            click.echo("No provider has a key yet: perdure login PROVIDER", err=True)
        for line in table(("PROVIDER", "FROM", "WHERE"), rows) if rows else ():
            click.echo(line)
        return DONE
    if provider is None:
        raise Problem("which provider?", hint=_choices(), code=USAGE)
    row = _known(provider, anyway=anyway or remove or bool(at))
    if remove:
        credentials.remove(row, at)
        click.echo(f"The key for {row} is forgotten.")
        return DONE
    if not sys.stdin.isatty():
        key = sys.stdin.readline()
    elif offers_login(row) and not paste and not at:
        key = drive(_in_browser(row))
    else:
        key = _ask(row)
    credentials.set(row, key, at)
    variable = next((v for v in credentials.variables(row) if os.environ.get(v)), "")
    where = f" at {origin(at)}" if at else ""
    click.echo(f"The key for {row}{where} is stored, encrypted, in {credentials.folder}.")
    if variable and not at:
        click.echo(f"Note: ${variable} is set and comes first.")
    click.echo(click.style("A running server uses it from its next model call on.", dim=True))
    return DONE


def _known(provider: str, *, anyway: bool) -> str:
    from perdure.models.providers import find

    row = find(provider)
    if row is not None:
        return row.name
    if not anyway:
        check_provider(
            provider,
            hint=f"For a server of your own: perdure login {provider} --base-url URL",
        )
    return provider


def _choices() -> str:
    from perdure.models.providers import PROVIDERS

    names = [row.name for row in PROVIDERS.values() if row.key == "needed"]
    return "perdure login " + " | ".join(names)


def _ask(provider: str) -> str:
    from perdure.models.providers import find

    row = find(provider)
    if row is not None and row.keys_at:
        click.echo(f"Keys are made at {row.keys_at}")
    return str(click.prompt(f"Key for {row.title if row else provider}", hide_input=True))


async def _in_browser(provider: str) -> str:
    from perdure.models.oauth import login as begin
    from perdure.models.wire import Http

    http = Http()
    try:
        async with begin(provider, http) as attempt:
            click.echo(f"Log in here:\n\n  {attempt.url}\n")
            opened = await asyncio.to_thread(click.launch, attempt.url)
            if opened != 0:
                click.echo("Open that address in a browser.")
            click.echo("Waiting. If the browser runs elsewhere, paste the address it ends at:")
            return await attempt.key(paste=_pasted)
    finally:
        await http.close()


async def _pasted() -> str:
    """One line of stdin, without a thread that could not be cancelled."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def ready() -> None:
        loop.remove_reader(sys.stdin.fileno())
        if not line.done():
            line.set_result(sys.stdin.readline())

    loop.add_reader(sys.stdin.fileno(), ready)
    try:
        return await line
    finally:
        loop.remove_reader(sys.stdin.fileno())
