"""Logging in through a browser: the authorization code flow with PKCE, for programs without a secret.

Only providers that offer it to third-party programs have an entry. The code comes back to a listener
on the loopback interface; where the browser runs on another machine, the person pastes the address it
ended at, or the code, instead. Whichever comes first counts.

Sources: RFC 7636 (PKCE, S256 only), RFC 8252 sections 7.3 and 8.3 (loopback redirects), and
openrouter.ai/docs (OAuth PKCE; the `auth/keys` endpoints): no client id, `callback_url` on any port
of 127.0.0.1, no `state` returned, `key_label` names the key, the exchange gives a lasting key.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from perdure.kernel.errors import Conflict, InvalidInput, ModelError, NotFound

from .failures import failure

if TYPE_CHECKING:
    from .wire import Http

MAX_REQUEST_BYTES = 16_384
READ_SECONDS = 10.0
"""How long a browser may take to send the line we wait for."""

Paste = Callable[[], Awaitable[str]]
"""Asks the person for the address the browser ended at, or the code. Cancelled when it is not needed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OAuthProvider:
    provider: str
    authorize_url: str
    exchange_url: str
    redirect_parameter: str = "redirect_uri"
    key_field: str = "access_token"
    """Of the exchange's JSON answer."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Sent along to `authorize_url`."""
    exchange: Mapping[str, str] = field(default_factory=dict)
    """Sent along to `exchange_url`."""


OAUTH: Mapping[str, OAuthProvider] = MappingProxyType(
    {
        "openrouter": OAuthProvider(
            provider="openrouter",
            authorize_url="https://openrouter.ai/auth",
            exchange_url="https://openrouter.ai/api/v1/auth/keys",
            redirect_parameter="callback_url",
            key_field="key",
            parameters={"key_label": "Perdure"},
            exchange={"code_challenge_method": "S256"},
        )
    }
)


def offers_login(provider: str) -> bool:
    """Can one log in to this provider with a browser?"""
    return provider in OAUTH


@dataclass(frozen=True, slots=True)
class Pkce:
    verifier: str
    challenge: str

    @classmethod
    def new(cls, random: Callable[[int], bytes] = secrets.token_bytes) -> Pkce:
        verifier = _base64url(random(32))
        return cls(verifier, _base64url(hashlib.sha256(verifier.encode()).digest()))


class Login:
    """One attempt to log in, listening on the loopback interface until it is closed.

    `url` is to be opened in a browser; `key()` waits for what comes back."""

    def __init__(self, entry: OAuthProvider, http: Http, pkce: Pkce, port: int, nonce: str) -> None:
        self._entry, self._http, self._pkce = entry, http, pkce
        # The provider returns no `state`: what another page cannot guess is the path instead.
        self._path = f"/callback/{nonce}"
        self.redirect = f"http://127.0.0.1:{port}{self._path}"
        query = {
            entry.redirect_parameter: self.redirect,
            "code_challenge": pkce.challenge,
            "code_challenge_method": "S256",
            **entry.parameters,
        }
        self.url = f"{entry.authorize_url}?{urlencode(query)}"
        self._code: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._serving: set[asyncio.Task[object]] = set()

    async def key(self, *, paste: Paste | None = None, timeout: float = 300.0) -> str:
        """The key. Raises Conflict when nothing came in `timeout` seconds, InvalidInput when the
        person declined or pasted something else, ModelError when the provider gave no key."""
        try:
            async with asyncio.timeout(timeout):
                code = await self._first(paste)
        except TimeoutError:
            raise Conflict(
                f"Nothing came back from {self._entry.provider} in {timeout:.0f} seconds.",
                hint=f"Try again, or paste a key: `perdure login {self._entry.provider} --key`.",
            ) from None
        return await self._exchange(code)

    async def _first(self, paste: Paste | None) -> str:
        if paste is None:
            return await self._code
        pasting = asyncio.ensure_future(paste())
        try:
            done, _ = await asyncio.wait((self._code, pasting), return_when=asyncio.FIRST_COMPLETED)
            return self._code.result() if self._code in done else self.read_code(pasting.result())
        finally:
            pasting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait((pasting,))

    def read_code(self, pasted: str) -> str:
        """The code in what a person pasted: the whole address, its query, or the bare code."""
        text = pasted.strip().strip("'\"")
        if "=" in text:
            query = urlsplit(text).query or text.lstrip("?")
            return _code_of(parse_qs(query))
        if not text or any(c.isspace() for c in text) or "://" in text:
            raise InvalidInput("That is neither a code nor an address with one in it.")
        return text

    async def _exchange(self, code: str) -> str:
        entry = self._entry
        body = {"code": code, "code_verifier": self._pkce.verifier, **entry.exchange}
        headers = {"content-type": "application/json", "accept": "application/json"}
        async with self._http.post(
            entry.exchange_url, headers, [msgspec.json.encode(body)], timeout=30.0
        ) as response:
            answer = await response.read()
            if response.status != 200:
                raise failure(
                    response.status,
                    response.headers,
                    answer,
                    provider=entry.provider,
                    secret=self._pkce.verifier,
                )
        try:
            key = msgspec.json.decode(answer, type=dict[str, object]).get(entry.key_field)
        except ValueError:
            key = None
        if not isinstance(key, str) or not key.strip():
            raise ModelError(f"{entry.provider} answered without a key.", kind="server")
        return key.strip()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of a browser. Anything but our own path is a 404 and changes nothing."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        outcome: str | InvalidInput | None = None
        try:
            async with asyncio.timeout(READ_SECONDS):
                status, text, outcome = self._answer(await reader.readuntil(b"\r\n\r\n"))
                writer.write(_page(status, text))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # a browser that went away, or something that is none: the login goes on waiting
        finally:
            writer.close()
            self._settle(outcome)
            self._serving.discard(task)

    async def close(self) -> None:
        """Browsers open connections ahead of need: leave those that said nothing."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _answer(self, head: bytes) -> tuple[str, str, str | InvalidInput | None]:
        """Status, what the person reads, and what the login came to if it is decided."""
        method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
        target = urlsplit(rest.partition(" ")[0])
        if method != "GET" or target.path != self._path:
            return "404 Not Found", "There is nothing here.", None
        try:
            code = _code_of(parse_qs(target.query))
        except InvalidInput as error:
            return "400 Bad Request", f"{error} You can close this page.", error
        return "200 OK", "Perdure has what it needs. You can close this page.", code

    def _settle(self, outcome: str | InvalidInput | None) -> None:
        if outcome is None or self._code.done():
            return
        if isinstance(outcome, str):
            self._code.set_result(outcome)
        else:
            self._code.set_exception(outcome)
            # Seen here, so that a login that was given up meanwhile leaves no warning behind.
            self._code.exception()


@asynccontextmanager
async def login(provider: str, http: Http) -> AsyncIterator[Login]:
    """Begin to log in: `async with login("openrouter", http) as attempt`. The listener is gone when
    the block is left. Raises NotFound for a provider that offers no such login."""
    entry = OAUTH.get(provider)
    if entry is None:
        raise NotFound(
            f"{provider} offers no login to other programs.",
            hint=f"Paste a key instead: `perdure login {provider} --key`.",
        )
    async with begin(entry, http) as attempt:
        yield attempt


@asynccontextmanager
async def begin(entry: OAuthProvider, http: Http) -> AsyncIterator[Login]:
    """As `login`, for any entry."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = int(listening.getsockname()[1])
    attempt = Login(entry, http, Pkce.new(), port, secrets.token_urlsafe(16))
    server = await asyncio.start_server(attempt.serve, sock=listening, limit=MAX_REQUEST_BYTES)
    try:
        yield attempt
    finally:
        server.close()
        await attempt.close()
        await server.wait_closed()


def _code_of(query: Mapping[str, list[str]]) -> str:
    if code := query.get("code", [""])[0].strip():
        return code
    why = (query.get("error_description") or query.get("error") or ["it brought no code"])[0]
    raise InvalidInput(f"The login did not go through: {why[:200]}.")


def _page(status: str, text: str) -> bytes:
    import html

    body = (
        "<!doctype html><meta charset=utf-8><title>Perdure</title>"
        f"<body style='font:16px sans-serif;margin:4em'>{html.escape(text)}"
    ).encode()
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncache-control: no-store\r\n"
        f"content-length: {len(body)}\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
