"""What every provider's adapter shares: one attempt at a call, from the prompt to a whole reply.

An adapter says how a request looks (`request`) and reads the events of its stream (`reader`). Sending,
parsing, errors, cancellation and prices are here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol

from perdure.kernel.errors import ConfigError, ModelError, PerdureError
from perdure.kernel.events import Native, RequestId, ToolCall
from perdure.kernel.ports import Emit
from perdure.kernel.prompt import Item, Prompt, Reply

from .failures import failure, read_error, readable
from .prices import Price
from .redact import Redactor
from .reply import Draft
from .spec import ModelSpec
from .sse import EventTooLong, SseParser
from .transcript import Kept, Transcript
from .wire import Http, Response

MAX_REPLY_BYTES = 128 * 1024 * 1024


class Reader(Protocol):
    """Folds the events of one stream into its draft."""

    @property
    def done(self) -> bool:
        """The provider's last event has come; what follows is not read."""

    def take(self, event: str, data: bytes) -> None:
        """One server-sent event. Raises ModelError for one that reports an error, ValueError for
        what cannot be read."""

    def native(self, calls: list[ToolCall]) -> Native | None:
        """The reply in the provider's own form, to be sent back to the byte; None re-encodes."""


class Adapter(ABC):
    """Implements `kernel.ports.Model` for one session."""

    format: ClassVar[str]
    """Name of the wire format; a reply's `native` in this format is sent back as it is."""

    mends: ClassVar[bool] = False
    """Its reader's `native` writes calls that came broken as they were mended."""
    transcript: Transcript
    """The session's items in this format."""
    reserved: ClassVar[frozenset[str]] = frozenset()
    """Fields of the body that `extra` may not set, for the adapter writes them from the prompt."""

    def __init__(self, spec: ModelSpec, http: Http) -> None:
        if taken := self.reserved.intersection(spec.extra):
            raise ConfigError(
                f"extra of model {spec.label} cannot set {', '.join(sorted(taken))}",
                hint="Perdure writes that part of the request itself.",
            )
        self.spec = spec
        self._http = http
        self._price = Price(spec)

    @property
    def name(self) -> str:
        return self.spec.label

    @abstractmethod
    def request(self, prompt: Prompt) -> tuple[str, Sequence[bytes]]:
        """(address, pieces of the body)."""

    @abstractmethod
    def headers(self, key: str) -> dict[str, str]:
        """Of each request; `key` is the credential, or empty."""

    @abstractmethod
    def reader(self, draft: Draft) -> Reader: ...

    async def call(self, prompt: Prompt, request: RequestId, emit: Emit) -> Reply:
        draft = Draft(self.spec.name, request, emit)
        try:
            key = self.spec.key()
        except PerdureError as error:
            raise ModelError(error.message, kind="auth", hint=error.hint) from error
        try:
            reader = self.reader(draft)
            url, pieces = self.request(prompt)
            headers = {**self.headers(key), **self.spec.headers}
            async with (
                self._price.known(),
                self._http.post(
                    url, headers, pieces, timeout=self.spec.timeout_seconds
                ) as response,
            ):
                await self._read(response, reader, key, draft)
            return draft.finish(reader.native, self._price.of, mends=self.mends, ids=self.call_id)
        except ModelError as error:
            if not error.partial and error.kind != "empty":
                error.partial = draft.partial
            if error.kind == "auth" and self.spec.no_key and (why := self.spec.no_key()):
                error.hint = why
            Redactor(self.spec, key).error(error)
            raise
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            unreadable = ModelError(
                f"{self.spec.provider} sent what cannot be read: {readable(str(error))}",
                kind="server",
                partial=draft.partial,
            )
            raise Redactor(self.spec, key).error(unreadable) from error

    def call_id(self, identity: str) -> str:
        """A call's id as the API takes it back; a server may give out others."""
        return identity

    def keep(self, items: Sequence[Item], revision: int) -> Kept | None:
        """What was encoded of the items that the session's prompts bring, for a snapshot."""
        return self.transcript.keep(items, revision)

    def take_up(self, kept: Kept, items: Sequence[Item]) -> None:
        """Before the first call: what another time was kept of them. Ignored where it does not fit."""
        self.transcript.take_up(kept, items)

    async def close(self) -> None:  # noqa: B027 (most adapters hold nothing: connections are shared)
        """Let go of what the adapter holds besides the shared connections."""

    async def _read(self, response: Response, reader: Reader, key: str, draft: Draft) -> None:
        if response.status != 200:
            raise self._refused(response, await response.read(), key)
        kind = response.headers.get("content-type", "")
        if kind.startswith("application/json"):
            await self.whole(response, reader, key)
            return
        parser = SseParser()
        size = events = 0
        try:
            while chunk := await response.chunk():
                size += len(chunk)
                if size > MAX_REPLY_BYTES:
                    raise EventTooLong
                with draft.together():
                    for event, data in parser.feed(chunk):
                        events += 1
                        reader.take(event, data)
                if reader.done:
                    await response.drain()
                    return
            for event, data in parser.end():
                events += 1
                reader.take(event, data)
        except EventTooLong:
            raise ModelError(f"{self.spec.provider} sent too much.", kind="invalid") from None
        if not events and kind.startswith("text/html"):
            raise ModelError(
                f"{self.spec.provider} answered with a web page.",
                kind="invalid",
                hint="Check base_url, and whether a proxy or a login page stands before it.",
            )

    async def whole(self, response: Response, reader: Reader, key: str) -> None:
        """A JSON body where a stream was asked for: an error under a good status, with most."""
        body = await response.read()
        code, message, _ = read_error(body)
        status = int(code) if code.isdigit() and 400 <= int(code) < 600 else 400
        if code or message:
            raise self._refused(response, body, key, status)
        raise ModelError(f"{self.spec.provider} did not stream its answer.", kind="server")

    def _refused(self, response: Response, body: bytes, key: str, status: int = 0) -> ModelError:
        return failure(
            status or response.status,
            response.headers,
            body,
            provider=self.spec.provider,
            secret=key,
        )
