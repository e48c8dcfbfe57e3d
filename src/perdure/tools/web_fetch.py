"""The web_fetch tool: a page, document or picture from the web, to read."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import msgspec
from pydantic import Field, field_validator

from perdure.kernel.events import Image, Text, ToolResult

from .apart import Unreadable, read_apart
from .base import Sink, Tool, ToolContext, failed, ok
from .charsets import decode, visible
from .outside import Incoming, Outgoing, web_label
from .pages import page_hint
from .read import MAX_IMAGE, _image

HERE = Path(__file__).parent
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
MAX_TEXT = 5 << 20
"""Bytes of a page that are read; the rest is cut off."""
MAX_OTHER = 20 << 20
MOST_SHOWN = 20_000
"""Characters of a page that are put before the model at once."""
ERROR_SHOWN = 1_000
ACCEPT = (
    "text/html, application/xhtml+xml, text/*;q=0.9, application/json;q=0.9, application/pdf;q=0.8"
)
TYPES = ("text/*", "image/*", "application/pdf", "application/json", "application/xml",
         "application/javascript", "application/x-ndjson", "application/yaml",
         "application/octet-stream", "+json", "+xml")  # fmt: skip


class WebFetch(Tool):
    """Fetch a web page (as Markdown), PDF, JSON, text or image."""

    name = "web_fetch"
    effects = frozenset({"reads", "network"})
    idempotent = True
    parallel = True
    cooperative = True
    time_limit = 120.0
    origin = "web"
    sink = Sink(kind="send", critical={"url": "url"})

    url: Annotated[str, Field(min_length=1, max_length=8_192)]

    @field_validator("url")
    @classmethod
    def _whole(cls, url: str) -> str:
        """What is judged and shown is what will be fetched."""
        return url if _SCHEME.match(url) else f"https://{url}"

    def asks_outside(self) -> tuple[str, str]:
        return "GET", self.url

    def preview(self, workdir: object) -> str:
        return f"GET {self.url}"

    async def execute(self, context: ToolContext) -> ToolResult:
        if context.egress is None:
            return failed("There is no way out of this machine here.")
        incoming = await context.egress.request(
            Outgoing(
                url=self.url, headers={"Accept": ACCEPT}, limit=MAX_OTHER, cut=True, types=TYPES
            )
        )
        result = await _result(incoming, context)
        return msgspec.structs.replace(
            result,
            label=web_label(incoming.url, private=incoming.private),
            data={**_facts(incoming), **result.data},
        )


async def _result(incoming: Incoming, context: ToolContext) -> ToolResult:
    if incoming.status >= 400:
        return await _refused(incoming)
    data = incoming.body
    if kind := _image(data[:16]):
        return _picture(incoming, kind, context)
    if data.startswith(b"%PDF") or incoming.media_type == "application/pdf":
        if incoming.cut:
            return failed(f"The PDF is longer than {MAX_OTHER:,} bytes.")
        try:
            text = (await read_apart(HERE / "pdf.py", data)).decode("utf-8", "replace")
        except Unreadable as error:
            return failed(f"The PDF cannot be read: {error}.")
        return _shown("", visible(text), incoming, context)
    if b"\0" in data[:1024] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return failed(
            f"This is no text ({incoming.media_type or 'of no type'}, {len(data):,} bytes)."
        )
    if "html" in incoming.media_type or (
        not incoming.media_type
        and data[:200].lstrip().lower().startswith((b"<!doctype html", b"<html"))
    ):
        try:
            page = await _page(incoming)
        except Unreadable as error:
            return failed(f"The page cannot be read: {error}.")
        text = page.text or "(The page has no text. It may be made by scripts, which are not run.)"
        return _shown(page.title, text, incoming, context, links=page.links)
    text = decode(data[:MAX_TEXT], incoming.charset)
    if incoming.media_type.endswith("json"):
        text = _laid_out(text)
    return _shown("", text, incoming, context)


class _Page(msgspec.Struct):
    title: str
    text: str
    links: int


async def _page(incoming: Incoming) -> _Page:
    """Raises Unreadable."""
    html = decode(incoming.body[:MAX_TEXT], incoming.charset, html=True)
    out = await read_apart(HERE / "page.py", html.encode("utf-8", "replace"), incoming.url)
    page = msgspec.json.decode(out, type=_Page)
    # Entities have become letters by now, some of which nobody sees.
    return _Page(title=visible(page.title), text=visible(page.text), links=page.links)


def _shown(
    title: str, text: str, incoming: Incoming, context: ToolContext, *, links: int | None = None
) -> ToolResult:
    text = text.encode("utf-8", "replace").decode()
    head = f"{title}\n{incoming.url}\n\n" if title else f"{incoming.url}\n\n"
    limit = min(context.max_result_chars, MOST_SHOWN)
    artifact = None
    note = ""
    if incoming.cut or len(incoming.body) > MAX_TEXT:
        note = "\n[The document is longer than what was fetched.]"
    if len(text) > limit:
        artifact = context.artifacts.put(text.encode(), ".md")
        end = text.rfind("\n", limit // 2, limit)
        first = text[: end if end > 0 else limit]
        lines = text.count("\n") + 1
        note = (
            f"\n[… the first {len(first):,} of {len(text):,} characters, {lines:,} lines; "
            f"go on with {page_hint(artifact)}, offset={first.count(chr(10)) + 2} …]{note}"
        )
        text = first
    result = ok(head + text + note, title=title, characters=len(text))
    if links is not None:
        result.data["links"] = links
    return msgspec.structs.replace(result, artifact=artifact)


def _picture(incoming: Incoming, kind: tuple[str, str], context: ToolContext) -> ToolResult:
    media_type, ext = kind
    size = len(incoming.body)
    if size > MAX_IMAGE or incoming.cut:
        return failed(f"The image is larger than {MAX_IMAGE:,} bytes.", bytes=size)
    artifact = context.artifacts.put(incoming.body, ext)
    return ToolResult(
        parts=(
            Text(text=f"{incoming.url}: {media_type}, {size:,} bytes."),
            Image(media_type=media_type, artifact=artifact),
        ),
        data={"media_type": media_type},
    )


async def _refused(incoming: Incoming) -> ToolResult:
    said = ""
    if "html" in incoming.media_type:
        with suppress(Unreadable):
            said = (await _page(incoming)).text
    elif incoming.media_type.startswith("text/") or incoming.media_type.endswith("json"):
        said = decode(incoming.body[:MAX_TEXT], incoming.charset)
    if len(said) > ERROR_SHOWN:
        said = said[:ERROR_SHOWN] + "…"
    return failed(f"{incoming.url} answered {status_text(incoming.status)}.\n{said}".strip())


def status_text(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _facts(incoming: Incoming) -> dict[str, object]:
    return {
        "url": incoming.url,
        "chain": list(incoming.chain),
        "status": incoming.status,
        "type": incoming.media_type,
        "bytes": len(incoming.body),
    }


def _laid_out(text: str) -> str:
    """JSON on one long line is made readable."""
    if text.count("\n") * 200 >= len(text):
        return text
    try:
        return json.dumps(json.loads(text), indent=1, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
