"""What the keys do in the live chat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_toolkit.filters import Condition, has_completions
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from perdure.cli.view.question import always

if TYPE_CHECKING:
    from perdure.cli.chat.live import LiveChat


def bindings(chat: LiveChat) -> KeyBindings:
    keys = KeyBindings()
    asked = Condition(lambda: chat.question() is not None)
    empty = Condition(lambda: not chat.buffer.text)
    denying = Condition(lambda: chat.denying is not None)
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
        folder = state.current_completion.text.endswith("/")
        chat.buffer.complete_state = None
        if not folder:
            chat.buffer.insert_text(" ")

    @keys.add("tab")
    def _(event: KeyPressEvent) -> None:
        buffer = chat.buffer
        if buffer.complete_state is None:
            buffer.start_completion(insert_common_part=True)
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

    @keys.add("y", filter=asked)
    def _(event: KeyPressEvent) -> None:
        _allow(chat, "once")

    @keys.add("s", filter=asked)
    def _(event: KeyPressEvent) -> None:
        _allow(chat, "session")

    @keys.add("a", filter=asked)
    def _(event: KeyPressEvent) -> None:
        _allow(chat, "always")

    @keys.add("n", filter=asked)
    def _(event: KeyPressEvent) -> None:
        request = chat.question()
        if request is not None:
            chat.deny(request)

    @keys.add("v", filter=asked)
    def _(event: KeyPressEvent) -> None:
        request = chat.question()
        if request is not None:
            chat.view(request)

    return keys


def _allow(chat: LiveChat, scope: str) -> None:
    request = chat.question()
    if request is None:
        return
    if scope == "once":
        chat.answer(request, "allow", "once")
    elif scope == "session" and "session" in request.offers:
        chat.answer(request, "allow", "session")
    elif scope == "always" and always(request):
        chat.answer(request, "allow", "always")
