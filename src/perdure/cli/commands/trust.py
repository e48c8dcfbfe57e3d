"""`perdure trust`: whom and what the owner has approved once and for all, `.perdure/trust.yaml`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from perdure.cli.common import echo_json, kept_place_of
from perdure.cli.problems import DONE
from perdure.cli.view.clean import one_line

if TYPE_CHECKING:
    from perdure.guard import TrustFile

KINDS = {
    "address": "addresses",
    "domain": "domains",
    "host": "hosts",
    "account": "accounts",
    "path": "paths",
    "contact": "contacts",
    "list": "lists",
    "person": "people",
}
"""Word on the command line → key in the file."""


@click.group()
def trust() -> None:
    """See and change whom agents may write to, where they may read without asking, and whom you know.

    After an agent has read what others wrote, it asks before anything goes to a place that neither you
    nor this list named. A person whom you know is not thereby one to whom anything may go.
    """


@trust.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> int:
    """Print what is approved."""
    file = _file(ctx)
    entries = file.entries()
    if as_json:
        for e in entries:
            echo_json({"kind": _kind(e.key), "name": e.name, "value": e.value, "line": e.line})
    elif not entries:
        click.echo(
            "Nothing is approved yet. Add one: perdure trust add address ann@example.org", err=True
        )
    for e in [] if as_json else entries:
        named = f"{one_line(e.name)}: " if e.name else ""
        click.echo(f"{_kind(e.key):8} {named}{one_line(e.value)}")
    return DONE


@trust.command("add")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("values", metavar="VALUE...", nargs=-1, required=True)
@click.option(
    "--name", default="", help="Of a contact, approved when you speak of this name; or of a person."
)
@click.pass_context
def add(ctx: click.Context, kind: str, values: tuple[str, ...], name: str) -> int:
    """Approve addresses, all addresses at a domain, web hosts, accounts, paths, contacts, or what a tool
    lists; or say by which sender of messages (SOURCE:SENDER) a person writes to your agents.

    \b
      perdure trust add address ann@example.org
      perdure trust add contact --name "Sarah Baker" sarah@example.net
      perdure trust add list get_channels
      perdure trust add person --name Ann api:ann
    """
    if (kind in ("contact", "person")) != bool(name):
        raise click.UsageError("--name is for a contact or a person, and they need it.", ctx)
    file = _file(ctx)
    for value in values:
        added = file.add(KINDS[kind], value, name)
        done = "Known" if kind == "person" else "Approved"
        told = done if added else f"Was {done.lower()} already"
        click.echo(f"{told}: {one_line(value)}")
    return DONE


@trust.command("remove")
@click.argument("values", metavar="VALUE...", nargs=-1, required=True)
@click.pass_context
def remove(ctx: click.Context, values: tuple[str, ...]) -> int:
    """Take these out; the name of a contact or person takes all that is under it."""
    file = _file(ctx)
    for value in values:
        for entry in file.remove(value):
            done = "Known" if entry.key == "people" else "Approved"
            click.echo(f"{done} no more: {_kind(entry.key)} {one_line(entry.value)}")
    return DONE


def _kind(key: str) -> str:
    return next(word for word, known in KINDS.items() if known == key)


def _file(ctx: click.Context) -> TrustFile:
    from perdure.guard.trust import NAME, TrustFile

    return TrustFile(kept_place_of(ctx, files=True).state / NAME)
