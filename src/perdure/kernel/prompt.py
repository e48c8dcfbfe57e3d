"""What is handed to a model: provider-neutral, in items that never change once they are in.

An adapter encodes each item once and keeps the bytes (decision 0002). Items compare by identity: the
same object is the same bytes. A context that trims or compacts replaces items and raises `revision`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from .events import AssistantPart, Image, Json, Native, Part, StopReason, ToolResult, Usage, _Base
from .labels import Label


class ToolSchema(_Base, frozen=True, kw_only=True):
    name: str
    description: str
    parameters: dict[str, Json]
    """JSON Schema of an object."""


class Prefix(_Base, frozen=True, kw_only=True):
    """The byte-stable head of every request of a session (C1)."""

    system: str
    tools: tuple[ToolSchema, ...] = ()
    digest: str = ""


class UserItem(_Base, frozen=True, kw_only=True, tag_field="item", tag="user"):
    seq: int
    parts: tuple[Part, ...]
    kind: Literal["message", "notice", "summary"] = "message"
    """`notice` and `summary` come from the runtime; they are sent in the user's role."""
    label: Label | None = None
    """Of a message that is not the owner's."""


class AssistantItem(_Base, frozen=True, kw_only=True, tag_field="item", tag="assistant"):
    seq: int
    parts: tuple[AssistantPart, ...]
    native: Native | None = None
    model: str = ""


class CallResult(_Base, frozen=True, kw_only=True):
    call: str
    tool: str
    seq: int
    result: ToolResult


class ResultsItem(_Base, frozen=True, kw_only=True, tag_field="item", tag="results"):
    """Exactly one result for each call of the assistant item before it, in the calls' order (D3)."""

    seq: int
    results: tuple[CallResult, ...]


Item = UserItem | AssistantItem | ResultsItem

READER = "reader"
"""Digest of the prefix of a question that stands alone: values are to be read out of a text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    prefix: Prefix
    items: Sequence[Item]
    """Do not keep: the context appends to it. Alternates freely; an adapter merges what its API must."""
    revision: int = 0
    """Raised whenever an item before the end was replaced; unchanged means: only appended since."""
    tail: str = ""
    """What changes from call to call; sent last, in the user's role, and never part of `items`."""
    tools: bool = True
    """False: offer no tools in this call, the model is to sum up."""
    tokens: int = 0
    """Estimated size of the whole request, in tokens."""
    images: ImageSource | None = None
    max_output: int | None = None
    """Tokens that the answer may have at most, besides what the model's settings say."""
    most_calls: int | None = None
    """Tool calls of the answer that may run; None: any number."""


class ImageSource:
    """Reads the bytes of an image part. Implemented by the session's artifact store."""

    def read_image(self, image: Image) -> bytes:
        raise NotImplementedError


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A model's whole answer. Never empty: an adapter raises ModelError(kind="empty") instead."""

    model: str
    """As the provider named it, where it did."""
    parts: tuple[AssistantPart, ...]
    stop: StopReason
    usage: Usage = Usage()
    cost_usd: float | None = None
    native: Native | None = None
