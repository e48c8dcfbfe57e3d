"""The http_request tool: a call of an API, with the owner's secrets by name."""

from __future__ import annotations

import json
from typing import Annotated

import msgspec
from pydantic import Field, model_validator

from perdure.kernel.events import Json, ToolResult
from perdure.methods import READING, Method

from .base import Effect, Sink, Tool, ToolContext, failed, ok
from .charsets import decode
from .outside import Outgoing, web_label
from .pages import excerpt
from .web_fetch import _laid_out, status_text

SHOWN = (
    "content-type",
    "location",
    "link",
    "retry-after",
    "etag",
    "allow",
    "x-ratelimit-remaining",
)
"""Headers of an answer that are shown."""
HEADER_CHARS = 300


class HttpRequest(Tool):
    """Call an HTTP API. Write secret://NAME in a header where a stored secret belongs."""

    name = "http_request"
    effects = frozenset({"reads", "writes", "network"})
    cooperative = True
    time_limit = 180.0
    origin = "web"
    # What an API does with a body nobody can know here, so all of it decides.
    sink = Sink(
        kind="send",
        critical={"method": "text", "url": "url", "body": "text"},
        content=("headers", "body"),
    )

    method: Method = "GET"
    url: Annotated[str, Field(min_length=1, max_length=8_192)]
    headers: dict[str, str] = Field(default={})
    body: Annotated[
        str | dict[str, Json] | list[Json] | None, Field(description="Text, or JSON as it is")
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _reading_is_no_choice(cls, given: object) -> object:
        """GET is what is sent anyway: nobody has to vouch for it."""
        if isinstance(given, dict) and given.get("method") == "GET":
            return {name: value for name, value in given.items() if name != "method"}
        return given

    def acts(self) -> frozenset[Effect]:
        return frozenset({"reads", "network"}) if self.method in READING else type(self).effects

    def asks_outside(self) -> tuple[str, str]:
        return self.method, self.url

    def preview(self, workdir: object) -> str:
        lines = [f"{self.method} {self.url}", *(f"{n}: {v}" for n, v in self.headers.items())]
        text = self.body if isinstance(self.body, str) else ""
        if self.body is not None and not isinstance(self.body, str):
            text = json.dumps(self.body, indent=1, ensure_ascii=False)
        return "\n".join([*lines, "", text] if text else lines)

    async def execute(self, context: ToolContext) -> ToolResult:
        if context.egress is None:
            return failed("There is no way out of this machine here.")
        headers = dict(self.headers)
        body = b""
        if isinstance(self.body, str):
            body = self.body.encode("utf-8", "replace")
        elif self.body is not None:
            body = json.dumps(self.body, ensure_ascii=False).encode("utf-8", "replace")
            if not any(name.lower() == "content-type" for name in headers):
                headers["Content-Type"] = "application/json"
        incoming = await context.egress.request(
            Outgoing(method=self.method, url=self.url, headers=headers, body=body, seconds=150)
        )
        lines = [status_text(incoming.status)]
        lines += [
            f"{name}: {incoming.headers[name][:HEADER_CHARS]}"
            for name in SHOWN
            if name in incoming.headers
        ]
        artifact = None
        if b"\0" in incoming.body[:1024]:
            artifact = context.artifacts.put(incoming.body, ".bin")
            text = f"[{len(incoming.body):,} bytes, kept as artifact:{artifact}]"
        else:
            text = decode(incoming.body, incoming.charset)
            if incoming.media_type.endswith("json"):
                text = _laid_out(text)
            if len(text) > context.max_result_chars:
                artifact = context.artifacts.put(text.encode(), ".txt")
                text = excerpt(text, context.max_result_chars, artifact)
        said = "\n".join(lines) + (f"\n\n{text}" if text else "")
        return msgspec.structs.replace(
            ok(said) if incoming.status < 400 else failed(said),
            artifact=artifact,
            label=web_label(incoming.url, private=incoming.private),
            data={
                "url": incoming.url,
                "chain": list(incoming.chain),
                "status": incoming.status,
                "type": incoming.media_type,
                "bytes": len(incoming.body),
            },
        )
