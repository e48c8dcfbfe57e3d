"""The one function every outgoing request takes.

Address, policy, headers, leaks, name, connection, secret, answer, record: in this order, and from the
start again for each redirect. What any of these cannot judge does not leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .address import Address, join, parse
from .door import Door
from .errors import Refused, Unreachable
from .headers import check_query, checked
from .injecting import SecretSource, fill
from .judging import not_forbidden, permitted, sendable
from .message import REDIRECTS, Caller, Incoming, Request
from .networks import IP
from .record import OPENED, EgressLog, Entry, new_request, query_names
from .redirects import REDIRECTED, carried
from .resolve import Resolver, SystemResolver, addresses, never
from .rules import Rules, Ruling
from .scanning import LeakScanner, check_outgoing, clean_answer

if TYPE_CHECKING:
    import ssl

    from .wire import Answer, Wire


@dataclass(slots=True)
class _Hop:
    """A request on its way: what the record will say about it."""

    method: str
    address: Address | None = None
    ruling: Ruling | None = None
    ips: tuple[IP, ...] = ()
    peer: str = ""
    sent: int = 0
    received: int = 0
    status: int = 0
    secrets: tuple[str, ...] = ()
    redactions: int = 0
    private: bool = False
    request: str = ""
    """In the record, once it stands there as opened."""
    begun: float = field(default_factory=time.monotonic)


class Egress:
    def __init__(
        self,
        *,
        rules: Callable[[], Rules],
        scanner: LeakScanner,
        log: EgressLog,
        secrets: SecretSource | None = None,
        resolver: Resolver | None = None,
        context: Callable[[], ssl.SSLContext | None] = lambda: None,
        loop: asyncio.AbstractEventLoop | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`rules`: as the owner's files are now; it may raise PerdureError, and then nothing leaves.
        `context`: to verify certificates with, None for what this machine trusts. `loop`: where
        connections live; requests made on another one are handed over to it."""
        self._rules, self._scanner, self._log, self._secrets = rules, scanner, log, secrets
        self._resolver = resolver or SystemResolver()
        self._context, self._now = context, now
        self._loop = loop
        self._connections: tuple[asyncio.AbstractEventLoop, Wire] | None = None

    @property
    def rules(self) -> Rules:
        return self._rules()

    def door(self, session: str, agent: str) -> Door:
        """For one session; see `Door`."""
        return Door(self, Caller(session=session, agent=agent))

    def judge(self, method: str, url: str, *, tool: str = "", agent: str = "") -> Ruling:
        """What the owner's rules say of a request that nobody has made yet. Raises Refused for what is
        no address at all, PerdureError when the rules cannot be read."""
        address = parse(url)
        return self._rules().judge(method, address, tool=tool, agent=agent)

    def foresee(self, method: str, url: str, caller: Caller) -> None:
        """Raises Refused for a request that will be refused whatever its owner answers, PerdureError when
        the rules cannot be read. Looks nothing up."""
        try:
            address, rules = parse(url), self._rules()
            ruling = rules.judge(method, address, tool=caller.tool, agent=caller.agent)
            not_forbidden(rules, ruling, method, address)
            never(address, rules.is_private(address))
        except Refused as error:
            raise self._cleaned(error) from None

    async def request(self, outgoing: Request, caller: Caller) -> Incoming:
        """Send it and bring its answer back. Raises Refused or Unreachable, and on cancellation closes
        the connection. What it raises never holds a secret."""
        if self._loop is not None and self._loop is not asyncio.get_running_loop():
            there = asyncio.run_coroutine_threadsafe(self._bounded(outgoing, caller), self._loop)
            return await asyncio.wrap_future(there)
        return await self._bounded(outgoing, caller)

    async def _bounded(self, outgoing: Request, caller: Caller) -> Incoming:
        try:
            async with asyncio.timeout(outgoing.seconds):
                return await self._follow(outgoing, caller)
        except TimeoutError:
            raise Unreachable(f"There was no whole answer within {outgoing.seconds:g} s.") from None
        except (Refused, Unreachable) as error:
            raise self._cleaned(error) from None

    def _cleaned(self, error: Refused | Unreachable) -> Refused | Unreachable:
        """Some quote the answer, and an answer may quote what it was sent."""
        error.message, error.hint = self._safe(error.message), self._safe(error.hint)
        if isinstance(error, Refused):
            error.brief = self._safe(error.brief)
        error.args = (error.message,)
        return error

    async def look_up(self, address: Address) -> tuple[IP, ...]:
        """Where a connection may go to. Raises Refused, Unreachable."""
        self._recordable()
        private = self._rules().is_private(address)
        return await addresses(address, self._resolver, private=private)

    def opened(self, entry: Entry) -> None:
        """Put on record what is about to be sent. Raises Refused, and then it must not be."""
        try:
            self._log.append(entry)
        except OSError as error:
            raise Refused(
                f"Not sent: it could not be recorded ({error.strerror or error}).", stage="policy"
            ) from None

    def note(self, entry: Entry) -> None:
        """Put the end of a tunnel on record, or that there was none: where it cannot be, its beginning
        stands there, or nothing was sent."""
        with contextlib.suppress(OSError):
            self._log.append(entry)

    async def close(self) -> None:
        kept, self._connections = self._connections, None
        if kept is not None and kept[0] is asyncio.get_running_loop():
            await kept[1].close()

    async def _follow(self, outgoing: Request, caller: Caller) -> Incoming:
        method, url, body = outgoing.method.upper(), outgoing.url, outgoing.body
        headers = dict(outgoing.headers)
        chain: list[str] = []
        previous: Address | None = None
        while True:
            hop = _Hop(method)
            try:
                address = hop.address = parse(url) if previous is None else join(previous, url)
                if previous is not None:
                    method, body, headers = carried(previous, address, method, body, headers)
                answer = await self._send(
                    hop, address, headers, body, outgoing, caller, bool(chain)
                )
            except (Refused, Unreachable) as error:
                self._write(hop, caller, error)
                raise
            except BaseException as error:
                self._write(hop, caller, Unreachable(type(error).__name__))
                raise
            chain.append(str(address))
            location = answer.headers.get("location", "")
            if answer.status in REDIRECTED and location and outgoing.redirects > 0:
                self._write(hop, caller)
                if len(chain) > min(outgoing.redirects, REDIRECTS):
                    raise Refused(
                        f"{address.host} redirects again, after {len(chain) - 1} redirects.",
                        stage="redirect",
                    )
                if (answer.status == 303 and method != "HEAD") or (
                    answer.status in (301, 302) and method == "POST"
                ):
                    method, body = "GET", b""
                previous, url = address, location
                continue
            return await self._answered(hop, answer, chain, caller)

    async def _send(
        self,
        hop: _Hop,
        address: Address,
        headers: dict[str, str],
        body: bytes,
        outgoing: Request,
        caller: Caller,
        redirected: bool,
    ) -> Answer:
        sendable(hop.method, body)
        rules = self._rules()
        hop.ruling = permitted(rules, hop.method, address, body, caller, redirected)
        headers = checked(headers)
        if not redirected:  # a redirect's query is the server's own
            check_query(address)
        await check_outgoing(self._scanner, address, headers, body)
        private = rules.is_private(address)
        self._recordable()
        hop.ips = await addresses(address, self._resolver, private=private)
        self.opened(self._entry(hop, caller, OPENED, request := new_request()))
        hop.request = request
        if not any(name.lower() == "user-agent" for name in headers):
            headers["User-Agent"] = "perdure"
        if not any(name.lower() == "accept" for name in headers):
            headers["Accept"] = "*/*"
        wire = self._wire()
        filled = fill(
            self._secrets,
            address,
            headers,
            body,
            method=hop.method,
            caller=caller,
            private=private,
        )
        hop.secrets, hop.sent = filled.names, len(body)
        hop.private = private or bool(filled.names)
        answer = await wire.send(
            hop.method,
            address,
            hop.ips,
            target=filled.target,
            headers=filled.headers,
            body=filled.body,
            limit=outgoing.limit,
            cut=outgoing.cut,
            wanted=outgoing.types,
        )
        hop.status, hop.peer, hop.received = answer.status, answer.peer, answer.received
        return answer

    async def _answered(
        self, hop: _Hop, answer: Answer, chain: list[str], caller: Caller
    ) -> Incoming:
        try:
            body, count = await clean_answer(self._scanner, answer.body)
            headers = {}
            for name, value in answer.headers.items():
                cleaned, more = await clean_answer(
                    self._scanner, value.encode("latin-1", "replace")
                )
                headers[name] = cleaned.decode("latin-1")
                count += more
        except Refused as error:
            self._write(hop, caller, error)
            raise
        hop.redactions = count
        self._write(hop, caller)
        return Incoming(
            status=answer.status,
            headers=headers,
            body=body,
            url=chain[-1],
            chain=tuple(chain),
            cut=answer.cut,
            redacted=count,
            private=hop.private,
        )

    def _recordable(self) -> None:
        try:
            self._log.check()
        except OSError as error:
            raise Refused(
                f"Not sent: it could not be recorded ({error.strerror or error}).", stage="policy"
            ) from None

    def _write(self, hop: _Hop, caller: Caller, error: Refused | Unreachable | None = None) -> None:
        verdict, why = "sent", ""
        if error is not None:
            verdict = f"refused: {error.stage}" if isinstance(error, Refused) else "failed"
            why = error.message[:500]
        try:
            self._log.append(self._entry(hop, caller, verdict, hop.request, why))
        except OSError as failure:
            if error is None:
                raise Refused(
                    "The answer is withheld: the request could not be recorded "
                    f"({failure.strerror or failure}).",
                    stage="answer",
                ) from None

    def _entry(self, hop: _Hop, caller: Caller, verdict: str, request: str, why: str = "") -> Entry:
        address = hop.address
        # What was refused for what it holds must not be written down with it.
        leak = verdict == "refused: leak"
        safe = _same if verdict in ("sent", OPENED) else _nothing if leak else self._safe
        first = (hop.peer,) if hop.peer else ()
        return Entry(
            at=self._now(),
            session=caller.session,
            agent=caller.agent,
            tool=caller.tool,
            method=hop.method[:20],
            host=safe(address.authority) if address else "",
            path=safe(address.path[:300]) if address else "",
            query=tuple(map(safe, query_names(address))) if address else (),
            addresses=tuple(dict.fromkeys((*first, *map(str, hop.ips)))),
            sent=hop.sent,
            received=hop.received,
            status=hop.status,
            verdict=verdict,
            rule=hop.ruling.rule if hop.ruling else "",
            why=why if leak else safe(why),
            secrets=hop.secrets,
            redactions=hop.redactions,
            ms=round((time.monotonic() - hop.begun) * 1000),
            request=request,
        )

    def _safe(self, text: str) -> str:
        try:
            return self._scanner.redact(text)[0]
        except Exception:
            return ""

    def _wire(self) -> Wire:
        loop = asyncio.get_running_loop()
        if self._connections is None or self._connections[0] is not loop:
            from .wire import Wire

            self._connections = (loop, Wire(self._context()))
        return self._connections[1]


def _same(text: str) -> str:
    return text


def _nothing(text: str) -> str:
    return ""
