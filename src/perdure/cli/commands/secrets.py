"""`perdure secrets`: keys that agents use without seeing them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from perdure.cli import known
from perdure.cli.common import ago, echo_json, kept_place_of, place_of, table
from perdure.cli.problems import DONE, USAGE, Problem

if TYPE_CHECKING:
    from perdure.agents import Workspace
    from perdure.runtime.audit import Audited
    from perdure.secrets import Binding, Vault

F = TypeVar("F", bound=Callable[..., Any])
USES_SHOWN = 10


def _bound(command: F) -> F:
    """Options that say where a secret may be used."""
    for option in reversed(
        (
            click.option("--host", "hosts", multiple=True, metavar="H",
                         help="api.example.com, *.example.com, host:8443; repeatable."),
            click.option("--header", "headers", multiple=True, metavar="TEMPLATE",
                         help="'X-Api-Key: {}'. Default: 'Authorization: Bearer {}'."),
            click.option("--query", "queries", multiple=True, metavar="NAME",
                         help="A query parameter it may stand in."),
            click.option("--path", is_flag=True, help="It may stand in the path."),
            click.option("--body", is_flag=True, help="It may stand in the body."),
            click.option("--tool", "tools", multiple=True, metavar="T",
                         help="A tool that may use it. Default: http_request."),
            click.option("--method", "methods", multiple=True, metavar="M",
                         help="Only in such requests, e.g. GET."),
            click.option("--agent", "agents", multiple=True, metavar="A",
                         help="Only for these agents."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


@click.group()
def secrets() -> None:
    """Keys that agents use without seeing them.

    A model writes secret://NAME where the key belongs. The value is put in as the request leaves, and
    only where you bound it to: these hosts, this header, these tools.

    \b
    perdure secrets set github --host api.github.com
    perdure secrets set maps --host maps.example.com --query key < key.txt
    perdure secrets audit github
    """


def _vault(ctx: click.Context) -> Vault:
    import os

    from perdure.sealing import config_folder
    from perdure.secrets import Vault

    return Vault(kept_place_of(ctx, files=True).state, config_folder(os.environ))


@secrets.command("set")
@click.argument("name")
@click.argument("value", required=False, default=None, metavar="")
@_bound
@click.pass_context
def set_(ctx: click.Context, /, name: str, value: str | None, **bound: Any) -> int:
    """Store a secret. Its value is asked for, or read from stdin; never given here."""
    _not_here(value, f"perdure secrets set {name}")
    from perdure.secrets import name_of
    from perdure.secrets.bindings import DEFAULT_HEADER, DEFAULT_TOOL, checked

    name_of(name)
    vault = _vault(ctx)
    _there(ctx, bound)
    if not any((bound["headers"], bound["queries"], bound["path"], bound["body"])):
        bound["headers"] = (DEFAULT_HEADER,)
    bound["tools"] = bound["tools"] or (DEFAULT_TOOL,)
    binding = checked(_binding(bound))  # before anybody types a value
    secret = vault.set(name, _ask(name), binding)
    click.echo(f"secret://{secret.name} is stored, encrypted. It may be used:")
    for line in _lines(secret.binding):
        click.echo(f"  {line}")
    if not secret.binding.hosts:
        click.echo(f"Name a host before it can be used: perdure secrets grant {name} --host H")
    return DONE


@secrets.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> int:
    """Names, bindings, ages and last uses; never values."""
    vault = _vault(ctx)
    found, last = vault.list(), vault.uses.last()
    if as_json:
        import msgspec

        echo_json([{**msgspec.to_builtins(one), "last_use": last.get(one.name)} for one in found])
        return DONE
    if not found:
        click.echo("There is no secret yet: perdure secrets set NAME --host H", err=True)
        return DONE
    rows = [
        (
            one.name,
            ", ".join(one.binding.hosts) or "nowhere",
            ", ".join(one.binding.tools),
            ", ".join(one.binding.agents) or "all",
            ago(one.changed),
            ago(last[one.name]) if one.name in last else "never",
            "; ".join(one.binding.places),
        )
        for one in found
    ]
    for line in table(("NAME", "HOSTS", "TOOLS", "AGENTS", "SET", "LAST USE", "WHERE"), rows):
        click.echo(line)
    return DONE


@secrets.command("rotate")
@click.argument("name")
@click.argument("value", required=False, default=None, metavar="")
@click.pass_context
def rotate(ctx: click.Context, name: str, value: str | None) -> int:
    """Another value for the same secret; its bindings stay."""
    _not_here(value, f"perdure secrets rotate {name}")
    vault = _vault(ctx)
    vault.get(name)
    vault.rotate(name, _ask(name))
    click.echo(f"secret://{name} has a new value. The next request uses it.")
    return DONE


@secrets.command("remove")
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> int:
    """Forget a secret. What was recorded of its uses stays."""
    vault = _vault(ctx)
    vault.remove(name)
    click.echo(f"secret://{name} is forgotten. Revoke it where it was issued, if it may be known.")
    return DONE


@secrets.command("grant")
@click.argument("name")
@_bound
@click.pass_context
def grant(ctx: click.Context, /, name: str, **bound: Any) -> int:
    """Let a secret be used at more places. Shows what changes."""
    if not any(bound.values()):
        raise Problem("grant what?", hint="Name a --host, --header, --tool, …", code=USAGE)
    vault = _vault(ctx)
    _there(ctx, bound)
    before, after = vault.grant(name, _binding(bound))
    had, has = _lines(before), _lines(after)
    new = [line for line in has if line not in had]
    if not new:
        click.echo(f"secret://{name} may be used there already; nothing changes.")
    for line in has:
        click.echo(click.style(f"+ {line}", fg="green") if line in new else f"  {line}")
    for line in had:
        if line not in has:
            click.echo(click.style(f"- {line}", fg="red"))
    return DONE


@secrets.command("audit")
@click.argument("name", required=False, default="")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every recorded use.")
@click.pass_context
def audit_(ctx: click.Context, name: str, as_json: bool) -> int:
    """Everything that can use each secret, and its uses; models' keys and server tokens too."""
    from perdure.agents import open_workspace
    from perdure.runtime.audit import audit
    from perdure.secrets import name_of

    workspace, vault = open_workspace(place_of(ctx).root), _vault(ctx)
    rows = audit(workspace, vault, name_of(name) if name else "")
    if not name:
        rows += _tokens(workspace)
    if as_json:
        echo_json(rows)
        return DONE
    for row in rows:
        for line in _audited(row):
            click.echo(line)
    return DONE


def _tokens(workspace: Workspace) -> list[Audited]:
    """Those that were handed out; of them only digests are kept."""
    from perdure.runtime.audit import SERVER, Audited
    from perdure.server.tokens import FILE, TokenStore

    return [
        Audited(
            name=f"{token.name} ({', '.join(token.scopes)})",
            kind="server token",
            kept=f".perdure/{FILE}, as a digest",
            places=("Authorization: Bearer {} of requests to this server",),
            agents=token.agents or (),
            processes=(f"{SERVER} (digest)", "whoever was given it"),
            created=token.created,
        )
        for token in TokenStore(workspace.private / FILE).list()
    ]


def _audited(row: Audited) -> list[str]:
    lines = [click.style(f"{row.name}", bold=True) + f"  {row.kind}, kept in {row.kept}"]
    facts = (
        ("goes to", row.hosts),
        ("stands in", row.places),
        ("tools", row.tools),
        ("agents", row.agents),
        ("processes", row.processes),
        ("named in", row.named_in),
    )
    lines += [f"  {label}: {', '.join(words)}" for label, words in facts if words]
    if row.kind == "secret":
        lines += [f"  channels: {row.channels}", f"  routes: {row.routes}"]
        lines.append(f"  uses: {len(row.uses) or 'none'} on record")
        for use in row.uses[-USES_SHOWN:]:
            at = use.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
            who = " ".join(filter(None, (use.agent, use.session)))
            end = f"  REFUSED: {use.refused}" if use.refused else ""
            lines.append(f"    {at}  {use.host}  {use.position}  {use.tool}  {who}{end}".rstrip())
    return lines


def _there(ctx: click.Context, bound: dict[str, Any]) -> None:
    """Raises UsageError for a tool or an agent that there is not: what is called so later would get it."""
    private = kept_place_of(ctx, files=True, say=False).state
    if bound["tools"]:
        known.check("tool", bound["tools"], known.tools(private))
    known.check("agent", bound["agents"], known.agents(private))


def _binding(bound: dict[str, Any]) -> Binding:
    from perdure.secrets import Binding

    return Binding(**bound)


def _lines(binding: Binding) -> list[str]:
    return [
        *(f"host {host}" for host in binding.hosts),
        *binding.places,
        *(f"tool {tool}" for tool in binding.tools),
        *(f"only in {method} requests" for method in binding.methods),
        *(f"only for agent {agent}" for agent in binding.agents),
    ]


def _not_here(value: str | None, command: str) -> None:
    if value is not None:
        raise Problem(
            "a secret's value is not given on the command line: other users see it in the list of "
            "processes, and your shell keeps it.",
            hint=f"Change it where it was issued, for it is known now. Then: {command}   (it asks), or\n"
            f"{command} < FILE",
            code=USAGE,
        )


def _ask(name: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(f"Value of {name} (it is not shown)", hide_input=True))
    return sys.stdin.read()
