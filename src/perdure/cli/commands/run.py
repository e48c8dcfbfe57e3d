"""`perdure run`: one message, one answer, an exit code."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from perdure.cli.asking import Asker, person
from perdure.cli.common import (
    drive,
    echo_json,
    place_of,
    resolve,
    styled,
    terminal_width,
    title_of,
)
from perdure.cli.link import Link, Lost, Stopped, message_key
from perdure.cli.place import Place
from perdure.cli.problems import (
    DONE,
    FAILED,
    NEEDS_APPROVAL,
    SERVER,
    STOPPED,
    USAGE,
    WORKSPACE,
    Problem,
)
from perdure.cli.view.blocks import Answer, Note, Said, ToolDone
from perdure.cli.view.story import CUT_OFF, Story
from perdure.kernel import events as e
from perdure.kernel.errors import Conflict, NotFound
from perdure.kernel.limits import told


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    text: str
    agent: str | None
    model: str
    session: str | None
    workdir: str
    deliver: str
    as_json: bool
    quiet: bool


class Outcome(msgspec.Struct, kw_only=True):
    """What `--json` prints."""

    session: str
    message: str
    turn: str = ""
    reason: str = ""
    """A turn's end (done, stopped, failed, limit, budget, blocked), or `approval`, or `pending`: the server
    was stopped before that."""
    text: str = ""
    error: str = ""
    cost_usd: float = 0.0
    unpriced: bool = False
    usage: e.Usage = e.Usage()
    cut_off: bool = False
    """`text` ended at the model's output limit."""
    approvals: list[e.ApprovalRequested] = []


_CODES = {"done": DONE, "approval": NEEDS_APPROVAL, "stopped": STOPPED, "pending": SERVER}


@click.command()
@click.argument("prompt", nargs=-1)
@click.option("-a", "--agent", metavar="NAME", help="The agent to ask. Default: the workspace's.")
@click.option(
    "-m", "--model", metavar="PROVIDER/NAME", default="", help="Another model, this once."
)
@click.option("-s", "--session", metavar="ID", help="Go on in this session ('last': the latest).")
@click.option(
    "-C",
    "--workdir",
    type=click.Path(exists=True, file_okay=False),
    default=".",
    help="The folder the agent works in. Default: this one.",
)
@click.option("--deliver", metavar="NAME", default="", help="Also send the answer to this outbox.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object with all there is to know."
)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress on stderr.")
@click.pass_context
def run(
    ctx: click.Context,
    prompt: tuple[str, ...],
    agent: str | None,
    model: str,
    session: str | None,
    workdir: str,
    deliver: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Ask one thing, print the answer, leave.

    What is piped in is appended to the prompt:  git diff | perdure run "review this"

    What needs your approval is asked right here, if you sit at a terminal; else the command ends
    with exit code 3 and the agent waits: perdure approvals

    Exit code: 0 done, 1 failed or a limit or budget was met, 3 the agent waits for your approval,
    4 a file of the workspace is wrong (perdure.yaml, policy.yaml, an agent.yaml that never was good)
    and nothing was asked, 5 the server was stopped, 130 the turn was.
    """
    text = _with_stdin(" ".join(prompt))
    if not text.strip():
        raise Problem(
            "there is nothing to ask.",
            hint='Say it: perdure run "what is in this folder?"\nOr talk: perdure chat',
            code=USAGE,
        )
    request = Request(
        text=text,
        agent=agent,
        model=model,
        session=session,
        workdir=str(Path(workdir).resolve()),
        deliver=deliver,
        as_json=as_json,
        quiet=quiet or as_json,
    )
    return drive(_run(place_of(ctx), request))


def _with_stdin(prompt: str) -> str:
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return prompt
    data = sys.stdin.buffer.read() if _readable() else b""
    piped = data.decode("utf-8", "replace").strip("\n")
    return f"{prompt}\n\n{piped}" if prompt and piped else prompt or piped


def _readable() -> bool:
    """Whether stdin is a pipe or a file with an end. A socket or an idle descriptor handed down by
    cron, ssh or a supervisor would block for ever."""
    import os
    import stat

    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISFIFO(mode)


async def _run(place: Place, request: Request) -> int:
    async with Link(place) as link:
        client = link.client
        if request.session is not None:
            view = await resolve(client, request.session)
            if request.model:
                await client.configure(view.id, model=request.model)
        else:
            view = await link.call(
                lambda c: c.create_session(
                    agent=request.agent,
                    workdir=request.workdir,
                    model=request.model,
                    title=title_of(request.text),
                ),
                again=False,
            )
            view = await client.session(view.id)
        if view.mode == "broken":
            if request.session is None:
                await client.delete(view.id)
            raise Problem(f"nothing was asked: {view.wrong}", code=WORKSPACE)
        if view.wrong and not request.quiet:
            click.echo(click.style(view.wrong, fg="yellow"), err=True)
        key = message_key()
        accepted = await link.call(
            lambda c: c.send(
                view.id,
                [{"type": "text", "text": request.text}],
                key=key,
                deliver=request.deliver,
            )
        )
        outcome = Outcome(session=view.id, message=accepted.message)
        try:
            await _watch(link, outcome, view.seq, request)
        except asyncio.CancelledError:
            await link.client.stop(view.id, "Ctrl-C")
            raise
        _report(outcome, request)
        return _CODES.get(outcome.reason, FAILED)


async def _watch(link: Link, outcome: Outcome, before: int, request: Request) -> None:
    """Follow the session until the turn that took the message ended, or needs its owner."""
    story = Story()
    progress = _Progress(request)
    turn = limit = ""
    asks, asker = person() and not request.as_json, Asker()
    answered: set[e.ApprovalId] = set()
    feed = link.follow(outcome.session, before)
    async for thing in feed:
        if not isinstance(thing, e.Record):
            if isinstance(thing, Stopped):
                outcome.reason = "pending"
                break
            if isinstance(thing, Lost):
                progress.say(Note(text="connection lost; waiting for the server"))
            continue
        story.feed(thing)
        event = thing.event
        if isinstance(event, e.TurnStarted | e.MessagesTaken) and outcome.message in event.messages:
            turn = outcome.turn = story.turn or ""
            story.cost_usd, story.unpriced, story.usage = 0.0, False, e.Usage()
            story.last_text, story.cut_off = "", False
        for block in story.take():
            progress.say(block)
        if turn and isinstance(event, e.LimitReached):
            limit = told(event)
        if turn and isinstance(event, e.ApprovalRequested) and event.approval not in answered:
            waiting = await link.client.approvals(outcome.session)
            outcome.approvals = [one.request for one in waiting]
            if not asks or not await _answered(link, asker, outcome, answered):
                outcome.reason = "approval"
                break
            outcome.approvals = []
        if turn and isinstance(event, e.TurnEnded) and event.turn == turn:
            outcome.reason, outcome.error = event.reason, event.error or limit
            break
    await feed.aclose()  # type: ignore[attr-defined]
    outcome.text, outcome.usage = story.last_text, story.usage
    outcome.cut_off = story.cut_off
    outcome.cost_usd, outcome.unpriced = story.cost_usd, story.unpriced


async def _answered(
    link: Link, asker: Asker, outcome: Outcome, answered: set[e.ApprovalId]
) -> bool:
    """Have the person answer all that waits. False: they are gone."""
    while waiting := outcome.approvals:
        given = await asker.ask(waiting)
        if given is None:
            return False
        try:
            await link.client.decide_all(outcome.session, given)
        except (Conflict, NotFound) as error:  # answered elsewhere meanwhile, or expired
            click.echo(str(error), err=True)
        answered |= {one.approval for one in given}
        left = await link.client.approvals(outcome.session)
        outcome.approvals = [one.request for one in left if one.request.approval not in answered]
    return True


class _Progress:
    """Shows on stderr what is done, when a person watches. The answer itself goes to stdout."""

    def __init__(self, request: Request) -> None:
        self._on = not request.quiet and sys.stderr.isatty()
        self._held: Answer | None = None

    def say(self, block: object) -> None:
        if not self._on or isinstance(block, Said):
            return
        if isinstance(block, Note) and block.text == CUT_OFF:
            return  # stands below the answer
        from perdure.cli.view.paint import painter

        if isinstance(block, Answer):
            # Only what turns out not to be the last word is progress.
            self._held = block
            return
        if isinstance(block, ToolDone | Note):
            paint = painter(terminal_width(), styled=styled(sys.stderr))
            if self._held is not None:
                click.echo("\n".join(paint.block(self._held)) + "\n", err=True)
                self._held = None
            click.echo("\n".join(paint.block(block)) + "\n", err=True)


def _report(outcome: Outcome, request: Request) -> None:
    if outcome.reason == "pending":
        click.echo("the server was stopped; the turn goes on when it starts again", err=True)
    if request.as_json:
        echo_json(outcome)
        return
    if outcome.reason == "approval":
        _ask_for_approval(outcome)
        return
    if outcome.reason == "pending":
        return
    if outcome.text:
        if styled():
            from perdure.cli.view.paint import painter

            paint = painter(terminal_width(), styled=True)
            click.echo("\n".join(paint.block(Answer(markdown=outcome.text))))
        else:
            click.echo(outcome.text)
        if outcome.cut_off:
            sys.stdout.flush()
            click.echo(click.style(CUT_OFF, fg="yellow"), err=True)
    if outcome.reason not in ("done", "stopped") and not sys.stderr.isatty():
        click.echo(f"perdure: {outcome.reason}: {outcome.error or 'no more is known'}", err=True)


def _ask_for_approval(outcome: Outcome) -> None:
    from perdure.cli.view.blocks import Asked
    from perdure.cli.view.paint import painter

    paint = painter(terminal_width(), styled=styled(sys.stderr))
    click.echo("The agent waits for your approval:", err=True)
    for request in outcome.approvals:
        click.echo("\n".join(paint.block(Asked(request=request))), err=True)
    first = outcome.approvals[0].approval if outcome.approvals else "ID"
    click.echo(
        f"\nAnswer here:  perdure approvals {first} allow   (or: deny)\n"
        f"Or go there:  perdure attach {outcome.session}",
        err=True,
    )
