"""Items of a prompt as messages of Anthropic's API."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.kernel.events import Image, Json, Part, Text, ToolCall
from perdure.kernel.prompt import (
    AssistantItem,
    CallResult,
    ImageSource,
    Item,
    ResultsItem,
    UserItem,
)

from .calls import call_id, call_name, own
from .codec import encode
from .pictures import base64_of, unshown

FORMAT = "anthropic"
IMAGE_TYPES = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))
END = b"}]}"
"""Invariant: every message in the user's role ends so, its last block being open to a cache mark."""

Block = dict[str, Json]


def encode_item(item: Item, images: ImageSource | None) -> bytes:
    """One message. Empty for an answer that said nothing which may be sent back."""
    if isinstance(item, UserItem):
        return user_message(_content(item.parts, images))
    if isinstance(item, ResultsItem):
        return user_message([_result(r, images) for r in item.results])
    return own(item, FORMAT, call_id) or _assistant(item)


def _assistant(item: AssistantItem) -> bytes:
    blocks: list[Json] = []
    for part in item.parts:
        if isinstance(part, Text):
            if part.text.strip():
                blocks.append(text_block(part.text))
        elif isinstance(part, ToolCall):
            blocks.append(
                {
                    "type": "tool_use",
                    "id": call_id(part.id),
                    "name": call_name(part.name),
                    "input": part.arguments,
                }
            )
    return encode({"role": "assistant", "content": blocks}) if blocks else b""


def user_message(blocks: list[Json]) -> bytes:
    return encode({"role": "user", "content": blocks or [text_block("(nothing)")]})


def _result(result: CallResult, images: ImageSource | None) -> Block:
    content = _content(result.result.parts, images)
    failed = result.result.status != "ok"
    if failed and not content:
        content = [text_block(result.result.status)]
    block: Block = {"type": "tool_result", "tool_use_id": call_id(result.call)}
    if content:
        block["content"] = content
    if failed:
        block["is_error"] = True
    return block


def _content(parts: Sequence[Part], images: ImageSource | None) -> list[Json]:
    return [
        _image(part, images) if isinstance(part, Image) else text_block(part.text)
        for part in parts
        if isinstance(part, Image) or part.text.strip()
    ]


def _image(image: Image, images: ImageSource | None) -> Block:
    data = base64_of(image, images, IMAGE_TYPES)
    if data is None:
        return text_block(unshown(image))
    source: Block = {"type": "base64", "media_type": image.media_type, "data": data}
    return {"type": "image", "source": source}


def text_block(text: str) -> Block:
    return {"type": "text", "text": text}
