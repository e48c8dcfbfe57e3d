"""A conversation: attaching to what was, sending, and beginning anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from perdure.cli.chat import commands
from perdure.cli.chat.conversation import Conversation
from perdure.cli.chat.start import Start
from perdure.cli.link import Link
from perdure.cli.place import Place
from perdure.cli.view.answers import same
from perdure.cli.view.blocks import Answer, Block, Note, Said
from perdure.kernel import events as e
from perdure.kernel.errors import NotFound

from .fake_server import FakeServer, FakeSession, call, play

Open = Callable[..., Conversation]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeServer]:
    async with FakeServer(play) as server:
        server.write_file(Place(root=tmp_path).server_file)
        yield server


@pytest.fixture
async def begin(server: FakeServer, tmp_path: Path) -> AsyncIterator[Open]:
    opened: list[Conversation] = []
    async with Link(Place(root=tmp_path)) as link:

        def make(session: str | None = None, agent: str | None = None) -> Conversation:
            start = Start(
                agent=agent, model="", workdir=str(tmp_path), session=session, plain=False
            )
            opened.append(Conversation(link, start))
            return opened[-1]

        yield make
        for one in opened:
            await one.close()


def long_session(server: FakeServer, turns: int) -> FakeSession:
    session = FakeSession("s_long", "default", "/w", "", "")
    server.sessions[session.id] = session
    for number in range(turns):
        message, turn = e.MessageId(f"m{number}"), e.TurnId(f"t{number}")
        session.append(
            e.MessageReceived(message=message, parts=(e.Text(text=f"question {number}"),))
        )
        session.append(e.TurnStarted(turn=turn, messages=(message,), limits=e.Limits()))
        session.respond(session.request(), f"answer {number}")
        session.append(e.TurnEnded(turn=turn, reason="done"))
    return session


async def settled(conversation: Conversation) -> None:
    news = asyncio.Event()
    conversation.changed = news.set
    async with asyncio.timeout(10):
        while conversation.busy:
            news.clear()
            await news.wait()


def notes(blocks: list[Block]) -> str:
    return "\n".join(block.text for block in blocks if isinstance(block, Note))


async def test_attaching_to_a_long_session_shows_its_end_and_says_where_the_beginning_is(
    server: FakeServer, begin: Open
) -> None:
    long_session(server, 500)
    conversation = begin("s_long")
    await conversation.open()
    blocks = conversation.take()
    said = [block.text for block in blocks if isinstance(block, Said)]
    assert said[-1] == "question 499"
    assert 50 < len(said) < 100
    assert "perdure session show s_long" in notes(blocks)
    answers = [block.markdown for block in blocks if isinstance(block, Answer)]
    assert answers == [one.replace("question", "answer") for one in said]


async def test_an_approval_older_than_what_is_shown_can_be_answered(
    server: FakeServer, begin: Open
) -> None:
    session = FakeSession("s_waits", "default", "/w", "", "")
    server.sessions[session.id] = session
    edit = call("edit", path="a")
    waiting = asyncio.create_task(session.ask(edit, "asks", "a diff"))
    await asyncio.sleep(0)
    for number in range(1_000):
        session.append(e.SessionRenamed(title=str(number)))
    conversation = begin("s_waits")
    await conversation.open()
    request = conversation.approval
    assert request is not None
    await conversation.decide(same([request], "allow"))
    assert (await waiting).answer == "allow"


async def test_a_session_begins_with_its_first_message_and_is_named_after_it(
    server: FakeServer, begin: Open
) -> None:
    conversation = begin()
    await conversation.open()
    assert not server.sessions
    assert await conversation.send("what is\n  this?")
    await settled(conversation)
    assert [one.title for one in server.sessions.values()] == ["what is this?"]
    assert Answer(markdown="You said: what is\n  this?") in conversation.take()


async def test_a_message_that_cannot_be_sent_is_given_back(server: FakeServer, begin: Open) -> None:
    conversation = begin()
    await conversation.open()
    assert not await conversation.send("x" * 16_000_000)
    assert "too large" in notes(conversation.take())
    assert not conversation.outgoing


async def test_an_agent_that_is_not_there_is_named_with_those_that_are(begin: Open) -> None:
    with pytest.raises(NotFound) as caught:
        await begin(agent="nobody").open()
    assert "default" in caught.value.hint


async def test_new_begins_another_session_and_leaves_the_old_one(
    server: FakeServer, begin: Open
) -> None:
    conversation = begin()
    await conversation.open()
    await conversation.send("one")
    await settled(conversation)
    await commands.run(conversation, "/new")
    assert "perdure attach s_0001" in notes(conversation.take())
    await conversation.send("two")
    await settled(conversation)
    assert list(server.sessions) == ["s_0001", "s_0002"]


async def test_commands_act_on_the_session_and_their_errors_are_told(
    server: FakeServer, begin: Open
) -> None:
    conversation = begin()
    await conversation.open()
    await conversation.send("hello")
    await settled(conversation)
    session = server.sessions["s_0001"]
    for line in ("/model other/model", "/title Rivers", "/compact the plan", "/cost", "/status"):
        await commands.run(conversation, line)
    assert (session.model, session.title) == ("other/model", "Rivers")
    assert session.compactions == ["the plan"]
    told = notes(conversation.take())
    assert "$0.0042" in told
    assert "s_0001" in told
    del server.sessions["s_0001"]
    await commands.run(conversation, "/compact")
    assert "there is no session" in notes(conversation.take())
    with pytest.raises(commands.Detach):
        await commands.run(conversation, "/detach")


async def test_a_queued_and_an_interrupting_message_say_so_to_the_server(
    server: FakeServer, begin: Open
) -> None:
    conversation = begin()
    await conversation.open()
    await commands.run(conversation, "/queue later")
    await commands.run(conversation, "/interrupt now")
    await settled(conversation)
    modes = [
        record.event.mode
        for record in server.sessions["s_0001"].records
        if isinstance(record.event, e.MessageReceived)
    ]
    assert modes == ["queue", "interrupt"]


async def test_a_stop_while_a_message_is_on_its_way_stops_its_turn(
    server: FakeServer, begin: Open
) -> None:
    conversation = begin()
    await conversation.open()
    sending = asyncio.create_task(conversation.send("slow one"))
    while not conversation.busy:
        await asyncio.sleep(0)
    assert not conversation.story.busy
    await conversation.stop()
    assert await sending
    await settled(conversation)
    assert conversation.story.last_end is not None
    assert conversation.story.last_end.reason == "stopped"
