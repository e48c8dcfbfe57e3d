"""What the caller of the present request may do. Set by `access`, asked by `authorized`; nothing that a
request says of itself changes it."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from perdure.kernel.labels import Trust

from .problems import Refusal

Scope = Literal["read", "chat", "approve", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "chat", "approve", "admin")
_INCLUDES: dict[Scope, frozenset[Scope]] = {
    "read": frozenset({"read"}),
    "chat": frozenset({"read", "chat"}),
    "approve": frozenset({"read", "approve"}),
    "admin": frozenset(SCOPES),
}
_TRUST: tuple[Trust, ...] = ("third_party", "known", "owner")


def closed(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """With what each of them includes: who may chat may read."""
    return frozenset(s for scope in scopes for s in _INCLUDES[scope])


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """What a token gives its bearer."""

    id: str
    """Of the token; `local` for the one in server.json, `configured` for perdure.yaml's."""
    name: str
    """Who it was made for: stands in the log as who answered an approval."""
    scopes: frozenset[Scope]
    """Closed: includes what its members include."""
    agents: frozenset[str] | None = None
    """Only these; None: all."""
    trust: Trust = "owner"
    """Whose words its messages are."""

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes

    def sees(self, agent: str) -> bool:
        return self.agents is None or agent in self.agents

    def covers(self, scopes: frozenset[Scope], agents: frozenset[str] | None, trust: Trust) -> bool:
        """Could it hand this on? A token makes no token that may more than itself."""
        return (
            scopes <= self.scopes
            and (self.agents is None or (agents is not None and agents <= self.agents))
            and _TRUST.index(trust) <= _TRUST.index(self.trust)
        )


OWNER = Grant(id="local", name="owner", scopes=frozenset(SCOPES))
CONFIGURED = Grant(id="configured", name="owner", scopes=frozenset(SCOPES))

_current: ContextVar[Grant | None] = ContextVar("perdure.grant", default=None)


def become(grant: Grant | None) -> None:
    """The caller of the request that this task serves."""
    _current.set(grant)


def current() -> Grant:
    """Raises Refusal where nobody was let in: a route that skipped the check does nothing."""
    grant = _current.get()
    if grant is None:
        raise Refusal(401, "unauthorized", "A known bearer token is needed.")
    return grant


def need(scope: Scope) -> Grant:
    """The caller, who must have this scope. Raises Refusal."""
    grant = current()
    if not grant.may(scope):
        raise Refusal(
            403,
            "scope",
            f"This token may not do that: it lacks the scope {scope}.",
            hint=f"It has: {', '.join(s for s in SCOPES if s in grant.scopes)}. The owner can make "
            f"another: perdure token create NAME --scope {scope}",
        )
    return grant


def need_agent(grant: Grant, agent: str) -> None:
    """Raises Refusal: what belongs to another agent does not exist for this token."""
    if not grant.sees(agent):
        raise Refusal(404, "not-found", "There is no such thing, or not for this token.")
