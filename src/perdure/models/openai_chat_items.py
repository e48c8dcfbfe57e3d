"""Items of a prompt as Chat Completions messages: pure functions from an item to bytes.

Source: developers.openai.com/api/reference, chat completions; openrouter.ai/docs for `cache_control`.
"""

from __future__ import annotations

from perdure.kernel.events import Image, Json, Part, Text, ToolCall
from perdure.kernel.prompt import AssistantItem, ImageSource, Item, Prefix, ResultsItem, UserItem

from .calls import call_name, own
from .codec import encode
from .openai_content import data_url, missing, only_text, result_text
from .openai_dialect import Dialect

FORMAT = "openai-chat"
"""`Native.format`: one assistant message."""

Message = dict[str, Json]

_MARK: Json = {"type": "ephemeral"}


class ChatItems:
    """Encodes items for one dialect. One item may give several messages, joined by commas."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def item(self, item: Item, images: ImageSource | None) -> bytes:
        if isinstance(item, AssistantItem) and (body := own(item, FORMAT, self._dialect.call_id)):
            return body
        return _joined(self._messages(item, images))

    def marked(self, item: Item, images: ImageSource | None) -> bytes:
        """The same with a cache mark at its end; empty where the item's end cannot carry one."""
        if isinstance(item, AssistantItem):
            return b""
        messages = self._messages(item, images)
        _mark(messages[-1])
        return _joined(messages)

    def prefix(self, prefix: Prefix) -> bytes:
        """The system message."""
        if not prefix.system:
            return b""
        message: Message = {"role": "system", "content": prefix.system}
        if self._dialect.cache_marks:
            _mark(message)
        return encode(message)

    def _messages(self, item: Item, images: ImageSource | None) -> list[Message]:
        if isinstance(item, UserItem):
            return [{"role": "user", "content": _content(item.parts, images)}]
        if isinstance(item, AssistantItem):
            return self._assistant(item)
        return self._results(item, images)

    def _assistant(self, item: AssistantItem) -> list[Message]:
        # Another provider's thinking means nothing here, and its signatures less: it is left out.
        text = "".join(part.text for part in item.parts if isinstance(part, Text))
        calls = [part for part in item.parts if isinstance(part, ToolCall)]
        if not text and not calls:
            return []
        message: Message = {"role": "assistant", "content": text or None}
        if calls:
            if self._dialect.reasoning_due:
                message[self._dialect.reasoning_due] = ""
            message["tool_calls"] = [
                {
                    "id": self._dialect.call_id(call.id),
                    "type": "function",
                    "function": {
                        "name": call_name(call.name),
                        "arguments": encode(call.arguments).decode(),
                    },
                }
                for call in calls
            ]
        return [message]

    def _results(self, item: ResultsItem, images: ImageSource | None) -> list[Message]:
        # A tool's message holds text only, and nothing may stand between the messages of one
        # response's calls: images follow them all, in the user's role.
        messages: list[Message] = []
        seen: list[Json] = []
        for result in item.results:
            pictures = [part for part in result.result.parts if isinstance(part, Image)]
            text = result_text(result.result)
            if pictures:
                text = f"{text}\n[{len(pictures)} image(s) of this result follow below]".lstrip()
                seen.append({"type": "text", "text": f"Of the result of {result.tool}:"})
                seen.extend(_part(picture, images) for picture in pictures)
            messages.append(
                {
                    "role": "tool",
                    "tool_call_id": self._dialect.call_id(result.call),
                    "content": text,
                }
            )
        if seen:
            messages.append({"role": "user", "content": seen})
        return messages


def tools_json(prefix: Prefix) -> bytes:
    """The `tools` array; empty where there are none."""
    if not prefix.tools:
        return b""
    return encode(
        [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                },
            }
            for tool in prefix.tools
        ]
    )


def _content(parts: tuple[Part, ...], images: ImageSource | None) -> Json:
    # A plain string wherever it can be: some servers take nothing else.
    text = only_text(parts)
    return text if text is not None else [_part(part, images) for part in parts]


def _part(part: Part, images: ImageSource | None) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    url = data_url(part, images)
    if url is None:
        return {"type": "text", "text": missing(part)}
    return {"type": "image_url", "image_url": {"url": url}}


def _mark(message: Message) -> None:
    content = message["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if isinstance(content, list) and content and isinstance(content[-1], dict):
        content[-1]["cache_control"] = _MARK
    message["content"] = content


def _joined(messages: list[Message]) -> bytes:
    return b",".join([encode(message) for message in messages])
