"""When a key counts as the answer to a question: not when it was meant for something else."""

from __future__ import annotations

from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import DummyInput

from perdure.cli.chat.conversation import Conversation
from perdure.cli.chat.live import CALM_SECONDS, LiveChat
from perdure.cli.chat.start import Start
from perdure.cli.link import Link
from perdure.cli.place import Place
from perdure.kernel.events import ApprovalId, ApprovalRequested, CallId

A_MOMENT = CALM_SECONDS / 2


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def chat(tmp_path: Path, clock: Clock) -> LiveChat:
    start = Start(agent=None, model="", workdir=str(tmp_path), session=None, plain=False)
    with create_app_session(input=DummyInput()):
        return LiveChat(Conversation(Link(Place(root=tmp_path)), start), clock)


def asked(chat: LiveChat, name: str) -> ApprovalRequested:
    request = ApprovalRequested(
        approval=ApprovalId(name), call=CallId(name), tool="bash", arguments={}, reason="ask"
    )
    chat.conversation.story.approvals = {request.approval: request}
    chat._watch_question()  # as each frame does
    return request


def test_a_key_answers_a_question_only_a_moment_after_it_came_up(
    chat: LiveChat, clock: Clock
) -> None:
    request = asked(chat, "a_1")
    assert chat.questions() == ()
    clock.now += A_MOMENT
    assert chat.questions() == ()
    clock.now += A_MOMENT + 0.01
    assert list(chat.questions()) == [request]
    another = asked(chat, "a_2")  # in the place of the first: its moment begins anew
    assert chat.questions() == ()
    clock.now += CALM_SECONDS + 0.01
    assert list(chat.questions()) == [another]


def test_no_key_answers_while_something_is_typed_and_for_a_moment_after(
    chat: LiveChat, clock: Clock
) -> None:
    request = asked(chat, "a_1")
    clock.now += 10
    chat.buffer.text = "x"
    clock.now += 10
    assert chat.questions() == ()
    chat.buffer.text = ""
    clock.now += A_MOMENT
    assert chat.questions() == ()
    clock.now += A_MOMENT + 0.01
    assert list(chat.questions()) == [request]
