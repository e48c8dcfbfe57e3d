"""OpenAI's Responses API, without state at the server: every request brings the whole context, and
reasoning comes back encrypted to be sent again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from perdure.kernel.events import Json
from perdure.kernel.prompt import Prompt

from .adapter import Adapter, Reader
from .codec import encode
from .most import ByLimit
from .openai_dialect import base_url, headers, whole_body
from .openai_responses_items import (
    FORMAT,
    instructions_json,
    item_json,
    tools_json,
    user_json,
)
from .openai_responses_stream import ResponsesStream
from .reply import Draft
from .spec import ModelSpec
from .transcript import PrefixBytes, Transcript, comma
from .wire import Http, Response

_NO_REASONING = re.compile(r"(gpt-3|gpt-4|chatgpt-|gpt-5-chat)")
"""Models that refuse to be asked for encrypted reasoning, having none."""


class OpenAIResponses(Adapter):
    """OpenAI, and the servers that speak its newer protocol."""

    format: ClassVar[str] = FORMAT
    mends: ClassVar[bool] = True
    reserved: ClassVar[frozenset[str]] = frozenset(
        ("input", "instructions", "tools", "tool_choice", "previous_response_id")
    )

    def __init__(self, spec: ModelSpec, http: Http) -> None:
        super().__init__(spec, http)
        self._url = f"{base_url(spec)}/responses"
        self.transcript = Transcript(item_json, FORMAT)
        self._instructions = PrefixBytes(instructions_json)
        self._tools = PrefixBytes(tools_json)
        self._ends = ByLimit(spec.max_output_tokens, self._settings)

    def request(self, prompt: Prompt) -> tuple[str, Sequence[bytes]]:
        items = self.transcript.joined(prompt)
        if prompt.tail:
            items += comma([user_json(prompt.tail)], after=bool(items))
        head, foot = self._ends.of(prompt.max_output)
        body = [head]
        if instructions := self._instructions.of(prompt.prefix):
            body += [b',"instructions":', instructions]
        if tools := self._tools.of(prompt.prefix):
            # They stay when they are withdrawn, so that the cached prefix does.
            body += [b',"tools":', tools, b"" if prompt.tools else b',"tool_choice":"none"']
        body += [b',"input":[', *items, b"]", foot]
        return self._url, body

    def headers(self, key: str) -> dict[str, str]:
        return headers(key)

    def reader(self, draft: Draft) -> ResponsesStream:
        return ResponsesStream(draft, self.spec.provider)

    async def whole(self, response: Response, reader: Reader, key: str) -> None:
        body, status = await whole_body(response)
        if b'"output"' not in body or not isinstance(reader, ResponsesStream):
            raise self._refused(response, body, key, status)
        reader.end(body)

    def _settings(self, most: int | None) -> tuple[bytes, bytes]:
        """What stands before the input and after it; the same in every request."""
        spec = self.spec
        fields: dict[str, Json] = {"stream": True, "store": False}
        if not _NO_REASONING.match(spec.name.rpartition("/")[2]):
            fields["include"] = ["reasoning.encrypted_content"]
        if most is not None:
            fields["max_output_tokens"] = most
        if spec.temperature is not None:
            fields["temperature"] = spec.temperature
        if spec.effort:
            fields["reasoning"] = {"effort": spec.effort, "summary": "auto"}
        fields.update(spec.extra)
        head = encode({"model": fields.pop("model", spec.name)})
        return head[:-1], b"," + encode(fields)[1:]
