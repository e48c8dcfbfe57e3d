"""A request through the egress, and the same one without it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from .meter import Facts, Span

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2_000
)


async def requests(folder: str, count: int) -> Facts:
    """Twenty rules, one secret to look for, a name to look up, a record for each. The server's own CPU
    time is in both figures."""
    import aiohttp

    from perdure.egress import Egress, EgressLog, Outgoing, Rules, parse_rule
    from perdure.leaks import Leaks, Own

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://localhost:{port}/a/b?c=d"
    allow = [parse_rule(f"h{n}.example.org") for n in range(19)]
    rules = Rules(
        allow=(*allow, parse_rule(f"localhost:{port}")), private=frozenset({("localhost", port)})
    )
    own = [Own(name="secret://a", value="kq83hf62lx0zvt51mwpr97ybne4c")]
    egress = Egress(
        rules=lambda: rules, scanner=Leaks(lambda: own), log=EgressLog(Path(folder) / "egress")
    )
    door = egress.door("s_bench", "default").by("web_fetch")
    session = aiohttp.ClientSession()

    async def bare() -> None:
        async with session.get(url, allow_redirects=False) as response:
            await response.read()

    async def ours() -> None:
        await door.request(Outgoing(url=url))

    facts: Facts = {}
    for name, one in (("bare", bare), ("egress", ours)):
        for _ in range(20):
            await one()
        span = Span()
        for _ in range(count):
            await one()
        cpu, _ = span.lap()
        facts[f"{name}_cpu_ms"] = cpu / count * 1e3
    await session.close()
    await egress.close()
    server.close()
    return facts | {"more_ms": facts["egress_cpu_ms"] - facts["bare_cpu_ms"]}
