"""Anthropic's Messages API, streamed.

Sources: platform.claude.com, API reference of `POST /v1/messages`, pages on streaming, prompt caching,
thinking and errors.

Two rules of this API shape the code. Thinking blocks are bound to what came before them, so every
request must begin with the last one to the byte: what the runtime adds at the tail of a request stays
at its place for as long as the history does. And a cache is found only at a marked block, so the end
of this request and of the one before it are marked; marks are no part of what is cached.
"""

from __future__ import annotations

from collections.abc import Sequence

from perdure.kernel.errors import ModelError
from perdure.kernel.events import Json, Native, RequestId
from perdure.kernel.ports import Emit
from perdure.kernel.prompt import AssistantItem, ImageSource, Item, Prefix, Prompt, Reply

from .adapter import Adapter
from .anthropic_items import END, FORMAT, encode_item, text_block, user_message
from .anthropic_stream import AnthropicReader
from .calls import call_id
from .claude import Claude
from .codec import encode
from .most import ByLimit
from .reply import Draft
from .spec import ModelSpec
from .transcript import Passing, PrefixBytes, Transcript, comma
from .wire import Http

BASE_URL = "https://api.anthropic.com"
VERSION = "2023-06-01"

_MARK = b',"cache_control":{"type":"ephemeral"}'
_STALE_THINKING = "bound to a different conversation"
_BINDING_BETA = "thinking-binding-controls-2026-08-01"
_INTERLEAVED_BETA = "interleaved-thinking-2025-05-14"


class Anthropic(Adapter):
    """One Claude model, talking with one session."""

    format = FORMAT
    mends = True
    reserved = frozenset(("messages", "system", "stream", "tool_choice"))

    def __init__(self, spec: ModelSpec, http: Http) -> None:
        super().__init__(spec, http)
        self._claude = Claude(spec.name)
        self._url = f"{(spec.base_url or BASE_URL).rstrip('/').removesuffix('/v1')}/v1/messages"
        self.transcript = Transcript(self._encode_item, FORMAT)
        self._prefix = PrefixBytes(self._encode_prefix)
        self._heads = ByLimit(
            spec.max_output_tokens,
            lambda limit: {drop: self._head(drop, limit) for drop in (False, True)},
        )
        self._marked = -1
        """Index of the last item at the last request."""
        self._drop_stale = False
        self._sent = ""
        """The tail of the last request."""
        self._answered: tuple[Native, int, str] | None = None
        """(the last answer, the revision it answered, the tail that was sent with it)."""
        self._said: tuple[int, str] | None = None
        """(revision, text) of the last tail that stayed."""

    async def call(self, prompt: Prompt, request: RequestId, emit: Emit) -> Reply:
        try:
            reply = await super().call(prompt, request, emit)
        except ModelError as error:
            stale = error.kind == "invalid" and _STALE_THINKING in error.message
            if stale and self._claude.binds and not self._drop_stale:
                # The history before a thinking block is not what it was: the next attempt says that
                # such blocks may be dropped. `server`, because another attempt will do.
                self._drop_stale = True
                error.kind = "server"
            raise
        if reply.native is not None and self._sent:
            self._answered = (reply.native, prompt.revision, self._sent)
        return reply

    def request(self, prompt: Prompt) -> tuple[str, Sequence[bytes]]:
        pieces = self.transcript.sync(prompt)
        end, before = len(pieces) - 1, min(self._marked, len(pieces) - 1)
        blocks, settled = self.transcript.settled(before if before >= 0 else max(0, end))
        rest = pieces[settled:]
        for at in {end, before}:
            if at >= 0 and not isinstance(prompt.items[at], AssistantItem):
                piece = pieces[at]
                rest[at - settled] = piece[: -len(END)] + _MARK + END
        self._marked = end
        self._sent = self._tail(prompt)
        if self._sent:
            rest.append(user_message([text_block(self._sent)]))
        elif not prompt.items or isinstance(prompt.items[-1], AssistantItem):
            # An answer cannot be continued: the last word must be the user's.
            rest.append(user_message([text_block("Go on.")]))
        drop = self._claude.binds and (self._drop_stale or prompt.revision > 0)
        choice = (
            b"" if prompt.tools or not prompt.prefix.tools else b',"tool_choice":{"type":"none"}'
        )
        opening = (
            self._heads.of(prompt.max_output)[drop],
            self._prefix.of(prompt.prefix),
            choice,
            b',"messages":[',
        )
        return self._url, (*opening, *blocks, *comma(rest, after=bool(blocks)), b"]}")

    def headers(self, key: str) -> dict[str, str]:
        headers = {"content-type": "application/json", "anthropic-version": VERSION}
        betas = []
        if self._claude.binds:
            betas.append(_BINDING_BETA)
        if self.spec.effort and self._claude.wants_interleaved_beta:
            betas.append(_INTERLEAVED_BETA)
        if betas:
            headers["anthropic-beta"] = ",".join(betas)
        if key:
            headers["x-api-key"] = key
        return headers

    def call_id(self, identity: str) -> str:
        return call_id(identity)

    def reader(self, draft: Draft) -> AnthropicReader:
        return AnthropicReader(draft, self.spec)

    def _tail(self, prompt: Prompt) -> str:
        """The tail to send: nothing if the last one that stayed in the history says the same."""
        said = self._said is not None and self._said == (prompt.revision, prompt.tail)
        return "" if said or not prompt.tail.strip() else prompt.tail

    def _encode_item(self, item: Item, images: ImageSource | None) -> bytes:
        """The message; before an answer to a request with a tail, that tail."""
        message = encode_item(item, images)
        if self._answered is not None and isinstance(item, AssistantItem):
            answer, revision, tail = self._answered
            if item.native == answer:
                self._answered, self._said = None, (revision, tail)
                return Passing(user_message([text_block(tail)]) + b"," + message)
        return message

    def _head(self, drop_stale: bool, most: int | None) -> bytes:
        """What does not change from call to call, without its closing brace."""
        spec, claude = self.spec, self._claude
        limit = most or claude.max_tokens
        body: dict[str, Json] = {"model": spec.name, "max_tokens": limit, "stream": True}
        body.update(claude.effort(spec.effort, limit))
        if spec.temperature is not None and claude.samples and "thinking" not in body:
            body["temperature"] = spec.temperature
        body.update({k: v for k, v in spec.extra.items() if k != "tools"})
        if drop_stale:
            thinking = body.get("thinking")
            settings = thinking if isinstance(thinking, dict) else {"type": "adaptive"}
            if settings.get("type") == "adaptive":
                body["thinking"] = {
                    "block_binding": {"prefix_mismatch_behavior": "drop_block"},
                    **settings,
                }
        return encode(body)[:-1]

    def _encode_prefix(self, prefix: Prefix) -> bytes:
        body: dict[str, Json] = {}
        tools: list[Json] = [
            {"name": t.name, "description": t.description, "input_schema": t.parameters}
            for t in prefix.tools
        ]
        if isinstance(more := self.spec.extra.get("tools"), list):
            tools += more
        if tools:
            body["tools"] = tools
        mark: Json = {"type": "ephemeral"}
        if prefix.system.strip():
            body["system"] = [{"type": "text", "text": prefix.system, "cache_control": mark}]
        elif tools and isinstance(last := tools[-1], dict):
            tools[-1] = {**last, "cache_control": mark}
        return b"," + encode(body)[1:-1] if body else b""
