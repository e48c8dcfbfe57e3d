"""Which requests the owner allows: rules over method, host, port and path, for all or for some tools and
agents. A rule that denies wins over one that allows, whatever their order.

    api.github.com                       any method and path, on ports 80 and 443
    *.example.org                        its subdomains, not itself
    GET https://api.github.com/repos/*   this method, https only, below this path
    GET,POST host.example:8443           this port
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import msgspec

from perdure.kernel.errors import ConfigError
from perdure.methods import METHODS

from .address import PORTS, Address, ambiguous, authority, decoded_path, host_name
from .errors import Refused

Effect = Literal["allow", "deny", "ask"]
TUNNEL = "CONNECT"

_RULE = re.compile(
    r"(?:(?P<methods>[A-Z]+(?:,[A-Z]+)*)\s+)?(?:(?P<scheme>https?)://)?"
    r"(?P<host>\*|(?:\*\.)?[^\s/:*\[\]]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}|\*))?(?P<path>/\S*)?"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    text: str
    methods: frozenset[str] = frozenset()
    """Empty: all."""
    scheme: str = ""
    host: str = "*"
    port: int | None = None
    """None: the scheme's own; 0: any."""
    path: str = ""
    """With `*` for any characters; empty: all."""
    tools: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()

    def names(self, address: Address) -> bool:
        """Scheme, host and port fit."""
        if self.scheme and self.scheme != address.scheme:
            return False
        if self.port != 0 and address.port != (self.port or PORTS[address.scheme]):
            return False
        if self.host == "*":
            return True
        if self.host.startswith("*."):
            return address.host.endswith(self.host[1:]) and address.ip is None
        return self.host == address.host

    def concerns(self, tool: str, agent: str) -> bool:
        return (not self.tools or tool in self.tools) and (not self.agents or agent in self.agents)


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    effect: Effect
    rule: str
    """The rule that decided, or `default`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()
    default: Effect = "ask"
    private: frozenset[tuple[str, int]] = frozenset()
    """Hosts and ports on this machine or its network that the owner has named."""
    intercept: tuple[Rule, ...] = field(default=())
    """Hosts whose encrypted connections from the sandbox are opened and judged as well."""

    def judge(self, method: str, address: Address, *, tool: str = "", agent: str = "") -> Ruling:
        """`CONNECT`: a tunnel, whose methods and paths will not be seen."""
        tunnel = method == TUNNEL
        seen = decoded_path(address.path)
        for rule in self.deny:
            if not rule.concerns(tool, agent) or not self._denies(rule, address):
                continue
            if tunnel or (
                (not rule.methods or method in rule.methods)
                and (
                    not rule.path
                    or _fits(seen, rule.path)
                    or _fits(address.path, rule.path)
                    or _fits(seen.lower(), rule.path.lower())
                )
            ):
                return Ruling(effect="deny", rule=rule.text)
        for rule in self.allow:
            if not rule.concerns(tool, agent) or not rule.names(address):
                continue
            if tunnel and (rule.methods or rule.path):
                continue
            if rule.methods and method not in rule.methods:
                continue
            if rule.path and (ambiguous(address.path) or not _fits(seen, rule.path)):
                continue
            return Ruling(effect="allow", rule=rule.text)
        return Ruling(effect=self.default, rule="default")

    def is_private(self, address: Address) -> bool:
        return (address.host, address.port) in self.private

    def intercepts(self, address: Address) -> bool:
        return any(rule.names(address) for rule in self.intercept)

    @staticmethod
    def _denies(rule: Rule, address: Address) -> bool:
        """What is denied without a port is denied on every port."""
        if rule.port is None and not rule.scheme:
            rule = Rule(text=rule.text, host=rule.host, port=0)
        return rule.names(address)


def parse_rule(
    text: str, *, tools: Iterable[str] = (), agents: Iterable[str] = (), where: str = "egress"
) -> Rule:
    """Raises ConfigError."""
    match = _RULE.fullmatch(text.strip())
    if match is None:
        raise _wrong(text, where, "Write: [METHODS] [https://]host[:port][/path]")
    methods = frozenset((match["methods"] or "").split(",")) - {""}
    if unknown := sorted(methods - set(METHODS)):
        raise _wrong(text, where, f"{unknown[0]} is no method; known: {', '.join(METHODS)}")
    host, wild = match["host"], ""
    if host.startswith("*."):
        host, wild = host[2:], "*."
    try:
        if host.startswith("["):
            host, _ = authority(host, 0)
        elif host != "*":
            host = host_name(host)
    except Refused as error:
        raise _wrong(text, where, str(error)) from None
    port = match["port"]
    return Rule(
        text=text.strip(),
        methods=methods,
        scheme=match["scheme"] or "",
        host=wild + host,
        port=None if not port else 0 if port == "*" else int(port),
        path=match["path"] or "",
        tools=frozenset(tools),
        agents=frozenset(agents),
    )


def parse_private(text: str, where: str = "egress.private") -> tuple[str, int]:
    """`host:port`. Raises ConfigError."""
    try:
        host, port = authority(text.strip(), 0)
    except Refused as error:
        raise _wrong(text, where, str(error)) from None
    if not port:
        raise _wrong(text, where, "Name the port as well: host:port")
    return host, port


def _fits(path: str, pattern: str) -> bool:
    return _compiled(pattern).fullmatch(path) is not None


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def _wrong(text: str, where: str, hint: str) -> ConfigError:
    return ConfigError(f"`{where}`: {text[:100]!r} is no rule", hint=hint)
