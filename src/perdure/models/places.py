"""Where a provider's key may go: the addresses that are its own, as origins (`https://host[:port]`)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from urllib.parse import urlsplit

from perdure import hosts
from perdure.kernel.errors import ConfigError

from .providers import Provider

_PORTS = {"http": 80, "https": 443}


@functools.lru_cache(256)
def origin(url: str) -> str:
    """`scheme://host[:port]` of an address, in one spelling; empty for an empty one. Raises ConfigError."""
    if not url:
        return ""
    try:
        parts = urlsplit(url.strip())
        host, port = hosts.authority(parts.netloc)
    except ValueError:
        raise _no_address(url) from None
    if parts.scheme not in _PORTS:
        raise _no_address(url)
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (
        f":{port}" if port not in (None, _PORTS[parts.scheme]) else ""
    )


@functools.lru_cache(256)
def own_origins(row: Provider) -> tuple[str, ...]:
    """Those that belong to the provider."""
    named = tuple(f"https://{host}" for host in row.hosts)
    return (*named, origin(row.base_url)) if row.base_url else named


@functools.lru_cache(256)
def base_variables(variables: tuple[str, ...]) -> tuple[str, ...]:
    """Variables that name an address beside those of a key: OPENAI_API_KEY has OPENAI_BASE_URL."""
    stems = (name.removesuffix("_API_KEY").removesuffix("_API_TOKEN") for name in variables)
    return tuple(f"{stem}_BASE_URL" for stem in stems)


def local_place(row: Provider, env: Mapping[str, str]) -> str:
    """Where a variable puts a local server, as a base address; empty where none does."""
    place = env.get(row.base_url_env, "").strip() if row.base_url_env else ""
    if not place:
        return ""
    url = place if "://" in place else f"http://{place}"
    # 0.0.0.0 is where a server listens, not where one reaches it.
    url = url.replace("//0.0.0.0", "//127.0.0.1").rstrip("/")
    if ":" not in url.partition("://")[2] and url.startswith("http://"):
        url += ":11434"
    return url if url.endswith("/v1") else f"{url}/v1"


def _no_address(url: str) -> ConfigError:
    shown = url.rpartition("@")[2].partition("?")[0]
    return ConfigError(
        f"{shown[:200]!r} is no address of a server.",
        hint="Write it like https://host/v1, without a user or a password in it.",
    )
