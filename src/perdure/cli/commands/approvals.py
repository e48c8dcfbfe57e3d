"""`perdure approvals`: what waits for the owner, and the answer to it."""

from __future__ import annotations

import click

from perdure.cli.common import ago, drive, echo_json, kept_place_of, styled, terminal_width
from perdure.cli.link import Link
from perdure.cli.place import Place
from perdure.cli.problems import DONE
from perdure.cli.view.answers import Given
from perdure.cli.view.clean import exact_line
from perdure.kernel.errors import NotFound
from perdure.kernel.events import ApprovalAnswer, ApprovalScope
from perdure.runtime.views import OpenApproval


@click.command()
@click.argument("approval", required=False)
@click.argument("answer", required=False, type=click.Choice(["allow", "deny"]))
@click.option(
    "--scope",
    type=click.Choice(["once", "session", "always", "data"]),
    default="once",
    help="How far an allow reaches; data: vouch for the values asked about, for this session.",
)
@click.option("--note", default="", help="Tell the agent why.")
@click.option("-s", "--session", metavar="ID", help="Only this session's.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def approvals(
    ctx: click.Context,
    approval: str | None,
    answer: ApprovalAnswer | None,
    scope: ApprovalScope,
    note: str,
    session: str | None,
    as_json: bool,
) -> int:
    """See what waits for your approval, and answer.

    \b
    perdure approvals                 list
    perdure approvals ID              show one, whole, however long it is
    perdure approvals ID allow        answer (the end of the id is enough)
    perdure approvals all deny        answer all of them
    """
    place = kept_place_of(ctx)
    if approval is None:
        return drive(_list(place, session, as_json))
    if answer is None:
        return drive(_show(place, session, approval))
    return drive(_answer(place, session, approval, answer, scope, note))


async def _list(place: Place, session: str | None, as_json: bool) -> int:
    async with Link(place) as link:
        waiting = await link.client.approvals(session)
    if as_json:
        echo_json(waiting)
    elif not waiting:
        click.echo("Nothing waits for your approval.", err=True)
    for one in () if as_json else waiting:
        _print(one)
    return DONE


async def _show(place: Place, session: str | None, reference: str) -> int:
    async with Link(place) as link:
        _print(_find(await link.client.approvals(session), reference), whole=True)
    return DONE


async def _answer(
    place: Place,
    session: str | None,
    reference: str,
    answer: ApprovalAnswer,
    scope: ApprovalScope,
    note: str,
) -> int:
    async with Link(place) as link:
        waiting = await link.client.approvals(session)
        meant = waiting if reference == "all" else [_find(waiting, reference)]
        sessions = {
            one.session: [m.request for m in meant if m.session == one.session] for one in meant
        }
        for id_, requests in sessions.items():
            given = [
                Given(approval=r.approval, answer=answer, scope=scope, note=note) for r in requests
            ]
            await link.client.decide_all(id_, given)
            word = "Allowed" if answer == "allow" else "Denied"
            tools = ", ".join(exact_line(r.tool) for r in requests)
            click.echo(f"{word}: {tools}. The session goes on: perdure attach {id_}")
    if not meant:
        click.echo("Nothing waits for your approval.", err=True)
    return DONE


def _find(waiting: list[OpenApproval], reference: str) -> OpenApproval:
    near = [
        one
        for one in waiting
        if one.request.approval == reference or one.request.approval.endswith(reference)
    ]
    if len(near) != 1:
        raise NotFound(
            f"no approval '{reference}' waits" if not near else f"'{reference}' is not unique",
            hint="See them: perdure approvals",
        )
    return near[0]


def _print(one: OpenApproval, *, whole: bool = False) -> None:
    from perdure.cli.view.blocks import Asked
    from perdure.cli.view.paint import painter

    paint = painter(terminal_width(), styled=styled())
    head = f"{one.request.approval}  session {one.session}  {ago(one.at)}"
    if (expires := one.request.expires) is not None:
        head += f"  until {expires.astimezone():%Y-%m-%d %H:%M}, then denied"
    click.echo(click.style(head, dim=True))
    click.echo("\n".join(paint.block(Asked(request=one.request, whole=whole))))
    click.echo()
