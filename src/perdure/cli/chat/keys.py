"""What the keys do in the live chat."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completion
from prompt_toolkit.filters import Condition, has_completions
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from perdure.cli.view.answers import KEYS, offered, same
from perdure.kernel.events import ApprovalScope

if TYPE_CHECKING:
    from perdure.cli.chat.live import LiveChat


def bindings(chat: LiveChat) -> KeyBindings:
    keys = KeyBindings()
    empty = Condition(lambda: not chat.buffer.text)
    denying = Condition(lambda: bool(chat.denying))
    chosen = Condition(
        lambda: (
            chat.buffer.complete_state is not None
            and chat.buffer.complete_state.current_completion is not None
        )
    )

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = chat.buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            chat.submit()

    @keys.add("enter", filter=chosen)
    def _(event: KeyPressEvent) -> None:
        state = chat.buffer.complete_state
        assert state is not None and state.current_completion is not None
        _taken(chat.buffer, state.current_completion)

    @keys.add("tab")
    def _(event: KeyPressEvent) -> None:
        buffer = chat.buffer
        state = buffer.complete_state
        if state is None or not state.completions:
            buffer.cancel_completion()
            only = _only(buffer)
            if only is None:
                buffer.start_completion(insert_common_part=True)
                return
            buffer.apply_completion(only)
            _taken(buffer, only)
        elif len(state.completions) == 1:
            only = state.completions[0]
            if state.current_completion is None:
                buffer.apply_completion(only)
            _taken(buffer, only)
        else:
            buffer.complete_next()

    @keys.add("s-tab", filter=has_completions)
    def _(event: KeyPressEvent) -> None:
        chat.buffer.complete_previous()

    @keys.add("escape", filter=has_completions | denying, eager=True)
    def _(event: KeyPressEvent) -> None:
        if chat.buffer.complete_state is not None:
            chat.buffer.cancel_completion()
        else:
            chat.interrupt()

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def _(event: KeyPressEvent) -> None:
        if chat.just_begun():
            # Enter, typed ahead while the terminal still made line feeds of it.
            chat.submit()
        else:
            chat.buffer.insert_text("\n")

    @keys.add("c-q")
    def _(event: KeyPressEvent) -> None:
        chat.submit("queue")

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        chat.interrupt()

    @keys.add("c-d", filter=empty)
    def _(event: KeyPressEvent) -> None:
        chat.leave()

    @keys.add("c-l")
    def _(event: KeyPressEvent) -> None:
        event.app.renderer.clear()

    @keys.add("c-z")
    def _(event: KeyPressEvent) -> None:
        event.app.suspend_to_background()

    @keys.add(Keys.BracketedPaste)
    def _(event: KeyPressEvent) -> None:
        chat.buffer.insert_text(chat.pastes.fold(event.data))

    asked = Condition(lambda: bool(chat.questions()))

    @keys.add("d", filter=asked)
    @keys.add("y", filter=asked)
    @keys.add("s", filter=asked)
    @keys.add("a", filter=asked)
    def _(event: KeyPressEvent) -> None:
        _allow(chat, KEYS[event.data])

    @keys.add("o", filter=asked)
    def _(event: KeyPressEvent) -> None:
        if len(chat.questions()) > 1:
            chat.one_by_one()

    @keys.add("n", filter=asked)
    def _(event: KeyPressEvent) -> None:
        chat.deny(chat.questions())

    @keys.add("v", filter=asked)
    def _(event: KeyPressEvent) -> None:
        chat.view(chat.questions())

    return keys


def _only(buffer: Buffer) -> Completion | None:
    """What there is to complete, if it is one thing only."""
    asked = CompleteEvent(completion_requested=True)
    found = list(islice(buffer.completer.get_completions(buffer.document, asked), 2))
    return found[0] if len(found) == 1 else None


def _taken(buffer: Buffer, completion: Completion) -> None:
    """A completion was chosen: go on below a folder, or behind what is whole."""
    buffer.complete_state = None
    if completion.text.endswith("/"):
        buffer.start_completion()
    elif not buffer.document.text_after_cursor[:1].isspace():
        buffer.insert_text(" ")


def _allow(chat: LiveChat, scope: ApprovalScope) -> None:
    questions = chat.questions()
    if len(questions) > 1:
        if scope == "once":
            chat.answer(questions, same(questions, "allow"))
    elif questions and scope in [s for _, s in offered(questions[0])]:
        chat.answer(questions, same(questions, "allow", scope))
