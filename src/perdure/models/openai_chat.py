"""Chat Completions: OpenAI's older protocol, which nearly every other server speaks as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from perdure.kernel.events import Json, RequestId
from perdure.kernel.ports import Emit
from perdure.kernel.prompt import Prompt, Reply

from .adapter import Adapter, Reader
from .codec import encode
from .most import ByLimit
from .openai_chat_items import FORMAT, ChatItems, tools_json
from .openai_chat_stream import ChatStream
from .openai_dialect import base_url, dialect_of, headers, whole_body
from .reply import Draft
from .spec import ModelSpec
from .transcript import PrefixBytes, Transcript, comma
from .wire import Http, Response


class OpenAIChat(Adapter):
    """Any server with a `/chat/completions`."""

    format: ClassVar[str] = FORMAT
    mends: ClassVar[bool] = True
    reserved: ClassVar[frozenset[str]] = frozenset(("messages", "tools", "tool_choice"))

    def __init__(self, spec: ModelSpec, http: Http) -> None:
        super().__init__(spec, http)
        self._dialect = dialect_of(spec)
        self._url = f"{base_url(spec)}/chat/completions"
        self._items = ChatItems(self._dialect)
        self.transcript = Transcript(self._items.item, f"{FORMAT} {self._dialect}")
        self._system = PrefixBytes(self._items.prefix)
        self._tools = PrefixBytes(tools_json)
        self._ends = ByLimit(spec.max_output_tokens, self._settings)
        self._stream: ChatStream | None = None

    def request(self, prompt: Prompt) -> tuple[str, Sequence[bytes]]:
        system = self._system.of(prompt.prefix)
        messages = [system] if system else []
        pieces = self.transcript.sync(prompt)
        blocks, settled = self.transcript.settled(len(pieces) - 1)
        last = pieces[settled:]
        if self._dialect.cache_marks and prompt.items:
            marked = self._items.marked(prompt.items[-1], prompt.images)
            if marked:
                last[-1] = marked
        if prompt.tail:
            last.append(encode({"role": "user", "content": prompt.tail}))
        if blocks and messages:
            messages.append(b",")
        messages += blocks
        messages += comma(last, after=bool(messages))
        tools = b""
        if self._dialect.tool_choice or prompt.tools:
            tools = self._tools.of(prompt.prefix)
        head, foot = self._ends.of(prompt.max_output)
        body = [head, *messages, b"]"]
        if tools:
            body += [b',"tools":', tools]
            if not prompt.tools:
                body.append(b',"tool_choice":"none"')
        body.append(foot)
        return self._url, body

    def headers(self, key: str) -> dict[str, str]:
        return headers(key)

    def reader(self, draft: Draft) -> ChatStream:
        self._stream = ChatStream(draft, self.spec.provider)
        return self._stream

    async def call(self, prompt: Prompt, request: RequestId, emit: Emit) -> Reply:
        # One call at a time, since an adapter belongs to one session.
        try:
            reply = await super().call(prompt, request, emit)
            cost = self._stream.cost_usd if self._stream is not None else None
        finally:
            self._stream = None
        if cost is None or not self._dialect.tells_cost:
            return reply
        return msgspec.structs.replace(reply, cost_usd=cost)

    async def whole(self, response: Response, reader: Reader, key: str) -> None:
        """Some servers answer whole though a stream was asked for."""
        body, status = await whole_body(response)
        if b'"choices"' not in body:
            raise self._refused(response, body, key, status)
        reader.take("", body)
        reader.take("", b"[DONE]")

    def _settings(self, most: int | None) -> tuple[bytes, bytes]:
        """What stands before the messages and what after the tools; the same in every request."""
        spec, dialect = self.spec, self._dialect
        fields: dict[str, Json] = {"stream": True}
        if dialect.asks_usage:
            fields["stream_options"] = {"include_usage": True}
        if most is not None:
            fields[dialect.output_limit] = most
        if spec.temperature is not None:
            fields["temperature"] = spec.temperature
        if spec.effort:
            fields[dialect.effort] = (
                {"effort": spec.effort} if dialect.effort == "reasoning" else spec.effort
            )
        fields.update(spec.extra)
        head = encode({"model": fields.pop("model", spec.name)})
        return head[:-1] + b',"messages":[', b"," + encode(fields)[1:]
