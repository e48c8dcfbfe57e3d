"""May this request leave, as the owner's rules and what the gate has seen say?"""

from __future__ import annotations

from collections.abc import Sequence

from perdure.methods import METHODS

from .address import Address, parse, web_port
from .errors import Refused
from .message import Caller
from .redirects import HARMLESS
from .rules import Rules, Ruling

MAX_BODY = 32 << 20
"""Bytes that may leave in one request."""


def sendable(method: str, body: bytes) -> None:
    """Raises Refused for what no rule could let out."""
    if method not in METHODS:
        raise Refused(
            f"{method[:20]!r} is no method that may be sent.",
            stage="policy",
            hint=f"Known: {', '.join(METHODS)}",
        )
    if len(body) > MAX_BODY:
        message = f"Not sent: more than {MAX_BODY:,} bytes."
        raise Refused(message, stage="policy", brief=message)


def permitted(
    rules: Rules,
    method: str,
    address: Address,
    body: bytes,
    caller: Caller,
    redirected: bool,
) -> Ruling:
    """What lets a request out. `redirected`: an answer sent it here. Raises Refused for what nothing does."""
    ruling = rules.judge(method, address, tool=caller.tool, agent=caller.agent)
    hint = not_forbidden(rules, ruling, method, address)
    if ruling.effect == "ask":
        # Where a harmless request is sent on to, its first receiver has chosen: nobody learns
        # anything there that the first one did not know.
        onward = redirected and method in HARMLESS and not body
        passed = onward or (not redirected and _judged(address, caller.judged))
        if not passed:
            where = f"{method} {address.without_query}"
            raise Refused(
                f"Not sent: nobody has allowed {where}.",
                stage="policy",
                hint=hint,
                brief=f"Not sent: nobody has allowed {method} {address.authority}.",
            )
    return ruling


def not_forbidden(rules: Rules, ruling: Ruling, method: str, address: Address) -> str:
    """How the owner can allow what is not allowed yet. Raises Refused for what no approval lets out."""
    where = f"{method} {address.without_query}"
    hint = f'To allow it, in perdure.yaml: egress: {{allow: ["{method} {address.authority}"]}}'
    if ruling.effect == "deny":
        by = "by default" if ruling.rule == "default" else f"by the rule {ruling.rule!r}"
        raise Refused(
            f"Not sent: {where} is denied {by}.",
            stage="policy",
            hint=hint if ruling.rule == "default" else "",
            brief=f"Not sent: {method} {address.authority} is denied {by}.",
        )
    if ruling.rule == "default" and not rules.is_private(address) and not web_port(address.port):
        message = f"Not sent: port {address.port} is not one that the web is served on."
        raise Refused(message, stage="policy", hint=hint, brief=message)
    return hint


def _judged(address: Address, judged: Sequence[str]) -> bool:
    for text in judged:
        try:
            if "://" in text:
                if parse(text) == address:
                    return True
            elif parse(f"https://{text}/").host == address.host:
                return True
        except Refused:
            continue
    return False
