"""How a server listens and whom it lets in."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from perdure.kernel.errors import ConfigError

LOOPBACK_NAMES = frozenset(("localhost", "ip6-localhost"))


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSettings:
    host: str = "127.0.0.1"
    port: int = 0
    """0: any free one; `server.json` says which."""
    tokens: tuple[str, ...] = field(default=(), repr=False)
    """Bearer tokens the owner configured. The local token of `server.json` always counts too."""
    allowed_hosts: tuple[str, ...] = ()
    """Names, besides the loopback's, that a request's Host may carry."""
    allowed_origins: tuple[str, ...] = ()
    """Web origins, besides the server's own, from which a browser may call, e.g. `https://my.site`."""
    rate: float = 100.0
    """Requests a second that one token may make from one client, after a burst of five times as many."""
    max_body: int = 16 * 1024 * 1024
    """Bytes."""
    max_bodies: int = 64 * 1024 * 1024
    """Bytes of large bodies that are held at a time, of all requests together."""
    patience: float = 10.0
    """Seconds a connection has to send the head of a request."""
    strangers: int = 256
    """Connections that may be open without having shown a known token."""
    keep_alive: float = 15.0
    """Seconds of silence on an event stream after which a comment is sent."""
    stall: float = 30.0
    """Seconds a client of an event stream may take nothing before it is let go."""
    stream_buffer: int = 1024 * 1024
    """Bytes of live events held for one slow client; beyond, it is served from the log again."""

    def check(self) -> None:
        """Raises ConfigError: outside of the loopback a token is a must (S9)."""
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"server port {self.port} is not between 0 and 65535")
        if any(len(token) < 16 for token in self.tokens):
            raise ConfigError(
                "a server token is shorter than 16 characters",
                hint="Make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        if not is_loopback(self.host) and not self.tokens:
            raise ConfigError(
                f"the server would listen on {self.host} without authentication",
                hint="Set `server.token` in perdure.yaml, for example to ${PERDURE_TOKEN}, and put "
                "a long random value there; or leave `server.host` at 127.0.0.1 and tunnel "
                "with ssh -L.",
            )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() in LOOPBACK_NAMES
