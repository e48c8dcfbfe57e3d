"""What the commands of one session may ask of their proxy.

Plain requests, and encrypted ones to hosts in `egress.intercept`, take the same function as every other
request. Other encrypted connections can be judged by host and port only, and their content cannot be
searched for secrets: they need a rule that allows the host, whatever the default is.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

from perdure.kernel.errors import PerdureError
from perdure.kernel.labels import Label
from perdure.methods import METHODS

from .address import Address, parse
from .address import authority as split_authority
from .authority import Authority
from .egress import Egress
from .errors import Refused, Unreachable
from .hello import NotTls, read_hello
from .judging import MAX_BODY
from .message import Caller, Outgoing
from .proxy_http import (
    MAX_HEAD,
    BadRequest,
    Head,
    read_body,
    read_head,
    refusal,
    response,
)
from .record import OPENED
from .rules import TUNNEL, Ruling
from .tunnel import Note, pump, reach

HEAD_SECONDS = 30.0
BODY_SECONDS = 120.0
REQUEST_SECONDS = 300.0
ANSWER_BYTES = 32 << 20
FORWARDED = 8
"""Requests of one session that are held in memory at once; others wait."""
CONNECTIONS = 64
"""At once, of one session."""
TOOL = "command"
"""What the owner's rules and the record call a request of a command."""


class SessionProxy:
    def __init__(
        self,
        egress: Egress,
        authority: Authority,
        caller: Caller,
        heard: Callable[[str, str], None],
        label: Callable[[str], Label],
        refused: Callable[[str, Refused], None],
    ) -> None:
        self._egress, self._authority, self._caller = egress, authority, caller
        self._heard, self._label, self._refused = heard, label, refused
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(FORWARDED)
        self._serving: asyncio.Task[asyncio.Server] | None = None

    def start(self, door: socket.socket) -> None:
        """On the loop."""
        self._serving = asyncio.get_running_loop().create_task(
            asyncio.start_unix_server(self.serve, sock=door, limit=MAX_HEAD)
        )

    @property
    def busy(self) -> bool:
        return bool(self._tasks)

    def stop(self) -> None:
        """Listen no more; what is under way goes on. On the loop."""
        if self._serving is not None and self._serving.done():
            self._serving.result().close()

    async def close(self) -> None:
        await asyncio.sleep(0)  # one that was just opened has started by then
        if self._serving is not None:
            (await self._serving).close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if len(self._tasks) > CONNECTIONS:
                writer.write(refusal(503, "too many connections at once", "proxy"))
            else:
                await self._one(reader, writer)
            await writer.drain()
        except (ConnectionError, TimeoutError, OSError):
            pass  # the command went away, or never said what it wanted
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(Exception):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await read_head(reader)
            if head is None:
                return
            if head.method == TUNNEL:
                await self._connect(head, reader, writer)
                return
            if not head.target.lower().startswith(("http://", "https://")):
                raise BadRequest("a proxy is asked with a whole address")
            await self._forward(head.target, head, reader, writer)
        except BadRequest as error:
            writer.write(refusal(400, str(error), "proxy"))
        except PerdureError as error:
            self._note(error)
            writer.write(_said(error))

    def _note(self, error: PerdureError) -> None:
        if isinstance(error, Refused):
            self._refused(self._caller.session, error)

    async def _forward(
        self, url: str, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        address = parse(url)
        if head.host and parse(f"{address.scheme}://{head.host}/").origin != address.origin:
            raise BadRequest("the Host header names another host than the address")
        if head.expects:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        with _about(head.method, address):
            async with self._slots:
                await self._answer(address, url, head, reader, writer)

    async def _answer(
        self,
        address: Address,
        url: str,
        head: Head,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        async with asyncio.timeout(BODY_SECONDS):
            body = await read_body(reader, head, MAX_BODY)
        outgoing = Outgoing(
            method=head.method,
            url=url,
            headers=head.headers,
            body=body,
            limit=ANSWER_BYTES,
            seconds=REQUEST_SECONDS,
            redirects=0,  # its client follows them, and each comes back here
        )
        self._permit(head.method, address)
        incoming = await self._egress.request(outgoing, self._caller)
        await self._hear(address)
        writer.write(
            response(
                incoming.status, incoming.headers, incoming.body, head_only=head.method == "HEAD"
            )
        )

    def _permit(self, method: str, address: Address) -> Ruling:
        """What the rules say, held against what the session has seen: a command may carry any of it.
        Raises Refused."""
        caller = self._caller
        label = self._label(caller.session)
        if label.secrecy == "secret":
            raise _refused(
                "The session holds secret data, and its commands reach nothing any more.",
                "What needs no secret can be done in a new session.",
            )
        ruling = self._egress.rules.judge(method, address, tool=caller.tool, agent=caller.agent)
        if label.tainted and ruling.effect == "allow" and ruling.rule == "default":
            raise _refused(
                f"Others wrote into this session, and no rule names {address.authority}: its commands "
                "reach only what one does.",
                f'In perdure.yaml: egress: {{allow: ["{address.authority}"]}}',
            )
        return ruling

    async def _hear(self, address: Address) -> None:
        """Before the first byte comes in: what a command prints or writes from now on may be theirs."""
        await asyncio.to_thread(self._heard, self._caller.session, address.host)

    async def _connect(
        self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if head.length or head.chunked:
            raise BadRequest("CONNECT has no body")
        host, port = split_authority(head.target, 0)
        if not port:
            raise BadRequest("CONNECT names host and port")
        address = Address(scheme="https", host=host, port=port, path="/")
        with _about(TUNNEL, address):
            if self._egress.rules.intercepts(address):
                await self._intercept(address, reader, writer)
            else:
                await self._tunnel(address, reader, writer)

    async def _intercept(
        self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            context = await asyncio.to_thread(self._authority.context, address.host)
        except OSError as error:
            raise Refused(
                f"{address.host} cannot be opened for inspection ({error.strerror}).", stage="proxy"
            ) from None
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        async with asyncio.timeout(HEAD_SECONDS):
            await writer.start_tls(context)
            head = await read_head(reader)
        if head is None:
            return
        if head.method == TUNNEL or not head.target.startswith("/"):
            raise BadRequest("this is no proxy any more")
        await self._forward(f"https://{address.authority}{head.target}", head, reader, writer)

    async def _tunnel(
        self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        entry = Note(address)
        try:
            ruling = self._permit(TUNNEL, address)
            entry.rule = ruling.rule
            if ruling.effect != "allow" or ruling.rule == "default":
                raise _refused(
                    f"Not connected: no rule allows all of {address.authority}, and what goes there "
                    "encrypted cannot be judged.",
                    f'In perdure.yaml: egress: {{allow: ["{address.authority}"]}}, or '
                    f'egress: {{intercept: ["{address.authority}"]}} to have it judged.',
                )
            ips = await self._egress.look_up(address)
            entry.ips = tuple(map(str, ips))
            self._egress.opened(entry.made(self._caller, OPENED))
            await self._hear(address)
            far_reader, far_writer = await reach(address, entry.ips)
        except PerdureError as error:
            entry.fail(error)
            self._egress.note(entry.made(self._caller))
            raise
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            async with asyncio.timeout(HEAD_SECONDS):
                first, name = await read_hello(reader)
            if name != address.host and (name or address.ip is None):
                raise Refused("The tunnel is for another host than it says.", stage="proxy")
            far_writer.write(first)
            entry.sent = len(first)
            await pump(reader, writer, far_reader, far_writer, entry)
        except NotTls:
            entry.fail(Refused("Only TLS goes through a tunnel.", stage="proxy"))
        except Refused as error:
            entry.fail(error)
        except (OSError, TimeoutError):
            entry.fail(Unreachable("The tunnel broke."))
        finally:
            far_writer.close()
            self._egress.note(entry.made(self._caller))
        if entry.error is not None:
            _name(entry.error, TUNNEL, address)
            self._note(entry.error)
            writer.transport.abort()  # whoever speaks TLS would not understand a word


def _refused(brief: str, hint: str) -> Refused:
    """By rules, and in words that hold method and host of the request at most."""
    return Refused(brief, stage="policy", hint=hint, brief=brief)


@contextlib.contextmanager
def _about(method: str, address: Address) -> Iterator[None]:
    """Whatever is refused in it was this request."""
    try:
        yield
    except Refused as error:
        _name(error, method, address)
        raise


def _name(error: PerdureError, method: str, address: Address) -> None:
    if isinstance(error, Refused) and not error.about:
        known = method if method in METHODS or method == TUNNEL else "A request to"
        error.about = f"{known} {address.authority}"


def _said(error: PerdureError) -> bytes:
    text = f"{error.message} {error.hint}".strip().replace("\n", " ")
    if isinstance(error, Unreachable):
        return refusal(502, text, "unreachable")
    return refusal(403, text, error.stage if isinstance(error, Refused) else error.code)
