"""A Responses API stream, event by event, into a draft reply and the items to send back.

What the model must get back are the output items as `response.output_item.done` brought them: only
there `encrypted_content` is whole, and fields like `phase` stand there that nobody here reads.

Source: developers.openai.com/api/reference, responses, streaming events.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

import msgspec

from perdure.kernel.errors import ModelError
from perdure.kernel.events import Json, Native, StopReason, ToolCall, Usage

from .codec import decode, encode
from .failures import error_of, problem
from .openai_responses_items import FORMAT
from .reply import Draft, native

Object = dict[str, Json]

_INCOMPLETE: Final[dict[str, StopReason]] = {
    "max_output_tokens": "length",
    "content_filter": "refusal",
}
_POLICIES: Final = ("bio_policy", "misalignment_policy_violation", "image_content_policy_violation")
_FAULTS_OF_OURS: Final = ("invalid_", "image_", "unsupported_", "empty_", "failed_to_download")


class _Event(msgspec.Struct):
    """The fields that matter of any event; items stay as their bytes."""

    type: str = ""
    output_index: Json = None
    item_id: Json = None
    summary_index: Json = None
    content_index: Json = None
    delta: Json = None
    item: msgspec.Raw = msgspec.Raw()
    response: msgspec.Raw = msgspec.Raw()

    @property
    def place(self) -> Hashable:
        """Which output item it is about."""
        return self.output_index if isinstance(self.output_index, int) else str(self.item_id)


class _Response(msgspec.Struct):
    model: Json = None
    status: Json = None
    output: list[msgspec.Raw] | None = None
    usage: Json = None
    error: Json = None
    incomplete_details: Json = None


_event = msgspec.json.Decoder(_Event).decode


class ResponsesStream:
    """Feeds a draft, and keeps the finished items to the byte."""

    def __init__(self, draft: Draft, provider: str) -> None:
        self.done = False
        self._draft = draft
        self._provider = provider
        self._items: dict[Hashable, bytes] = {}
        self._seen = False
        """Whether any item came with an event of its own."""
        self._calls: dict[Hashable, tuple[str, str]] = {}
        """(id, name) of the finished calls, as the server gave them."""
        self._paragraph: dict[Hashable, Json] = {}
        """The last index of a thought's summary, which comes in paragraphs."""
        self._refused = False

    def take(self, event: str, data: bytes) -> None:
        if not data or data == b"[DONE]":
            return
        found = self._read(data)
        kind, delta = found.type, found.delta
        if isinstance(delta, str):
            if kind in ("response.output_text.delta", "response.refusal.delta"):
                self._refused = self._refused or kind == "response.refusal.delta"
                self._text(("text", found.place, found.content_index or 0), delta)
            elif kind == "response.function_call_arguments.delta":
                self._draft.call(("call", found.place), arguments=delta)
            elif kind == "response.reasoning_summary_text.delta":
                self._think(found.place, found.summary_index, delta)
            elif kind == "response.reasoning_text.delta":
                self._think(found.place, found.content_index, delta)
        elif kind == "response.output_item.added":
            item = decode(bytes(found.item), Object)
            if item.get("type") == "function_call":
                self._call(found.place, item)
        elif kind == "response.output_item.done":
            self._item(found.place, bytes(found.item))
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self.end(bytes(found.response))
        elif kind == "error" or (not kind and b'"error"' in data):
            raise self._failed(decode(data, Object))

    def end(self, response: bytes) -> None:
        """The whole response, as the last event repeats it, or as a server sends it that does not
        stream."""
        self.done = True
        whole = decode(response, _Response)
        if isinstance(whole.model, str) and whole.model:
            self._draft.model = whole.model
        if isinstance(whole.usage, dict):
            self._draft.usage = usage_of(whole.usage)
        if whole.status == "failed" or isinstance(whole.error, dict):
            raise self._failed({"error": whole.error})
        if not self._seen:
            for place, item in enumerate(whole.output or []):
                self._item(place, bytes(item))
        self._draft.stop = "refusal" if self._refused else "end"
        if whole.status == "incomplete":
            details = whole.incomplete_details
            reason = details.get("reason") if isinstance(details, dict) else None
            self._draft.stop = _INCOMPLETE.get(str(reason), "other")

    def native(self, calls: list[ToolCall]) -> Native | None:
        keys = [key for key, block in self._draft.blocks.items() if block.kind == "call"]
        left = {_place(key): call for key, call in zip(keys, calls, strict=True)}
        items: list[bytes] = []
        for place, raw in self._items.items():
            call = left.pop(place, None)
            said = (call.id, call.name) if call is not None else None
            if call is None or (said == self._calls.get(place) and not call.unparsed):
                items.append(raw)
            else:
                items.append(_mended(raw, call))
        items += [_mended(b"{}", call) for call in left.values()]
        return native(FORMAT, b"[" + b",".join(items) + b"]") if items else None

    def _read(self, data: bytes) -> _Event:
        try:
            return _event(data)
        except msgspec.DecodeError:
            return _event(encode(decode(data, Object)))

    def _item(self, place: Hashable, raw: bytes) -> None:
        """A finished item: what of it did not stream is added now."""
        self._seen = True
        # Read first: what cannot be read must not go into the log either.
        try:
            item = msgspec.json.decode(raw, type=Object)
        except msgspec.DecodeError:
            item = decode(raw, Object)
            raw = encode(item)
        kind = item.get("type")
        if kind == "function_call":
            self._calls[place] = _string(item.get("call_id")), _string(item.get("name"))
            self._call(place, item)
        elif kind == "message":
            for index, part in enumerate(_objects(item.get("content"))):
                key = ("text", place, index)
                refusal = part.get("refusal")
                self._refused = self._refused or isinstance(refusal, str)
                text = part.get("text") or refusal
                if isinstance(text, str) and key not in self._draft.blocks:
                    self._text(key, text)
        elif kind == "reasoning":
            if ("thinking", place) not in self._draft.blocks:
                shown = _objects(item.get("summary")) or _objects(item.get("content"))
                for index, part in enumerate(shown):
                    self._think(place, index, str(part.get("text") or ""))
            if not item.get("encrypted_content") and not item.get("content"):
                # The server keeps nothing (`store` is false), so it would not know the item's id.
                return
        # One record of the log is one line.
        self._items[place] = msgspec.json.format(raw, indent=-1) if b"\n" in raw else raw

    def _call(self, place: Hashable, item: Object) -> None:
        key = ("call", place)
        block = self._draft.blocks.get(key)
        arguments = item.get("arguments")
        streamed = block is not None and block.pieces
        self._draft.call(
            key,
            id=_string(item.get("call_id")),
            name=_string(item.get("name")),
            arguments="" if streamed else _string(arguments),
        )

    def _text(self, key: tuple[str, Hashable, Json], piece: str) -> None:
        blocks = self._draft.blocks
        if piece and key not in blocks:
            before = [k for k, block in blocks.items() if block.kind == "text"]
            if before and before[-1] != key and _place(before[-1]) != key[1]:
                # Commentary and answer are messages of their own.
                piece = f"\n\n{piece}"
        self._draft.text(key, piece)

    def _think(self, place: Hashable, index: Json, piece: str) -> None:
        if piece and self._paragraph.setdefault(place, index) != index:
            self._paragraph[place] = index
            piece = f"\n\n{piece}"
        self._draft.thinking(("thinking", place), piece)

    def _failed(self, value: Object) -> ModelError:
        code, message, details = error_of(value)
        error = problem(code, message, provider=self._provider, details=details)
        if error.kind == "server":
            if code in _POLICIES:
                error.kind = "refused"
            elif code.startswith(_FAULTS_OF_OURS):
                error.kind = "invalid"
        return error


def _mended(raw: bytes, call: ToolCall) -> bytes:
    """A call's item with what was broken in it made whole."""
    arguments = encode(call.arguments).decode()
    broken = decode(raw, Object)
    return encode(
        {
            **broken,
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": arguments,
        }
    )


def usage_of(usage: Object) -> Usage:
    """Tokens as the Responses API counts them."""
    inputs, outputs = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    inputs = inputs if isinstance(inputs, dict) else {}
    outputs = outputs if isinstance(outputs, dict) else {}
    return Usage(
        input=_count(usage.get("input_tokens")),
        cache_read=_count(inputs.get("cached_tokens")),
        cache_write=_count(inputs.get("cache_write_tokens")),
        output=_count(usage.get("output_tokens")),
        reasoning=_count(outputs.get("reasoning_tokens")),
    )


def _objects(value: Json) -> list[Object]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _place(key: Hashable) -> Hashable:
    return key[1] if isinstance(key, tuple) else None


def _count(value: Json) -> int:
    return int(value) if isinstance(value, int | float) and 0 < value < 1e15 else 0


def _string(value: Json) -> str:
    return value if isinstance(value, str) else ""
