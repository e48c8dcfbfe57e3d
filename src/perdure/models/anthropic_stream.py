"""The events of a streamed answer of Anthropic's API, folded into a draft."""

from __future__ import annotations

import msgspec

from perdure.kernel.events import Json, Native, StopReason, ToolCall, Usage

from .anthropic_items import FORMAT, Block
from .codec import clean, decode, decode_arguments, encode
from .failures import error_of, problem
from .reply import Draft, native, verbatim
from .spec import ModelSpec

_STOPS: dict[str, StopReason] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "tool_use": "tools",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}


class _Counts(msgspec.Struct):
    class Details(msgspec.Struct):
        thinking_tokens: int | None = None

    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: Details | None = None


class _Message(msgspec.Struct):
    model: str = ""
    usage: _Counts | None = None


class _Why(msgspec.Struct):
    explanation: str | None = None
    category: str | None = None


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    citation: Json = None
    stop_reason: str | None = None
    stop_details: _Why | None = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: _Message | None = None
    content_block: dict[str, Json] | None = None
    delta: _Delta | None = None
    usage: _Counts | None = None
    error: Json = None


class AnthropicReader:
    """Rebuilds the content blocks of one answer, and keeps them as they were for the way back."""

    __slots__ = ("_blocks", "_counts", "_draft", "_inputs", "_spec", "done")

    def __init__(self, draft: Draft, spec: ModelSpec) -> None:
        self._draft = draft
        self._spec = spec
        self._blocks: dict[int, Block] = {}
        self._counts: dict[str, int] = {}
        self._inputs: dict[int, str] = {}
        """Arguments of the provider's own tools."""
        self.done = False

    def take(self, event: str, data: bytes) -> None:
        what = decode(data, _Event)
        if what.type == "content_block_delta" and what.delta is not None:
            self._grow(what.index, what.delta)
        elif what.type == "content_block_start" and what.content_block is not None:
            self._open(what.index, what.content_block)
        elif what.type == "message_start" and what.message is not None:
            self._draft.model = what.message.model or self._draft.model
            self._count(what.message.usage)
        elif what.type == "message_delta":
            self._count(what.usage)
            if what.delta is not None and what.delta.stop_reason:
                self._draft.stop = _STOPS.get(what.delta.stop_reason, "other")
                if (why := what.delta.stop_details) is not None:
                    self._draft.why = why.explanation or why.category or ""
        elif what.type == "message_stop":
            self.done = True
        elif what.type == "error":
            code, message, details = error_of({"error": what.error})
            raise problem(
                code,
                message,
                provider=self._spec.provider,
                details=details,
                secret=self._spec.key(),
            )

    def native(self, calls: list[ToolCall]) -> Native | None:
        content: list[object] = []
        ours = iter(calls)
        for index, received in self._blocks.items():
            block: dict[str, object] = {**received}
            part = self._draft.blocks.get(index)
            said = part.whole if part is not None else ""
            kind = block.get("type")
            if kind == "text":
                if not said.strip():
                    # Blank text may be received but not sent.
                    continue
                block["text"] = said
            elif kind == "thinking":
                block["thinking"] = said
            elif kind == "tool_use":
                call = next(ours)
                block["id"], block["name"] = call.id, call.name
                block["input"] = verbatim(said, call)
            elif partial := self._inputs.get(index):
                block["input"] = decode_arguments(partial) or {}
            content.append(block)
        if not content:
            return None
        return native(FORMAT, encode({"role": "assistant", "content": content}))

    def _open(self, index: int, block: Block) -> None:
        kind = block.get("type")
        block = {key: value for key, value in block.items() if value is not None}
        self._blocks[index] = block
        if kind == "text":
            self._draft.text(index, str(block.pop("text", "")))
        elif kind == "thinking":
            self._draft.thinking(index, str(block.pop("thinking", "")))
        elif kind == "tool_use":
            given = block.get("input")
            self._draft.call(index, id=str(block.get("id", "")), name=str(block.get("name", "")))
            if isinstance(given, dict) and given:
                self._draft.call(index, arguments=encode(given).decode())

    def _grow(self, index: int, delta: _Delta) -> None:
        block = self._blocks.get(index)
        if delta.type == "text_delta":
            self._draft.text(index, delta.text)
        elif delta.type == "thinking_delta":
            self._draft.thinking(index, delta.thinking)
        elif delta.type == "input_json_delta":
            if block is not None and block.get("type") == "tool_use":
                self._draft.call(index, arguments=delta.partial_json)
            elif block is not None:
                # A server's own tool: not ours to run, but part of what goes back.
                self._inputs[index] = self._inputs.get(index, "") + delta.partial_json
        elif delta.type == "signature_delta" and block is not None:
            block["signature"] = str(block.get("signature", "")) + clean(delta.signature)
        elif delta.type == "citations_delta" and block is not None:
            cited = block.setdefault("citations", [])
            if isinstance(cited, list):
                cited.append(delta.citation)

    def _count(self, counts: _Counts | None) -> None:
        """Later counts are cumulative, and replace those before."""
        if counts is None:
            return
        for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"):
            if (count := getattr(counts, name)) is not None:
                self._counts[name] = count
        if counts.output_tokens is not None:
            self._counts["output_tokens"] = counts.output_tokens
        details = counts.output_tokens_details
        if details is not None and details.thinking_tokens is not None:
            self._counts["thinking_tokens"] = details.thinking_tokens
        read = self._counts.get("cache_read_input_tokens", 0)
        written = self._counts.get("cache_creation_input_tokens", 0)
        self._draft.usage = Usage(
            input=self._counts.get("input_tokens", 0) + read + written,
            cache_read=read,
            cache_write=written,
            output=self._counts.get("output_tokens", 0),
            reasoning=self._counts.get("thinking_tokens", 0),
        )
