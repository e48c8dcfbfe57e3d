"""HTTP to model servers: one pooled client per process, raw bytes in and out, no retries.

What fails here is a ModelError (`connection`, `timeout`, `cut`): a retry is an event of the session
and is decided above. Leaving the response's block before its end closes the connection, which is how
a stop reaches the provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from perdure.kernel.errors import ModelError

if TYPE_CHECKING:
    import aiohttp

    from .wire_body import Chunks

CONNECT_SECONDS = 30.0
MAX_ERROR_BYTES = 256 * 1024
JOIN_BYTES = 128 * 1024
"""Bodies up to this are joined; larger ones are sent chunk by chunk, which spares a copy of them."""
DRAIN_SECONDS = 0.25
"""How long a server may take to end a response whose last event has come."""


class Http:
    """Shared by all models of a process. The client is made at the first request, on its loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._proxies: dict[str, str | None] = {}

    def post(
        self,
        url: str,
        headers: Mapping[str, str],
        chunks: Sequence[bytes],
        *,
        timeout: float = 300.0,
    ) -> Exchange:
        """POST the chunks as one body. Use as `async with http.post(...) as response`.
        `timeout` is the longest silence between bytes, in seconds."""
        return Exchange(self, url, headers, chunks, timeout)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._loop is not loop:
            import aiohttp

            from perdure import __version__

            self._loop = loop
            self._session = aiohttp.ClientSession(
                # Not compressed: that would hold events back, and cost more than it spares.
                headers={"user-agent": f"perdure/{__version__}", "accept-encoding": "identity"},
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
                read_bufsize=2**18,
            )
        return self._session

    def silence(self, seconds: float) -> aiohttp.ClientTimeout:
        """The longest between two bytes."""
        if seconds not in self._timeouts:
            import aiohttp

            self._timeouts[seconds] = aiohttp.ClientTimeout(
                total=None, connect=CONNECT_SECONDS, sock_read=seconds
            )
        return self._timeouts[seconds]

    def proxy(self, url: str) -> str | None:
        """From the environment (HTTPS_PROXY, NO_PROXY …), looked up once per origin."""
        scheme, host, *_ = urlsplit(url)
        origin = f"{scheme}://{host}"
        if origin not in self._proxies:
            from urllib.request import getproxies, proxy_bypass

            proxies = getproxies()
            skip = proxy_bypass(host)
            self._proxies[origin] = None if skip else proxies.get(scheme) or proxies.get("all")
        return self._proxies[origin]


class Response:
    """An answer whose body is still arriving."""

    __slots__ = ("_response", "_url", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, url: str) -> None:
        self._response = response
        self._url = url
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        """Looked up without regard to case."""

    async def chunk(self) -> bytes:
        """The next bytes of the body as they arrive, decompressed; empty at its end."""
        try:
            return await self._response.content.readany()
        except Exception as error:
            raise _failed(error, self._url, answered=True) from error

    async def read(self, limit: int = MAX_ERROR_BYTES) -> bytes:
        """The body, cut after `limit` bytes."""
        parts: list[bytes] = []
        size = 0
        while size < limit and (chunk := await self.chunk()):
            parts.append(chunk)
            size += len(chunk)
        return b"".join(parts)[:limit]

    async def drain(self) -> None:
        """Read on to the end, so that the connection can be used again; give up on one that hangs."""
        stream = self._response.content
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while await stream.readany():
                    pass
        except Exception:
            self._response.close()


class Exchange:
    """One request and its response, as an asynchronous context manager."""

    __slots__ = ("_chunks", "_headers", "_http", "_response", "_timeout", "_url")

    def __init__(
        self,
        http: Http,
        url: str,
        headers: Mapping[str, str],
        chunks: Sequence[bytes],
        timeout: float,
    ) -> None:
        self._http = http
        self._url = url
        self._headers = headers
        self._chunks = chunks
        self._timeout = timeout
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> Response:
        session = self._http.session()
        size = sum(map(len, self._chunks))
        data: bytes | Chunks
        if size <= JOIN_BYTES:
            data = b"".join(self._chunks)
        else:
            from .wire_body import Chunks

            data = Chunks(self._chunks, size)
        try:
            # Also bounds a server that takes no more of the body.
            async with asyncio.timeout(CONNECT_SECONDS + self._timeout):
                self._response = await session.post(
                    self._url,
                    data=data,
                    headers=self._headers,
                    proxy=self._http.proxy(self._url),
                    allow_redirects=False,
                    timeout=self._http.silence(self._timeout),
                )
        except Exception as error:
            raise _failed(error, self._url, answered=False) from error
        return Response(self._response, self._url)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._response is not None:
            # Closes the connection unless the body was read to its end.
            self._response.close()
            self._response = None


def _failed(error: Exception, url: str, *, answered: bool) -> ModelError:
    """Names the server's host, never the whole address: a query string can hold a key."""
    import aiohttp

    try:
        host = urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        host = ""
    if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError):
        connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
        what = "could not be reached in time" if connecting else "went silent"
        return ModelError(f"{host} {what}.", kind="connection" if connecting else "timeout")
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return ModelError(
            f"{host or 'The base_url'} is no valid address.", kind="invalid", hint="Check base_url."
        )
    if answered:
        return ModelError(f"{host} closed the connection in mid-answer.", kind="cut")
    if isinstance(error, aiohttp.ClientSSLError):
        return ModelError(f"{host} has no certificate this machine trusts.", kind="connection")
    if isinstance(error, aiohttp.ClientConnectorError):
        return ModelError(
            f"{host} cannot be reached: {error.os_error.strerror or error.os_error}.",
            kind="connection",
        )
    return ModelError(f"The connection to {host} broke.", kind="connection")
