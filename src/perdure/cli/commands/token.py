"""`perdure token`: what others may do with this workspace's server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from perdure.cli.common import ago, kept_place_of, place_of, table
from perdure.cli.problems import DONE, Problem

if TYPE_CHECKING:
    from datetime import datetime

    from perdure.server.tokens import TokenStore

SCOPES = ("read", "chat", "approve", "admin")
TRUST = ("owner", "known", "third_party")


def _store(ctx: click.Context) -> TokenStore:
    from perdure.agents.workspace import PRIVATE
    from perdure.server.tokens import FILE, TokenStore

    return TokenStore(kept_place_of(ctx, files=True).root / PRIVATE / FILE)


@click.group()
def token() -> None:
    """Hand out, list and revoke tokens for the server.

    A running server takes notice at once. Only digests are kept, so a token is shown once.
    """


@token.command("create")
@click.argument("name")
@click.option(
    "-s",
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="read: see sessions. chat: also talk. approve: also answer for the owner. admin: all. "
    "Repeatable; default: read.",
)
@click.option("-a", "--agent", "agents", multiple=True, help="Only for these agents; repeatable.")
@click.option(
    "--days", type=click.FloatRange(0, 3660, min_open=True), default=90, show_default=True
)
@click.option("--forever", is_flag=True, help="It does not expire.")
@click.option(
    "--trust",
    type=click.Choice(TRUST),
    help="Whose words its messages are. Default: owner if it may approve, else known.",
)
@click.pass_context
def create(
    ctx: click.Context,
    name: str,
    scopes: tuple[str, ...],
    agents: tuple[str, ...],
    days: float,
    forever: bool,
    trust: str | None,
) -> int:
    """Make a token and print it, this once."""
    wanted = scopes or ("read",)
    from perdure.server.tokens import default_trust

    _known(ctx, agents)
    words = trust or default_trust(wanted)  # type: ignore[arg-type]
    store = _store(ctx)
    if had := [t for t in store.list() if t.name == name]:
        state = "" if store.alive(had[0].id) else ", expired"
        raise Problem(
            f"there is a token called {name} already ({had[0].id}{state}).",
            hint=f"Take it back first: perdure token revoke {had[0].id}\nOr choose another name.",
        )
    _, text = store.create(
        name,
        wanted,  # type: ignore[arg-type]  # click has checked them
        agents=agents or None,
        days=None if forever else days,
        trust=words,  # type: ignore[arg-type]
    )
    until = "for ever" if forever else f"for {days:g} days"
    where = f", agents {', '.join(agents)}" if agents else ""
    whose = {"owner": "yours", "known": "those of somebody you know"}
    said = f"{name}: {', '.join(wanted)}{where}; {until}"
    if {"chat", "admin"} & set(wanted):
        said += f"; its messages count as {whose.get(words, 'a third party')}"
    click.echo(f"{said}.", err=True)
    click.echo(text)
    return DONE


def _known(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Raises NotFound, with the nearest name: a token for an agent that is not there opens nothing, and
    would open whatever is called so later."""
    if names:
        from perdure.agents import Agents, open_workspace

        agents = Agents(open_workspace(place_of(ctx).root))
        for name in names:
            agents.entry(name)


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> int:
    """Who has a token, for what, and until when."""
    store = _store(ctx)
    found = store.list()
    if as_json:
        import msgspec

        kept = [
            {k: v for k, v in msgspec.to_builtins(t).items() if k != "digest"}
            | {"alive": store.alive(t.id)}
            for t in found
        ]
        click.echo(msgspec.json.encode(kept))
        return DONE
    if not found:
        click.echo("No tokens were handed out.", err=True)
        return DONE
    rows = [
        (
            t.id,
            t.name,
            ",".join(t.scopes),
            ",".join(t.agents or ("all",)),
            ago(t.created),
            _until(t.expires) if store.alive(t.id) else "expired",
        )
        for t in found
    ]
    for line in table(("ID", "NAME", "SCOPES", "AGENTS", "MADE", "EXPIRES"), rows):
        click.echo(line)
    return DONE


def _until(expires: datetime | None) -> str:
    return "never" if expires is None else f"{expires:%Y-%m-%d}"


@token.command("revoke")
@click.argument("reference", metavar="ID_OR_NAME")
@click.pass_context
def revoke(ctx: click.Context, reference: str) -> int:
    """Take a token back, and all that were made with it. Its open streams end within a second."""
    store = _store(ctx)
    kept = store.list()
    near = [t for t in kept if t.name == reference] or [
        t for t in kept if t.id.startswith(reference)
    ]
    if len(near) != 1:
        raise Problem(
            f"'{reference}' names {len(near) or 'no'} token{'s' if near else ''}.",
            hint="\n".join(f"perdure token revoke {t.id}   (made {ago(t.created)})" for t in near)
            or "See them: perdure token list",
        )
    for gone in store.revoke(near[0].id):
        click.echo(f"Revoked: {gone.name} ({gone.id})")
    return DONE
