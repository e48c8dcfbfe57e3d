"""Gemini's generateContent API, streamed as server-sent events.

Sources: ai.google.dev, API reference of `models.streamGenerateContent`, pages on function calling,
thinking and thought signatures.

A thought signature belongs to the very part it came in, and goes back there: parts with one are never
joined with others. A first function call without one is refused by Gemini 3 and later, so calls that
another provider made carry the placeholder Google documents for them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from perdure.kernel.errors import ModelError
from perdure.kernel.events import Image, Json, Native, Part, StopReason, Text, ToolCall, Usage
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

from .adapter import Adapter
from .calls import call_name, own
from .codec import clean, decode, encode
from .failures import error_of, problem
from .most import ByLimit
from .pictures import base64_of, unshown
from .reply import Draft, native
from .spec import Effort, ModelSpec
from .transcript import PrefixBytes, Transcript, comma
from .wire import Http

BASE_URL = "https://generativelanguage.googleapis.com/v1beta"
IMAGE_TYPES = frozenset(("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"))
RESULT_IMAGE_TYPES = frozenset(("image/png", "image/jpeg", "image/webp"))
"""What Gemini 3 and later take inside a function response."""
NO_SIGNATURE = "skip_thought_signature_validator"

_BUDGETS: dict[Effort, int] = {"low": 1_024, "medium": 8_192, "high": 24_576}
"""Tokens of thinking, for Gemini 2.5."""

_STOPS: dict[str, StopReason] = {
    "STOP": "end",
    "MAX_TOKENS": "length",
    "SAFETY": "refusal",
    "RECITATION": "refusal",
    "LANGUAGE": "refusal",
    "BLOCKLIST": "refusal",
    "PROHIBITED_CONTENT": "refusal",
    "SPII": "refusal",
    "MODEL_ARMOR": "refusal",
    "ESCALATION": "refusal",
}

_MODEL = b'{"role":"model"'
_FIRST = b'{"role":"user","parts":[{"text":"(The conversation goes on.)"}]}'
"""A conversation must open with the user."""

Block = dict[str, Json]


class Gemini(Adapter):
    """One Gemini model, talking with one session."""

    format = "gemini"
    mends = True
    reserved = frozenset(("contents", "systemInstruction", "toolConfig"))

    def __init__(self, spec: ModelSpec, http: Http) -> None:
        super().__init__(spec, http)
        model = spec.name.removeprefix("models/")
        base = (spec.base_url or BASE_URL).rstrip("/")
        self._url = f"{base}/models/{model}:streamGenerateContent?alt=sse"
        found = re.search(r"gemini-(\d+)(?:\.(\d+))?", model)
        self._version = (int(found[1]), int(found[2] or 0)) if found else (0, 0)
        self.transcript = Transcript(self._encode_item, f"{self.format} {self._version}")
        self._prefix = PrefixBytes(self._encode_prefix)
        self._settings = ByLimit(spec.max_output_tokens, self._encode_settings)

    def request(self, prompt: Prompt) -> tuple[str, Sequence[bytes]]:
        contents = self.transcript.joined(prompt)
        if not contents or contents[0].startswith(_MODEL):
            contents = comma([_FIRST, b"".join(contents)], after=False)
        if prompt.tail.strip():
            contents += b",", _content("user", [{"text": prompt.tail}])
        mode = b""
        if not prompt.tools and prompt.prefix.tools:
            mode = b'"toolConfig":{"functionCallingConfig":{"mode":"NONE"}},'
        opening = (
            b"{",
            self._prefix.of(prompt.prefix),
            self._settings.of(prompt.max_output),
            mode,
            b'"contents":[',
        )
        return self._url, (*opening, *contents, b"]}")

    def headers(self, key: str) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        if key:
            headers["x-goog-api-key"] = key
        return headers

    def reader(self, draft: Draft) -> GeminiReader:
        return GeminiReader(draft, self.spec)

    def _encode_settings(self, most: int | None) -> bytes:
        spec = self.spec
        settings: Block = {}
        if spec.temperature is not None:
            settings["temperature"] = spec.temperature
        if most is not None:
            settings["maxOutputTokens"] = most
        if thinking := self._thinking(spec.effort):
            settings["thinkingConfig"] = thinking
        body: Block = {k: v for k, v in spec.extra.items() if k != "tools"}
        if isinstance(more := body.get("generationConfig"), dict):
            settings.update(more)
        if settings:
            body["generationConfig"] = settings
        return encode(body)[1:-1] + b"," if body else b""

    def _thinking(self, effort: Effort) -> Block:
        if not effort or self._version < (2, 5):
            return {}
        if self._version < (3, 0):
            return {"includeThoughts": True, "thinkingBudget": _BUDGETS[effort]}
        level = effort.upper()
        if effort == "medium" and self.spec.name.endswith("gemini-3-pro-preview"):
            # It knows low and high only.
            level = "HIGH"
        return {"includeThoughts": True, "thinkingLevel": level}

    def _encode_prefix(self, prefix: Prefix) -> bytes:
        body: Block = {}
        if prefix.system.strip():
            body["systemInstruction"] = {"parts": [{"text": prefix.system}]}
        tools: list[Json] = []
        if prefix.tools:
            declared: list[Json] = [
                {"name": t.name, "description": t.description, "parametersJsonSchema": t.parameters}
                for t in prefix.tools
            ]
            tools.append({"functionDeclarations": declared})
        if isinstance(more := self.spec.extra.get("tools"), list):
            tools += more
        if tools:
            body["tools"] = tools
        return encode(body)[1:-1] + b"," if body else b""

    def _encode_item(self, item: Item, images: ImageSource | None) -> bytes:
        """One content, or two joined by a comma. Empty for an answer that said nothing."""
        if isinstance(item, UserItem):
            return _content("user", _parts(item.parts, images) or [{"text": "(nothing)"}])
        if isinstance(item, ResultsItem):
            return self._encode_results(item, images)
        return own(item, self.format) or _answer(item)

    def _encode_results(self, item: ResultsItem, images: ImageSource | None) -> bytes:
        responses: list[Json] = []
        beside: list[Json] = []
        for result in item.results:
            inside: list[Json] = []
            for part in result.result.parts:
                if not isinstance(part, Image):
                    continue
                shown = _part(part, images)
                fits = part.media_type in RESULT_IMAGE_TYPES and "inlineData" in shown
                if fits and self._version >= (3, 0):
                    inside.append(shown)
                else:
                    beside += [
                        {"text": f"From the result of {result.tool} ({result.call}):"},
                        shown,
                    ]
            responses.append({"functionResponse": _response(result, inside)})
        piece = _content("user", responses)
        # A content that holds function responses is read as the tools' own words: nothing else may
        # stand in it.
        return piece + b"," + _content("user", beside) if beside else piece


def _response(result: CallResult, inside: list[Json]) -> Block:
    ok = result.result.status == "ok"
    text = result.result.text or ("" if ok else result.result.status)
    response: Block = {
        "id": result.call,
        "name": call_name(result.tool),
        "response": {"output" if ok else "error": text},
    }
    if inside:
        response["parts"] = inside
    return response


def _answer(item: AssistantItem) -> bytes:
    parts: list[Json] = []
    signed = False
    for part in item.parts:
        if isinstance(part, Text):
            if part.text.strip():
                parts.append({"text": part.text})
        elif isinstance(part, ToolCall):
            call: Block = {"id": part.id, "name": call_name(part.name), "args": part.arguments}
            block: Block = {"functionCall": call}
            if not signed:
                block["thoughtSignature"] = NO_SIGNATURE
                signed = True
            parts.append(block)
    return _content("model", parts) if parts else b""


def _content(role: str, parts: list[Json]) -> bytes:
    return encode({"role": role, "parts": parts})


def _parts(parts: Sequence[Part], images: ImageSource | None) -> list[Json]:
    return [_part(p, images) for p in parts if isinstance(p, Image) or p.text.strip()]


def _part(part: Part, images: ImageSource | None) -> Block:
    if isinstance(part, Text):
        return {"text": part.text}
    data = base64_of(part, images, IMAGE_TYPES)
    if data is None:
        return {"text": unshown(part)}
    return {"inlineData": {"mimeType": part.media_type, "data": data}}


class _Content(msgspec.Struct):
    parts: list[dict[str, Json]] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None


class _Counts(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None


class _Chunk(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: _Counts | None = None
    prompt_feedback: _Feedback | None = None
    model_version: str | None = None
    error: Json = None


class GeminiReader:
    """Collects the parts of one answer, and keeps them as they were for the way back."""

    __slots__ = ("_draft", "_parts", "_spec", "done")

    def __init__(self, draft: Draft, spec: ModelSpec) -> None:
        self._draft = draft
        self._spec = spec
        self._parts: list[Block] = []
        # The end of the stream is its only end mark: usage may follow the finish reason.
        self.done = False

    def take(self, event: str, data: bytes) -> None:
        chunk = decode(data, _Chunk)
        draft = self._draft
        if chunk.error is not None:
            code, message, details = error_of({"error": chunk.error})
            raise problem(
                code,
                message,
                provider=self._spec.provider,
                details=details,
                secret=self._spec.key(),
            )
        draft.model = chunk.model_version or draft.model
        if (counts := chunk.usage_metadata) is not None:
            thoughts = counts.thoughts_token_count or 0
            draft.usage = Usage(
                input=(counts.prompt_token_count or 0) + (counts.tool_use_prompt_token_count or 0),
                cache_read=counts.cached_content_token_count or 0,
                output=(counts.candidates_token_count or 0) + thoughts,
                reasoning=thoughts,
            )
        if (feedback := chunk.prompt_feedback) is not None and feedback.block_reason:
            why = feedback.block_reason_message or feedback.block_reason
            raise ModelError(f"The provider blocked the prompt: {clean(why)}", kind="refused")
        for candidate in (chunk.candidates or [])[:1]:
            if candidate.content is not None:
                for part in candidate.content.parts or ():
                    self._take_part(part)
            if candidate.finish_reason:
                self._finish(candidate)

    def native(self, calls: list[ToolCall]) -> Native | None:
        ours = iter(calls)
        parts: list[object] = []
        for index, received in enumerate(self._parts):
            part: dict[str, object] = {**received}
            if isinstance(call := received.get("functionCall"), dict):
                mended = next(ours)
                part["functionCall"] = {
                    **call,
                    "id": mended.id,
                    "name": mended.name,
                    "args": mended.arguments,
                }
            elif "text" in received:
                block = self._draft.blocks.get(index)
                part["text"] = block.whole if block is not None else ""
                if not part["text"] and "thoughtSignature" not in part:
                    continue
            parts.append(part)
        if not parts:
            return None
        return native(Gemini.format, encode({"role": "model", "parts": parts}))

    def _take_part(self, part: Block) -> None:
        """Text that goes on is joined with the part before it, unless one of them is signed."""
        call, text = part.get("functionCall"), part.get("text")
        if isinstance(call, dict):
            index = len(self._parts)
            self._parts.append(part)
            arguments = call.get("args")
            self._draft.call(
                index,
                id=str(call.get("id") or self._draft.next_id),
                name=str(call.get("name") or ""),
                arguments=encode(arguments).decode() if arguments is not None else "",
            )
            return
        if isinstance(text, str):
            last = self._parts[-1] if self._parts else {}
            fields = part.keys() - {"text"}
            joins = "text" in last and all(last.get(k) == part[k] for k in fields)
            if not joins or "thoughtSignature" in last or last.keys() != part.keys():
                self._parts.append(part)
            index = len(self._parts) - 1
            if part.get("thought"):
                self._draft.thinking(index, text)
            else:
                self._draft.text(index, text)
            return
        self._parts.append(part)

    def _finish(self, candidate: _Candidate) -> None:
        reason = candidate.finish_reason or ""
        self._draft.stop = _STOPS.get(reason, "other")
        self._draft.why = clean(candidate.finish_message or "")
        if reason == "MISSING_THOUGHT_SIGNATURE":
            raise ModelError("Gemini misses a thought signature in the history.", kind="invalid")
        if self._draft.stop in ("refusal", "other") and not self._draft.why:
            self._draft.why = reason.lower().replace("_", " ")
