"""Where an answer sends a request on to, and what of the request goes along."""

from __future__ import annotations

from .address import Address
from .errors import Refused

REDIRECTED = (301, 302, 303, 307, 308)
HARMLESS = ("GET", "HEAD")
KEPT = frozenset(("accept", "accept-language", "user-agent"))
"""Headers that go along to another origin."""


def carried(
    previous: Address,
    address: Address,
    method: str,
    body: bytes,
    headers: dict[str, str],
) -> tuple[str, bytes, dict[str, str]]:
    """What of a request goes on to where it was redirected. Raises Refused."""
    if previous.scheme == "https" and address.scheme == "http":
        raise Refused(
            f"{previous.host} redirects from https to http ({address.host}).", stage="redirect"
        )
    if previous.origin == address.origin:
        return method, body, headers
    if method not in HARMLESS or body:
        raise Refused(
            f"{previous.host} wants the request sent on to {address.host}.",
            stage="redirect",
            hint=f"If that is right, send it there: {address.without_query}",
        )
    return (
        method,
        b"",
        {k: v for k, v in headers.items() if k.lower() in KEPT and "secret:" not in v},
    )
