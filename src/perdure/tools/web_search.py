"""The web_search tool, before the engine the owner has chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote, urlencode

import msgspec
from pydantic import Field

from perdure.kernel.events import Json, ToolResult

from .base import Sink, Tool, ToolContext, failed, ok
from .charsets import visible
from .outside import Incoming, Outgoing, Search, web_label
from .web_fetch import status_text

ENGINES = {
    "brave": "https://api.search.brave.com/res/v1/web/search",
    "tavily": "https://api.tavily.com/search",
}
"""Where those are asked that everybody asks at the same address."""
TEXT = 500
"""Characters shown of one result's text."""
NOT_CONFIGURED = (
    "No search engine is set up. The owner can name one in perdure.yaml, e.g. "
    "web: {search: {provider: searxng, url: https://searx.example.org}}, or provider brave or tavily "
    "with secret: secret://NAME."
)


class WebSearch(Tool):
    """Search the web."""

    name = "web_search"
    effects = frozenset({"reads", "network"})
    idempotent = True
    parallel = True
    cooperative = True
    time_limit = 60.0
    origin = "web"
    sink = Sink(kind="send", critical={"query": "query"}, content=("query",))

    query: Annotated[str, Field(min_length=1, max_length=1_000)]
    count: Annotated[int, Field(ge=1, le=20)] = 5

    def preview(self, workdir: object) -> str:
        return f"Search for: {self.query}"

    async def execute(self, context: ToolContext) -> ToolResult:
        search = context.search
        if search is None or context.egress is None:
            return failed(NOT_CONFIGURED)
        incoming = await context.egress.request(asked(search, self.query, self.count))
        label = web_label(incoming.url, private=False)
        try:
            if incoming.status != 200:
                raise _Strange(f"answered {status_text(incoming.status)}")
            found = results(search, incoming)[: self.count]
        except _Strange as error:
            result = failed(f"{search.provider} {error}.")
            return msgspec.structs.replace(result, label=label, data={"status": incoming.status})
        lines = [
            f"{number}. {title}\n   {url}\n   {text}".rstrip()
            for number, (title, url, text) in enumerate(found, 1)
        ]
        result = ok(
            "\n".join(lines) or "Nothing was found.",
            provider=search.provider,
            results=len(found),
            urls=[url for _, url, _ in found],
        )
        return msgspec.structs.replace(result, label=label)


class _Strange(Exception):
    """What was wrong with the answer."""


def asked(search: Search, query: str, count: int) -> Outgoing:
    """The request for a search engine."""
    headers = {"Accept": "application/json", **search.headers}
    match search.provider:
        case "brave":
            url = f"{search.url or ENGINES['brave']}?{urlencode({'q': query, 'count': count})}"
            headers["X-Subscription-Token"] = search.secret
        case "tavily":
            headers |= {
                "Authorization": f"Bearer {search.secret}",
                "Content-Type": "application/json",
            }
            body = json.dumps({"query": query, "max_results": count}).encode()
            return Outgoing(
                method="POST", url=search.url or ENGINES["tavily"], headers=headers, body=body
            )
        case "searxng":
            base = search.url.rstrip("/").removesuffix("/search")
            url = f"{base}/search?{urlencode({'q': query, 'format': 'json'})}"
        case _:
            url = search.url.replace("{query}", quote(query, safe="")).replace(
                "{count}", str(count)
            )
    if search.provider in ("searxng", "custom") and search.secret:
        headers["Authorization"] = f"Bearer {search.secret}"
    return Outgoing(url=url, headers=headers, limit=4 << 20, seconds=30)


def results(search: Search, incoming: Incoming) -> list[tuple[str, str, str]]:
    """Title, address and text of each. Raises _Strange."""
    paths = {"brave": "web.results", "tavily": "results", "searxng": "results"}
    names: Mapping[str, str] = {
        "brave": {"text": "description"},
        "tavily": {"text": "content"},
        "searxng": {"text": "content"},
    }.get(search.provider, search.fields)
    try:
        at: Json = json.loads(incoming.body)
    except (ValueError, RecursionError):
        raise _Strange("did not answer in JSON") from None
    path = paths.get(search.provider, search.results)
    for key in path.split(".") if path else ():
        at = at.get(key) if isinstance(at, dict) else None
    if at is None:
        return []
    if not isinstance(at, list):
        raise _Strange(f"answered without a list of results at {path or 'the top'}")
    found = []
    for item in at:
        if not isinstance(item, dict):
            continue
        title, url, text = (_text(item.get(names.get(n, n))) for n in ("title", "url", "text"))
        if url.startswith(("http://", "https://")) and not any(c.isspace() for c in url):
            found.append((title[:200], url[:2_000], text[:TEXT]))
    return found


def _text(value: Json) -> str:
    """On one line, without the marks that engines put around what was found."""
    if not isinstance(value, str):
        return ""
    for mark in ("<strong>", "</strong>", "<b>", "</b>", "<em>", "</em>"):
        value = value.replace(mark, "")
    return " ".join(visible(value).split())
