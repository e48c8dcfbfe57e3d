"""Requests for a page of the web, or for a search there."""

from __future__ import annotations

from .plan import Call, Plan, step
from .rules import MARK, Found, rule
from .view import View
from .words import block, quote, trouble

_URL = rf"(?P<url>https?://[^\s{MARK}]+|{MARK}\d+{MARK})"


def _fetching(found: Found, view: View) -> Plan | None:
    url = found.text("url")
    if not url.startswith(("http://", "https://")):
        return None
    return _fetch(url)


def _fetch(url: str) -> Plan:
    result = yield from step(f"I fetch {url}.", Call("web_fetch", {"url": url}))
    if result.status != "ok":
        return trouble(result, f"fetch {url}")
    title = result.data.get("title")
    named = f" It is called {quote(title)}." if isinstance(title, str) and title else ""
    return f"Here is {result.data.get('url', url)}.{named}\n\n{block(result.text)}"


def _searching(found: Found, view: View) -> Plan:
    query = found.text("query")
    result = yield from step(f"I search for {quote(query)}.", Call("web_search", {"query": query}))
    if result.status != "ok":
        return trouble(result, f"search for {quote(query)}")
    return f"This was found for {quote(query)}:\n\n{result.text}"


RULES = (
    rule(
        r"(?:fetch|get|open|read|show|visit|download|look at|summari[sz]e|what(?:'s| is)(?: (?:on|at))?)"
        rf"(?: me)?(?: the)?(?: (?:web ?)?(?:page|site|url|address))?(?: (?:at|from))? {_URL}",
        _fetching,
    ),
    rule(
        r"(?:search|look up)(?: (?:on|in))? (?:the )?(?:web|internet|net)(?: for)? (?P<query>.+)",
        _searching,
        entire=True,
    ),
)
"""Before those of files: an address would do for a path."""
