"""`perdure egress`: what left this machine, and what the owner's rules would say of a request."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from perdure.cli import known
from perdure.cli.common import echo_json, kept_place_of, place_of, table
from perdure.cli.known import COMMAND
from perdure.cli.problems import DONE, FAILED
from perdure.cli.view.clean import one_line
from perdure.kernel.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from perdure.egress import Entry, Rules, Ruling
    from perdure.egress.address import Address

TUNNEL = "CONNECT"
"""What a command in the sandbox asks for before it sends something encrypted."""
_AGO = re.compile(r"(\d{1,6})\s*(m|min|h|d)")
_UNITS = {"m": 60, "min": 60, "h": 3_600, "d": 86_400}


@click.group()
def egress() -> None:
    """See what left this machine, and ask what may.

    Rules stand in perdure.yaml under `egress`.
    """


@egress.command("log")
@click.option(
    "--session", default="", metavar="ID", help="Of one session (the end of its id is enough)."
)
@click.option("--host", default="", metavar="NAME", help="To this host, or one below it.")
@click.option("--since", default="", metavar="WHEN", help="30m, 2h, 7d, or a date: 2026-11-21.")
@click.option("--refused", is_flag=True, help="Only what was not sent, or not answered.")
@click.option("-n", "--limit", default=50, show_default=True, help="The last so many; 0: all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line each.")
@click.pass_context
def log(
    ctx: click.Context,
    session: str,
    host: str,
    since: str,
    refused: bool,
    limit: int,
    as_json: bool,
) -> int:
    """List requests, the newest last. Neither headers, bodies nor a query's values are kept."""
    from collections import deque

    from perdure.egress import EgressLog

    state = kept_place_of(ctx, files=True).state
    found = EgressLog(state / "egress").read(
        session=session, host=host.lower(), since=_since(since)
    )
    wanted = (e for e in found if not refused or e.verdict not in ("sent", "opened"))
    entries = list(deque(wanted, maxlen=limit or None))
    if as_json:
        for entry in entries:
            echo_json(entry)
    elif not entries:
        if session and not any(p.name.endswith(session) for p in (state / "sessions").glob("*")):
            raise NotFound(
                f"there is no session '{session}'", hint="See them: perdure session list"
            )
        click.echo("Nothing.", err=True)
    else:
        rows = [_row(entry) for entry in entries]
        for line in table(("time", "session", "by", "verdict", "in/out", "request"), rows):
            click.echo(line)
    return DONE


@egress.command("check")
@click.argument("url")
@click.option(
    "-X", "--method", default="GET", show_default=True, help="CONNECT: a tunnel of a command."
)
@click.option("--tool", default="", help="As this tool; `command`: from the sandbox.")
@click.option("--agent", default="", help="For this agent.")
@click.pass_context
def check(ctx: click.Context, url: str, method: str, tool: str, agent: str) -> int:
    """Say what becomes of a request, without sending it, or looking its host up.

    Exit code: 1 it is denied, or refused in any case.
    """
    from perdure.agents import open_workspace
    from perdure.egress.address import parse
    from perdure.runtime.outside import rules_of

    workspace = open_workspace(place_of(ctx).root)
    if agent:
        known.check("agent", [agent], known.agents(workspace.private))
    method, address = _method(method), parse(url)
    if method == TUNNEL:
        if tool not in ("", COMMAND):
            raise click.UsageError(f"{tool} makes no tunnels: only {COMMAND} does", ctx)
        tool = COMMAND
    elif tool:
        known.check("tool", [tool], known.tools(workspace.private))
    rules = rules_of(workspace.config.egress, workspace.config.web)
    sealed = address.scheme == "https" and not rules.intercepts(address)
    # What a command sends encrypted is seen as a tunnel, unless it is opened.
    asked = TUNNEL if tool == COMMAND and sealed else method
    ruling = rules.judge(asked, address, tool=tool, agent=agent)
    if ruling.effect != "deny" and (refused := _refused(rules, ruling, asked, address, tool)):
        click.echo(f"{method} {address}: refused ({refused[0]})")
        for line in refused[1:]:
            click.echo(line)
        return FAILED
    what = {
        "allow": "allowed",
        "deny": "denied",
        "ask": "goes out if the call was judged or approved with this address; not from the sandbox",
    }[ruling.effect]
    by = "default" if ruling.rule == "default" else f"rule {ruling.rule!r}"
    click.echo(f"{method} {address}: {what} ({by})")
    if rules.is_private(address):
        click.echo(f"{address.host}:{address.port} may be on this machine or its network.")
    return FAILED if ruling.effect == "deny" else DONE


def _refused(
    rules: Rules, ruling: Ruling, method: str, address: Address, tool: str
) -> tuple[str, ...]:
    """Why it does not leave though no rule denies it, and what lets it; empty: it may leave."""
    from perdure.egress.errors import Refused
    from perdure.egress.judging import not_forbidden
    from perdure.egress.resolve import refused_unasked

    if why := refused_unasked(address, rules.is_private(address)):
        return (
            why,
            "Hosts on this machine or its network are reached only if egress.private names them: "
            f"{address.shown_host}:{address.port}",
        )
    try:
        hint = not_forbidden(rules, ruling, method, address)
    except Refused as error:
        return error.message, error.hint
    if method == TUNNEL and (ruling.effect != "allow" or ruling.rule == "default"):
        names = f'["{address.authority}"]'
        return (
            f"no rule allows all of {address.authority}, and what goes there encrypted cannot be judged",
            f"To allow it, in perdure.yaml: egress: {{allow: {names}}}, or {{intercept: {names}}} to have "
            "it judged",
        )
    if tool == COMMAND and ruling.effect == "ask":
        return "no rule allows it, and nobody approves what commands in the sandbox send", hint
    return ()


def _method(text: str) -> str:
    from difflib import get_close_matches

    from perdure.methods import METHODS

    methods = (*METHODS, TUNNEL)
    if (method := text.upper()) not in methods:
        near = get_close_matches(method, methods, n=1)
        say = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(methods)}"
        raise click.UsageError(f"{text[:20]!r} is no method that may be sent.{say}")
    return method


def _row(entry: Entry) -> tuple[str, ...]:
    at = entry.at.astimezone().strftime("%m-%d %H:%M:%S")
    names = f"?{'&'.join(f'{n}=…' for n in entry.query)}" if entry.query else ""
    secrets = f"  with {', '.join(entry.secrets)}" if entry.secrets else ""
    why = f"  ({entry.why})" if entry.why else ""
    status = f" {entry.status}" if entry.status else ""
    return (
        at,
        entry.session[-8:],
        one_line(entry.tool),
        f"{entry.verdict}{status}",
        f"{entry.received:,}/{entry.sent:,}",
        one_line(f"{entry.method} {entry.host}{entry.path}{names}{secrets}{why}"),
    )


def _since(text: str) -> datetime | None:
    if not text:
        return None
    if match := _AGO.fullmatch(text.strip()):
        return datetime.now(UTC) - timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"--since: {text[:40]!r} is no time", hint="Write 30m, 2h, 7d or 2026-11-21."
        ) from None
    return found if found.tzinfo else found.astimezone()
