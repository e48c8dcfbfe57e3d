"""What may be typed after a slash. The same in every display."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from perdure.cli.chat.conversation import Conversation
from perdure.cli.common import ago
from perdure.cli.problems import Problem
from perdure.cli.view.clean import one_line
from perdure.cli.view.story import money, tokens
from perdure.kernel.errors import PerdureError
from perdure.kernel.events import MessageMode


class Detach(Exception):
    """The person wants to leave."""


Do = Callable[[Conversation, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SlashCommand:
    name: str
    argument: str
    """How its argument is shown in help; empty for none."""
    help: str
    do: Do


async def run(conversation: Conversation, line: str) -> None:
    """Perform a typed line that begins with a slash. Errors become notes; raises Detach."""
    name, _, argument = line[1:].partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        import difflib

        near = difflib.get_close_matches(name, COMMANDS, n=1)
        conversation.note(
            f"There is no command /{one_line(name)}."
            + (f" Did you mean /{near[0]}?" if near else " See /help"),
            "warning",
        )
        return
    try:
        await command.do(conversation, argument.strip())
    except (PerdureError, Problem) as error:
        conversation.fail(error)


def is_command(text: str) -> bool:
    """`/help`, but not `/etc/passwd` nor a comment."""
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    return first.startswith("/") and "/" not in first[1:] and first[1:2].isalpha()


async def _help(conversation: Conversation, argument: str) -> None:
    lines = [f"  /{c.name} {c.argument}".ljust(24) + c.help for c in COMMANDS.values() if c.help]
    conversation.note(HELP + "\n".join(lines), "info")


HELP = """\
Enter            send; while the agent works, it steers: the agent reads it before its next step
Ctrl-Q           send as the next turn instead (/queue)
Alt-Enter        new line (also Ctrl-J, or a \\ at the end of the line)
Ctrl-C           stop the turn; twice: leave. The agent goes on when you leave
@path            name a file (Tab completes); images are sent along
Up, Down         what you typed before

"""


async def _status(conversation: Conversation, argument: str) -> None:
    view = conversation.session
    if view is None:
        conversation.note("No session yet; it begins with your first message.")
        return
    view = conversation.session = await conversation.link.client.session(view.id)
    server = conversation.link.server
    lines = [
        f"session  {view.id}  {view.status}"
        + (f"  “{one_line(view.title)}”" if view.title else ""),
        f"agent    {view.agent}  ({view.model})",
        f"folder   {view.workdir}",
        f"turns    {view.turns}, messages {view.messages}, records {view.seq}",
        f"begun    {ago(view.created)}",
        f"log      {conversation.link.place.state / 'sessions' / view.id / 'events.jsonl'}",
        f"server   {server.url}  (process {server.pid}, {server.version})",
    ]
    conversation.note("\n".join(lines), "info")
    if view.wrong:
        conversation.note(view.wrong, "warning")


async def _model(conversation: Conversation, argument: str) -> None:
    if not argument:
        conversation.note(
            f"model: {conversation.model or 'unknown'}   (change: /model provider/name, "
            "back to the agent's own: /model default)",
            "info",
        )
        return
    await conversation.choose_model("" if argument == "default" else argument)


async def _cost(conversation: Conversation, argument: str) -> None:
    story, usage = conversation.story, conversation.story.usage
    lines = [
        f"cost     {money(story.cost_usd, unpriced=story.unpriced)}"
        + ("   (some calls have no known price)" if story.unpriced else ""),
        f"in       {tokens(usage.input)}"
        + (f", {tokens(usage.cache_read)} of them from the cache" if usage.cache_read else ""),
        f"out      {tokens(usage.output)}",
        f"context  {tokens(story.last_usage.input)} in the latest call",
    ]
    conversation.note("\n".join(lines), "info")


async def _compact(conversation: Conversation, argument: str) -> None:
    await conversation.compact(argument)


async def _new(conversation: Conversation, argument: str) -> None:
    await conversation.fresh(argument or None)


async def _stop(conversation: Conversation, argument: str) -> None:
    if conversation.busy:
        await conversation.stop()
    else:
        conversation.note("No turn is running.")


def _send(mode: MessageMode) -> Do:
    async def send(conversation: Conversation, argument: str) -> None:
        if argument:
            await conversation.send(argument, mode)
        else:
            conversation.note(f"Say what: /{mode} TEXT", "warning")

    return send


async def _title(conversation: Conversation, argument: str) -> None:
    if argument:
        await conversation.rename(argument)
    else:
        conversation.note(f"title: {conversation.story.title or 'none'}", "info")


async def _sessions(conversation: Conversation, argument: str) -> None:
    views = await conversation.link.client.sessions(limit=10)
    lines = [
        f"{view.id}  {view.status:8} {ago(view.updated):12} {one_line(view.title)[:50]}"
        for view in views
    ]
    conversation.note("\n".join(lines) or "No session yet.", "info")


async def _detach(conversation: Conversation, argument: str) -> None:
    raise Detach


COMMANDS = {
    command.name: command
    for command in (
        SlashCommand("help", "", "this", _help),
        SlashCommand("status", "", "the session and the server", _status),
        SlashCommand("model", "[NAME]", "show the model, or take another one", _model),
        SlashCommand("cost", "", "what was used so far", _cost),
        SlashCommand("compact", "[FOCUS]", "sum up what was, to make room", _compact),
        SlashCommand("queue", "TEXT", "send as the next turn", _send("queue")),
        SlashCommand("interrupt", "TEXT", "send now, breaking off the turn", _send("interrupt")),
        SlashCommand("stop", "", "stop the turn", _stop),
        SlashCommand("new", "[AGENT]", "begin a new session", _new),
        SlashCommand("sessions", "", "the latest sessions", _sessions),
        SlashCommand("title", "[TEXT]", "name this session", _title),
        SlashCommand("detach", "", "leave; the agent goes on", _detach),
        SlashCommand("exit", "", "", _detach),
        SlashCommand("quit", "", "", _detach),
    )
}
"""By name. An empty help text keeps an alias out of /help."""
