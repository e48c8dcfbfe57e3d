"""Pieces are kept over restarts (`transcript.Kept`), so a change of how items are encoded must be told."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec

from perdure.kernel.events import (
    ArtifactId,
    CallId,
    Image,
    Native,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from perdure.kernel.prompt import (
    AssistantItem,
    CallResult,
    ImageSource,
    Item,
    Prefix,
    Prompt,
    ResultsItem,
    UserItem,
)
from perdure.models import ModelSpec
from perdure.models.adapter import Adapter
from perdure.models.anthropic import Anthropic
from perdure.models.gemini import Gemini
from perdure.models.openai_chat import OpenAIChat
from perdure.models.openai_responses import OpenAIResponses
from perdure.models.transcript import ENCODING

KNOWN = {1: "8461662559a0d9d9"}
"""By ENCODING: what the adapters made of the items below."""


class Pixels(ImageSource):
    def read_image(self, image: Image) -> bytes:
        return b"pixels"


def call(id: str, name: str, **arguments: Any) -> ToolCall:
    return ToolCall(id=CallId(id), name=name, arguments=arguments)


def result(id: str, tool: str, **more: Any) -> CallResult:
    return CallResult(call=id, tool=tool, seq=3, result=ToolResult(**more))


def native(format: str, body: bytes) -> AssistantItem:
    return AssistantItem(
        seq=5,
        parts=(Text(text="n"), call("a!", "own tool")),
        native=Native(format=format, body=msgspec.Raw(body)),
    )


PICTURE = Image(media_type="image/png", artifact=ArtifactId("p.png"))
ITEMS: list[Item] = [
    UserItem(seq=1, parts=(Text(text="hé"), Text(text="two"))),
    UserItem(seq=1, parts=(Text(text="see"), PICTURE)),
    AssistantItem(
        seq=2,
        parts=(Thinking(text="hm"), Text(text="so"), call("c1", "read", path="a"), call("c/2", "")),
    ),
    ResultsItem(
        seq=3,
        results=(
            result("c1", "read", parts=(Text(text="one"), PICTURE)),
            result("c/2", "", status="error", parts=(Text(text="no"),)),
        ),
    ),
    AssistantItem(seq=4, parts=(Text(text=" "),)),
    native("openai-chat", b'{"role":"assistant","content":"own"}'),
    native("openai-responses", b'{"type":"message"}'),
    native("anthropic", b'{"role":"assistant","content":[]}'),
    native("gemini", b'{"role":"model","parts":[]}'),
    UserItem(seq=6, parts=(Text(text="sum"),), kind="summary"),
]


def adapters() -> list[Adapter]:
    http: Any = None
    rows: list[tuple[type[Adapter], str, str]] = [
        (OpenAIChat, "openai-chat", "m"),
        (OpenAIChat, "mistral", "m"),
        (OpenAIChat, "deepseek", "m"),
        (OpenAIChat, "openrouter", "anthropic/m"),
        (OpenAIResponses, "openai", "gpt-5"),
        (Anthropic, "anthropic", "claude-sonnet-5-5"),
        (Gemini, "gemini", "gemini-2.5-pro"),
        (Gemini, "gemini", "gemini-3-pro"),
    ]
    return [adapter(ModelSpec(provider=p, name=n), http) for adapter, p, n in rows]


def test_a_change_of_the_encoding_raises_its_number() -> None:
    made = sha256()
    prompt = Prompt(prefix=Prefix(system=""), items=ITEMS, images=Pixels())
    for adapter in adapters():
        for piece in adapter.transcript.sync(prompt):
            made.update(piece + b"\n")
    assert KNOWN.get(ENCODING) == made.hexdigest()[:16], (
        "adapters encode these items in another way than before: raise transcript.ENCODING and note "
        "the new digest here"
    )
