"""Who may come in (S9): Host, Origin and bearer token, checked before any route sees a request.

Also the last net: whatever a route lets fall becomes a problem response here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import intake
from .connections import known
from .grants import OWNER, Grant, become
from .problems import Refusal, of_defect, of_refusal
from .rates import Rates, client_of
from .settings import LOOPBACK_NAMES, ServerSettings
from .tokens import Keyring

OPEN_PATHS = frozenset(("/livez", "/readyz", "/version", "/openapi.json"))
"""Served without a token: they tell nothing about the workspace."""


class Access:
    """ASGI middleware."""

    def __init__(
        self, app: ASGIApp, *, settings: ServerSettings, keys: Keyring, rates: Rates
    ) -> None:
        self._app, self._keys, self._rates = app, keys, rates
        self._hosts = {host.lower() for host in (*settings.allowed_hosts, settings.host)}
        self._hosts |= LOOPBACK_NAMES
        self._origins = {origin.lower().rstrip("/") for origin in settings.allowed_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        try:
            self._check(scope)
        except Refusal as refusal:
            return await of_refusal(refusal)(scope, receive, send)
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if started:
                raise
            await of_defect(error)(scope, receive, send)
        finally:
            intake.free(scope)

    def _check(self, scope: Scope) -> None:
        headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
        host = origin = b""
        credentials: list[bytes] = []
        for name, value in headers:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
            elif name == b"authorization":
                credentials.append(value)
        self._check_host(host)
        if origin:
            self._check_origin(origin, host)
        if scope["path"] in OPEN_PATHS:
            become(None)
        else:
            become(self._check_token(credentials, _client(scope)))
            known(scope)

    def _check_host(self, host: bytes) -> None:
        """A name that is not ours means DNS rebinding; a literal address cannot be rebound."""
        name = _name(host)
        if name in self._hosts or _is_address(name):
            return
        raise Refusal(
            421,
            "host",
            f"This server does not answer for the host {name!r}.",
            hint="Use localhost, an address, or a name that `server.allowed_hosts` in perdure.yaml has.",
        )

    def _check_origin(self, origin: bytes, host: bytes) -> None:
        text = origin.decode("latin-1").lower()
        if text in self._origins:
            return
        try:
            parts = urlsplit(text)
        except ValueError:
            parts = urlsplit("")
        own = parts.scheme in ("http", "https")
        if own and parts.netloc == host.decode("latin-1").lower():
            return
        raise Refusal(
            403,
            "origin",
            "Requests from that web page are not let in.",
            hint="Name its origin in `server.allowed_origins` of perdure.yaml.",
        )

    def _check_token(self, credentials: list[bytes], client: str) -> Grant:
        grant = None
        if len(credentials) == 1:
            scheme, _, token = credentials[0].partition(b" ")
            if scheme.lower() == b"bearer":
                grant = self._keys.find(token.strip())
        if (
            grant is OWNER
        ):  # who can read server.json needs no guess, and nobody locks the owner out
            return grant
        self._rates.check_guess(client)
        if grant is not None:
            self._rates.request(client, grant.id)
            return grant
        if credentials:
            self._rates.guessed(client)
        raise Refusal(
            401,
            "unauthorized",
            "A known bearer token is needed." if not credentials else "That token is not known.",
            hint="Send `Authorization: Bearer TOKEN`; the local token stands in the workspace's "
            ".perdure/run/server.json.",
            headers={"WWW-Authenticate": 'Bearer realm="perdure"'},
        )


def _client(scope: Scope) -> str:
    """Whoever holds the other end of the connection; what headers say of it does not count."""
    client = scope.get("client")
    return client_of(client[0]) if client else ""


def _name(host: bytes) -> str:
    """The name in a Host header, without port and brackets."""
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
