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
        word = before.rpartition("\n")[2].rpartition(" ")[2]
        if word.startswith("@"):
            for path in files.complete(word[1:], self._conversation.workdir):
                named = f'@"{path}"' if " " in path else f"@{path}"
                yield Completion(named, -len(word), display=path)
