"""One request to one checked address. aiohttp is given the address, never the name: nothing below this
line can look a name up, follow a redirect, use a proxy or a cookie, or ask for credentials.

Imported when the first request is made.
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import aiohttp
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDict
from yarl import URL

from .address import Address
from .errors import Refused, Unreachable
from .networks import IP, plain

CONNECT_SECONDS = 15.0
SILENCE_SECONDS = 30.0
CHUNK = 64 << 10
MAX_HEADER = 32 << 10
ENCODINGS = "gzip, deflate"
FRAMED = 15
"""zlib's largest window, with the frame of its format."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in lower case; of several alike the first."""
    body: bytes = field(repr=False)
    cut: bool
    peer: str
    received: int
    """Bytes of the body before decompression."""


class _Pinned(aiohttp.TCPConnector):
    """Connects to the address in the URL, and makes sure that it did, before anything is sent."""

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,
    ) -> ResponseHandler:
        proto = await super()._create_connection(req, traces, timeout)
        transport = proto.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        try:
            same = peer is not None and plain(str(peer[0])) == plain(req.url.raw_host or "")
        except ValueError:
            same = False
        if not same:
            if transport is not None:
                transport.abort()
            raise Refused(
                "The connection went to another address than the one checked.", stage="resolve"
            )
        return proto


class Wire:
    """The pooled connections of one event loop."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        """`context`: to verify certificates with; by default with those this machine trusts."""
        self._context = context or ssl.create_default_context()
        self._session = aiohttp.ClientSession(
            connector=_Pinned(
                limit=100, keepalive_timeout=30, use_dns_cache=False, ssl=self._context
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            requote_redirect_url=False,
            skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
            read_bufsize=CHUNK,
        )

    async def close(self) -> None:
        await self._session.close()

    async def send(
        self,
        method: str,
        address: Address,
        ips: tuple[IP, ...],
        *,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        limit: int,
        cut: bool,
        wanted: tuple[str, ...],
    ) -> Answer:
        """`target`: the request line's, which is the address's own but for secrets. Tries the
        addresses in turn until one takes the connection. Raises Refused, Unreachable."""
        failure: Exception | None = None
        for ip in ips:
            try:
                return await self._once(
                    method, address, ip, target, headers, body, limit, cut, wanted
                )
            except aiohttp.ClientConnectorCertificateError:
                raise Unreachable(
                    f"{address.host} has no certificate for that name that this machine trusts."
                ) from None
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                failure = error
        raise _unreachable(failure, address)

    async def _once(
        self,
        method: str,
        address: Address,
        ip: IP,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        limit: int,
        cut: bool,
        wanted: tuple[str, ...],
    ) -> Answer:
        url = _pinned_url(address, ip, target)
        whole: CIMultiDict[str] = CIMultiDict(
            {"Host": address.authority, "Accept-Encoding": ENCODINGS}
        )
        whole.extend(headers)
        response: aiohttp.ClientResponse | None = None
        try:
            response = await self._session.request(
                method,
                url,
                headers=whole,
                data=body or None,
                allow_redirects=False,
                # The certificate has to be for the name, and the pool keeps names apart.
                server_hostname=address.host if address.scheme == "https" else None,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
                ),
            )
            received = _headers(response)
            if response.status < 300 or response.status >= 400:
                _check_type(received.get("content-type", ""), wanted, response.status)
            data, was_cut, count = await _read(response, received, limit, cut)
            return Answer(
                status=response.status,
                headers=received,
                body=data,
                cut=was_cut,
                peer=str(ip),
                received=count,
            )
        except aiohttp.ClientConnectorError:
            raise
        except aiohttp.ConnectionTimeoutError:
            raise
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _unreachable(error, address) from None
        finally:
            if response is not None:
                response.close()  # goes back to the pool only if it was read to its end


def _pinned_url(address: Address, ip: IP, target: str) -> URL:
    path, mark, query = target.partition("?")
    host = f"[{ip}]" if ip.version == 6 else str(ip)
    url = URL.build(
        scheme=address.scheme,
        authority=f"{host}:{address.port}",
        path=path,
        query_string=query,
        encoded=True,
    )
    # What goes into the request line has to be what was judged, to the byte.
    if url.raw_path_qs != (target if query or not mark else path) or url.raw_host != str(ip):
        raise Refused("The address can be read in two ways.", stage="address")
    return url


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in response.headers.items():
        key = name.lower()
        if key not in ("set-cookie", "set-cookie2"):
            found.setdefault(key, value.encode("utf-8", "replace").decode("utf-8", "replace"))
    return found


def _check_type(given: str, wanted: tuple[str, ...], status: int) -> None:
    kind = given.partition(";")[0].strip().lower()
    if not wanted or not kind or status >= 400:
        return
    if not any(
        kind == want
        or (want.endswith("/*") and kind.startswith(want[:-1]))
        or (want.startswith("+") and kind.endswith(want))
        for want in wanted
    ):
        raise Refused(
            f"The answer is of the type {kind[:80]}, which is not wanted here.", stage="answer"
        )


async def _read(
    response: aiohttp.ClientResponse, headers: Mapping[str, str], limit: int, cut: bool
) -> tuple[bytes, bool, int]:
    """Body, whether it was cut, and bytes received. A bomb is given up at the limit: at most a chunk of
    what it unpacks to is ever held beyond it."""
    length = headers.get("content-length", "")
    if not cut and length.isdigit() and int(length) > limit:
        raise _too_long(limit)
    unpack = _unpacker(headers.get("content-encoding", ""))
    parts: list[bytes] = []
    size = received = 0
    while data := await response.content.readany():
        received += len(data)
        for piece in unpack(data) if unpack else (data,):
            parts.append(piece)
            size += len(piece)
            if size > limit:
                if not cut:
                    raise _too_long(limit)
                response.close()
                return b"".join(parts)[:limit], True, received
    return b"".join(parts), False, received


class _Unpacker:
    """gzip or deflate, a piece of bounded size at a time."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._zip = zlib.decompressobj(window)
        self._begun = False

    def __call__(self, data: bytes) -> Iterator[bytes]:
        while not self._zip.eof:  # what follows the end is padding
            try:
                piece = self._zip.decompress(data, CHUNK)
            except zlib.error:
                if self._begun or self._window != FRAMED:
                    raise Refused("The answer's compression is broken.", stage="answer") from None
                self._window = -FRAMED  # some servers leave the frame of deflate away
                self._zip = zlib.decompressobj(-FRAMED)
                continue
            self._begun = self._begun or bool(data)
            data = self._zip.unconsumed_tail
            if piece:
                yield piece
            if not data and len(piece) < CHUNK:
                return


def _unpacker(encoding: str) -> _Unpacker | None:
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return _Unpacker(FRAMED + 16)
        case "deflate":
            return _Unpacker(FRAMED)
        case other:
            raise Refused(
                f"The answer is compressed in a way that was not asked for ({other[:40]}).",
                stage="answer",
            )


def _too_long(limit: int) -> Refused:
    return Refused(f"The answer is longer than {limit:,} bytes.", stage="answer")


def _unreachable(error: Exception | None, address: Address) -> Unreachable:
    where = address.authority
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Unreachable(f"{where} could not be reached in time.")
    if isinstance(error, TimeoutError):
        return Unreachable(f"{where} went silent.")
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return Unreachable(f"{where} does not speak TLS as it should.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return Unreachable(
            f"{where} cannot be reached: {error.os_error.strerror or 'no connection'}."
        )
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return Unreachable(f"{where} closed the connection in mid-answer.")
    return Unreachable(f"{where} did not answer as HTTP demands.")
