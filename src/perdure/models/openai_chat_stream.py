"""A Chat Completions stream, event by event, into a draft reply and the message to send back.

Source: developers.openai.com/api/reference, chat completion chunks. Beyond it, as seen in the wild:
`reasoning_content` (DeepSeek, older vLLM), `reasoning` (Ollama, vLLM, Groq), `reasoning_details`
(OpenRouter), content in parts (Mistral), tool calls without an index or all with the same one,
signatures in fields of their own on tool calls (Gemini), usage in odd places, errors in mid-stream.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from perdure.kernel.events import Json, Native, StopReason, ToolCall, Usage

from .codec import clean, decode, encode
from .failures import error_of, problem
from .openai_chat_chunks import Chunk, usual
from .openai_chat_items import FORMAT
from .reply import Block, Draft, native

Object = dict[str, Json]

_decode = msgspec.json.Decoder(Object).decode

_REASONING: Final = ("reasoning_content", "reasoning")
_STOPS: Final[dict[str, StopReason]] = {
    "stop": "end",
    "tool_calls": "tools",
    "function_call": "tools",
    "length": "length",
    "content_filter": "refusal",
    "eos": "end",  # Together
    "model_length": "length",  # Mistral
    "sensitive": "refusal",  # Z.ai
}
_BROKEN: Final = {
    "error": "server_error",  # OpenRouter
    "abort": "server_error",  # vLLM, SGLang
    "network_error": "server_error",  # Z.ai
    "insufficient_system_resource": "server_overloaded",  # DeepSeek
}


class ChatStream:
    """Feeds a draft. What must go back to the server and has no place in neutral parts it keeps."""

    def __init__(self, draft: Draft, provider: str) -> None:
        self.done = False
        self.cost_usd: float | None = None
        """What the call cost, where the server tells."""
        self._draft = draft
        self._provider = provider
        self._reasoning_field = ""
        self._details: list[Object] = []
        self._parts: list[Object] = []
        self._refusal: list[str] = []
        self._calls: list[_Call] = []

    def take(self, event: str, data: bytes) -> None:
        if data == b"[DONE]":
            self.done = True
            if self._draft.stop is None:
                # Some servers name no reason; then this is as good as one.
                self._draft.stop = "end"
        elif (chunk := usual(data)) is not None:
            self._usual(chunk)
        elif data:
            self.chunk(_read(data))

    def _usual(self, chunk: Chunk) -> None:
        """The same as `chunk`, for one that has nothing special in it."""
        if chunk.model:
            self._draft.model = chunk.model
        if chunk.choices:
            choice = chunk.choices[0]
            delta, draft = choice.delta, self._draft
            if reasoning := delta.reasoning_content or delta.reasoning:
                if not self._reasoning_field:
                    self._reasoning_field = _REASONING[0 if delta.reasoning_content else 1]
                draft.thinking("thinking", reasoning)
            if content := delta.content:
                if self._parts:
                    self._add_part({"type": "text", "text": content}, "text")
                draft.text("text", content)
            for piece in delta.tool_calls or ():
                function = piece.function
                id, name, arguments = piece.id or "", "", ""
                if function is not None:
                    name, arguments = function.name or "", function.arguments or ""
                slot = self._slot(piece.index, id, name)
                slot.id = slot.id or id
                draft.call(slot, id=id, name=name, arguments=arguments)
            if choice.finish_reason:
                self._finish(choice.finish_reason)
        if chunk.usage or (chunk.usage is not None and not chunk.choices):
            self._draft.usage = usage_of(chunk.usage)
            self.cost_usd = cost_of(chunk.usage)

    def chunk(self, chunk: Object) -> None:
        """One chunk, or a whole completion from a server that does not stream."""
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if chunk.get("error") or (choices is None and chunk.get("message")):
            code, message, details = error_of(chunk)
            raise problem(code, message, provider=self._provider, details=details)
        model = chunk.get("model")
        if isinstance(model, str) and model:
            self._draft.model = model
        usage = chunk.get("usage")
        if isinstance(choice, dict):
            delta = choice.get("delta") or choice.get("message")
            if isinstance(delta, dict):
                self._delta(delta)
            reason = choice.get("finish_reason")
            if isinstance(reason, str) and reason:
                self._finish(reason)
            usage = usage or choice.get("usage")  # Moonshot
        if not usage and isinstance(groq := chunk.get("x_groq"), dict):
            usage = groq.get("usage")
        if isinstance(usage, dict):
            self._draft.usage = usage_of(usage)
            self.cost_usd = cost_of(usage)

    def native(self, calls: list[ToolCall]) -> Native | None:
        """The assistant's message, as it has to go back."""
        blocks = self._draft.blocks
        text = blocks["text"].whole if "text" in blocks else ""
        message: Object = {"role": "assistant", "content": text or None}
        if self._parts:
            message["content"] = [dict(part) for part in self._parts]
        if self._refusal:
            message["content"], message["refusal"] = None, clean("".join(self._refusal))
        if self._details:
            # They hold the same words as the plain field, which is then not sent twice.
            message["reasoning_details"] = list(self._details)
        elif self._reasoning_field and "thinking" in blocks:
            message[self._reasoning_field] = blocks["thinking"].whole
        if calls:
            message["tool_calls"] = [
                {
                    **slot.extra,
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": call.name,
                        "arguments": _arguments(blocks[slot], call),
                    },
                }
                for slot, call in zip(self._calls, calls, strict=True)
            ]
        return native(FORMAT, encode(message))

    def _finish(self, reason: str) -> None:
        if reason in _BROKEN:
            raise problem(_BROKEN[reason], f"it stopped early ({reason})", provider=self._provider)
        self._draft.stop = "refusal" if self._refusal else _STOPS.get(reason, "other")

    def _delta(self, delta: Object) -> None:
        details = delta.get("reasoning_details")
        shown = self._detail_text(details) if isinstance(details, list) else ""
        for field in _REASONING:
            reasoning = delta.get(field)
            if isinstance(reasoning, str) and reasoning:
                # The first name a server uses is the one it gets back.
                self._reasoning_field = self._reasoning_field or field
                shown = reasoning
                break
        self._draft.thinking("thinking", shown)
        content = delta.get("content")
        if isinstance(content, str):
            if self._parts and content:
                self._add_part({"type": "text", "text": content}, "text")
            self._draft.text("text", content)
        elif isinstance(content, list):
            for part in content:
                if isinstance(part, dict):
                    self._content_part(part)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._refusal.append(refusal)
            self._draft.text("text", refusal)
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            for call in calls:
                if isinstance(call, dict):
                    self._call(call)

    def _detail_text(self, details: list[Json]) -> str:
        text = ""
        for detail in details:
            if isinstance(detail, dict):
                self._detail(detail)
                text += _string(detail.get("text")) + _string(detail.get("summary"))
        return text

    def _detail(self, detail: Object) -> None:
        """One element of `reasoning_details`. Text and summaries come in pieces of the same index;
        an encrypted one comes whole, and two of them may share an index."""
        kind = detail.get("type")
        field = {"reasoning.text": "text", "reasoning.summary": "summary"}.get(str(kind))
        last = self._details[-1] if self._details else None
        if (
            field is None
            or last is None
            or last.get("type") != kind
            or last.get("index") != detail.get("index")
            or (last.get("id") and detail.get("id") and last.get("id") != detail.get("id"))
            or (last.get("signature") and detail.get(field))
        ):
            self._details.append(dict(detail))
            return
        for name, value in detail.items():
            before = last.get(name)
            if name == field and isinstance(value, str) and isinstance(before, str):
                last[name] = before + value
            elif value is not None:
                last[name] = value

    def _content_part(self, part: Object) -> None:
        text = part.get("text")
        thinking = part.get("thinking")
        if isinstance(text, str):
            if text:
                self._add_part(part, "text")
                self._draft.text("text", text)
            return
        if isinstance(thinking, list):
            pieces = [piece.get("text") for piece in thinking if isinstance(piece, dict)]
            thinking = "".join(map(_string, pieces))
        if isinstance(thinking, str) and thinking:
            self._add_part({**part, "thinking": [{"type": "text", "text": thinking}]}, "thinking")
            self._draft.thinking("thinking", thinking)

    def _add_part(self, part: Object, kind: str) -> None:
        """Mistral's content in parts goes back in parts; pieces of the same kind are one."""
        if not self._parts and kind == "text" and "text" in self._draft.blocks:
            self._parts.append({"type": "text", "text": self._draft.blocks["text"].whole})
        last = self._parts[-1] if self._parts else None
        if last is None or last.get("type") != part.get("type"):
            self._parts.append(dict(part))
        elif kind == "text":
            last["text"] = f"{last['text']}{part['text']}"
        else:
            last["thinking"] = [*_list(last["thinking"]), *_list(part["thinking"])]

    def _call(self, delta: Object) -> None:
        function = delta.get("function")
        function = function if isinstance(function, dict) else {}
        id, name = _string(delta.get("id")), _string(function.get("name"))
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            arguments = encode(arguments).decode()
        slot = self._slot(delta.get("index"), id, name)
        slot.id = slot.id or id
        self._draft.call(slot, id=id, name=name, arguments=_string(arguments))
        slot.extra.update(
            {k: v for k, v in delta.items() if k not in ("index", "id", "type", "function")}
        )

    def _slot(self, index: Json, id: str, name: str) -> _Call:
        """Which call a piece belongs to. An index says so, unless a server gives every call the
        same one: then another id beside a name starts another call. Without an index a known id
        says so; else a name starts a call, and anything more belongs to the last."""
        calls = self._calls
        if isinstance(index, int):
            last = calls[-1] if calls else None
            slot = last
            if last is not None and last.index != index:
                slot = next((c for c in reversed(calls) if c.index == index), None)
            if slot is not None and not (name and id and slot.id and id != slot.id):
                return slot
        else:
            slot = next((c for c in calls if id and c.id == id), None)
            if slot is not None:
                return slot
            if calls and not name:
                return calls[-1]
        calls.append(_Call(index if isinstance(index, int) else None))
        return calls[-1]


class _Call:
    """One call of the reply; it is its own key in the draft."""

    __slots__ = ("extra", "id", "index")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = ""
        self.extra: Object = {}
        """Fields of the provider's own, e.g. Gemini's thought signatures."""


def usage_of(usage: Object) -> Usage:
    """Tokens as this protocol's servers count them."""
    inputs, outputs = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    inputs = inputs if isinstance(inputs, dict) else {}
    outputs = outputs if isinstance(outputs, dict) else {}
    input = _count(usage.get("prompt_tokens"))
    # xAI and Gemini leave reasoning out of completion_tokens, but not out of the total.
    output = max(_count(usage.get("completion_tokens")), _count(usage.get("total_tokens")) - input)
    read = (
        inputs.get("cached_tokens")
        or usage.get("prompt_cache_hit_tokens")  # DeepSeek
        or usage.get("cached_tokens")  # Moonshot
    )
    return Usage(
        input=input,
        cache_read=_count(read),
        cache_write=_count(inputs.get("cache_write_tokens")),
        output=output,
        reasoning=_count(outputs.get("reasoning_tokens")),
    )


def cost_of(usage: Object) -> float | None:
    """OpenRouter's account of the call, in US dollars; with an own key at the provider behind it,
    that provider's charge as well."""
    total = _dollars(usage.get("cost"))
    details = usage.get("cost_details")
    if total is not None and usage.get("is_byok") and isinstance(details, dict):
        total += _dollars(details.get("upstream_inference_cost")) or 0.0
    return total


def _dollars(value: Json) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value) if value >= 0 else None
    return None


def _count(value: Json) -> int:
    return int(value) if isinstance(value, int | float) and 0 < value < 1e15 else 0


def _arguments(block: Block, call: ToolCall) -> str:
    """As they came, where they can be read: servers parse them again, and templates render them."""
    return block.whole if call.arguments and not call.unparsed else "{}"


def _read(data: bytes) -> Object:
    try:
        return _decode(data)
    except msgspec.DecodeError:
        return decode(data, Object)


def _string(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
