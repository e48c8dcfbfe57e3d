"""Items of a prompt as items of OpenAI's Responses API: pure functions from an item to bytes.

Source: developers.openai.com/api/reference, responses, input items.
"""

from __future__ import annotations

from perdure.kernel.events import Json, Part, Text, ToolCall
from perdure.kernel.prompt import AssistantItem, ImageSource, Item, Prefix, ResultsItem, UserItem

from .calls import call_name, own, short_id
from .codec import encode
from .openai_content import data_url, missing, only_text, result_text

FORMAT = "openai-responses"
"""`Native.format`: a list of output items."""

Object = dict[str, Json]


def item_json(item: Item, images: ImageSource | None) -> bytes:
    """The input items of one item of the prompt, joined by commas."""
    if isinstance(item, AssistantItem) and (body := own(item, FORMAT, short_id)):
        return body[1:-1]
    return b",".join([encode(object) for object in _objects(item, images)])


def user_json(text: str) -> bytes:
    """A message in the user's role."""
    return encode({"role": "user", "content": text})


def instructions_json(prefix: Prefix) -> bytes:
    """The system prompt as a JSON string; empty where there is none."""
    return encode(prefix.system) if prefix.system else b""


def tools_json(prefix: Prefix) -> bytes:
    """The `tools` array; empty where there are none. Never strict: that would forbid optional
    arguments."""
    if not prefix.tools:
        return b""
    return encode(
        [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": False,
            }
            for tool in prefix.tools
        ]
    )


def _objects(item: Item, images: ImageSource | None) -> list[Object]:
    if isinstance(item, UserItem):
        return [{"role": "user", "content": _content(item.parts, images)}]
    if isinstance(item, ResultsItem):
        return [
            {
                "type": "function_call_output",
                "call_id": short_id(result.call),
                "output": _output(result_text(result.result), result.result.parts, images),
            }
            for result in item.results
        ]
    objects: list[Object] = []
    for part in item.parts:
        if isinstance(part, Text):
            objects.append({"role": "assistant", "content": part.text})
        elif isinstance(part, ToolCall):
            objects.append(
                {
                    "type": "function_call",
                    "call_id": short_id(part.id),
                    "name": call_name(part.name),
                    "arguments": encode(part.arguments).decode(),
                }
            )
    return objects


def _content(parts: tuple[Part, ...], images: ImageSource | None) -> Json:
    text = only_text(parts)
    return text if text is not None else [_part(part, images) for part in parts]


def _output(text: str, parts: tuple[Part, ...], images: ImageSource | None) -> Json:
    pictures: list[Json] = [_part(part, images) for part in parts if not isinstance(part, Text)]
    if not pictures:
        return text
    words: list[Json] = [{"type": "input_text", "text": text}] if text else []
    return [*words, *pictures]


def _part(part: Part, images: ImageSource | None) -> Json:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    url = data_url(part, images)
    if url is None:
        return {"type": "input_text", "text": missing(part)}
    return {"type": "input_image", "detail": "auto", "image_url": url}
