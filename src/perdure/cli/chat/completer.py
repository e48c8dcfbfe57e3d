"""What Tab completes in the live chat."""

from __future__ import annotations

from collections.abc import Iterable

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from perdure.cli.chat import commands, files
from perdure.cli.chat.conversation import Conversation


class ChatCompleter(Completer):
    """Commands after a slash, paths after an @."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        if before.startswith("/") and " " not in before and "\n" not in before:
            for command in commands.COMMANDS.values():
                if command.help and command.name.startswith(before[1:]):
                    yield Completion(f"/{command.name}", -len(before), display_meta=command.help)
            return
        closed = not document.text_after_cursor.startswith('"')
        for word, quoted in files.words(before):
            paths = list(files.complete(word, self._conversation.workdir))
            for path in paths:
                named = files.written(path, quoted=quoted, closed=closed)
                yield Completion(named, -len(word) - 1 - quoted, display=path)
            if paths:
                return


def completes(before: str) -> bool:
    """Whether there is anything to complete at the end of what was typed."""
    if before.startswith("/") and " " not in before and "\n" not in before:
        return True
    return bool(files.words(before))
