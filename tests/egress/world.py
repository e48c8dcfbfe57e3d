"""A real egress before real servers on loopback, with a resolver and a vault that are tables."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from perdure.egress import (
    Caller,
    Egress,
    EgressLog,
    Incoming,
    Outgoing,
    Rules,
    Table,
    parse_private,
    parse_rule,
)
from perdure.kernel.errors import PerdureError
from perdure.leaks import Leak, Leaks, Own
from perdure.secrets.value import SecretValue

SECRET = "tok-5ecret-0123456789-abcdefghij"
CANARY = "CANARY-do-not-send-4711"


class Scanner(Leaks):
    """Knows the two values above, and keeps what it was shown."""

    def __init__(self) -> None:
        own = [Own(name="secret://github", value=SECRET), Own(name="secret://x", value=CANARY)]
        super().__init__(lambda: own)
        self.scanned: list[bytes] = []
        self.broken = False

    def scan(self, data: bytes | str, *, formats: bool = True) -> tuple[Leak, ...]:
        if self.broken:
            raise RuntimeError(f"cannot look at {data!r}")
        self.scanned.append(data if isinstance(data, bytes) else data.encode())
        return super().scan(data, formats=formats)


class Vault:
    """`secret://github` for one host."""

    def __init__(self, host: str, positions: Sequence[str] = ("header:authorization",)) -> None:
        self.host, self.positions = host, positions
        self.asked: list[tuple[str, str, str, str]] = []

    def find(
        self, ref: str, *, host: str, position: str, tool: str, template: str = "", **more: str
    ) -> SecretValue:
        self.asked.append((ref, host, position, template))
        if ref != "secret://github" or host != self.host or position not in self.positions:
            raise PerdureError(f"{ref} is not bound to {host}, {position}.")
        return SecretValue("github", SECRET)


Reply = Callable[[bytes], bytes | Awaitable[bytes]]


@dataclass
class Server:
    port: int
    seen: list[bytes]
    """Whole requests, to the byte."""
    connections: int = 0
    closed: int = 0

    @property
    def lines(self) -> list[str]:
        return [r.split(b"\r\n", 1)[0].decode() for r in self.seen]

    def header(self, name: str, request: int = -1) -> str | None:
        match = re.search(rf"(?im)^{name}: (.*)\r$", self.seen[request].decode("latin-1"))
        return match[1] if match else None


@asynccontextmanager
async def serving(reply: Reply, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server that keeps what it is sent, to the byte."""
    server = Server(0, [])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                server.seen.append(head + body)
                answer = reply(head + body)
                writer.write(answer if isinstance(answer, bytes) else await answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            server.closed += 1
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


def answer(
    body: bytes = b"hello", status: str = "200 OK", type: str = "text/plain", **headers: str
) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {type}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def to(location: str, status: str = "302 Found") -> bytes:
    return answer(b"", status, Location=location)


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rules = Rules(default="allow")
        self.scanner = Scanner()
        self.vault: Vault | None = None
        self.resolver = Table({})
        self.context: ssl.SSLContext | None = None
        self.log = EgressLog(folder / "egress")
        self._egress: Egress | None = None

    def allow(
        self,
        *allow: str,
        deny: Sequence[str] = (),
        default: str = "allow",
        private: Sequence[str] = (),
        intercept: Sequence[str] = (),
    ) -> World:
        self.rules = Rules(
            allow=tuple(map(parse_rule, allow)),
            deny=tuple(map(parse_rule, deny)),
            default=default,  # type: ignore[arg-type]
            private=frozenset(map(parse_private, private)),
            intercept=tuple(map(parse_rule, intercept)),
        )
        return self

    def names(self, table: Mapping[str, Sequence[Sequence[str]]]) -> World:
        self.resolver = Table(table)
        return self

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Implements Resolver, with the table as it is now."""
        return await self.resolver.resolve(host, port)

    @property
    def egress(self) -> Egress:
        if self._egress is None:
            self._egress = Egress(
                rules=lambda: self.rules,
                scanner=self.scanner,
                log=self.log,
                secrets=self.vault,
                resolver=self,
                context=lambda: self.context,
            )
        return self._egress

    async def get(self, url: str, method: str = "GET", **more: object) -> Incoming:
        judged = more.pop("judged", ())
        caller = Caller(session="s_1", agent="default", tool="web_fetch", judged=judged)  # type: ignore[arg-type]
        return await self.egress.request(Outgoing(method=method, url=url, **more), caller)  # type: ignore[arg-type]

    def written(self) -> str:
        return "".join(p.read_text() for p in (self.folder / "egress").glob("*.jsonl"))

    async def close(self) -> None:
        if self._egress is not None:
            with contextlib.suppress(RuntimeError):
                await self._egress.close()
