"""What the sandbox can and cannot do with its proxy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from perdure.egress import Refusals
from perdure.egress.authority import Authority
from perdure.egress.hello import NotTls, read_hello
from perdure.egress.proxy import Proxies
from perdure.egress.proxy_http import BadRequest, parse_head
from perdure.kernel.errors import PerdureError
from perdure.kernel.labels import OWNER, UNKNOWN, Label

from .test_tls import certified, trusting
from .world import CANARY, SECRET, Vault, World, answer, serving, to


@pytest.fixture
async def proxies(world: World, tmp_path: Path) -> AsyncIterator[Proxies]:
    made = Proxies(
        world.egress, tmp_path / "run", Authority(tmp_path / "ca"), asyncio.get_running_loop()
    )
    yield made
    await made.close()


async def say(proxies: Proxies, *pieces: bytes) -> bytes:
    """One connection of a command's; everything it gets."""
    reader, writer = await asyncio.open_unix_connection(proxies.listen("s_1", "default"))
    writer.write(b"".join(pieces))
    with contextlib.suppress(OSError):
        await writer.drain()
        writer.write_eof()
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def get(url: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {url} HTTP/1.1", *headers, "", ""]).encode()


async def test_commands_of_a_session_that_has_seen_secrets_or_strangers_reach_less(
    world: World, tmp_path: Path
) -> None:
    label = [OWNER]
    made = Proxies(
        world.egress, tmp_path / "run", Authority(tmp_path / "ca"), asyncio.get_running_loop(),
        label=lambda session: label[0],
    )  # fmt: skip
    async with serving(lambda _: answer(b"yes")) as server:
        here = f"127.0.0.1:{server.port}"
        url = f"http://{here}/x"
        world.allow(default="allow", private=[here])
        assert (await say(made, get(url))).endswith(b"yes")
        label[0] = UNKNOWN
        assert b"no rule names" in await say(made, get(url))
        world.allow(f"GET {here}/x", default="allow", private=[here])
        assert (await say(made, get(url))).endswith(b"yes")
        label[0] = Label(trust="owner", secrecy="secret")
        assert b"secret data" in await say(made, get(url))
        assert b"secret data" in await say(made, f"CONNECT {here} HTTP/1.1\r\n\r\n".encode())
    await made.close()


async def test_who_listens_hears_of_a_host_before_a_command_gets_a_byte(
    world: World, tmp_path: Path
) -> None:
    heard: list[tuple[str, str]] = []

    def listen(session: str, host: str) -> None:
        heard.append((session, host))
        if len(heard) > 1:
            raise PerdureError("it cannot be noted")

    made = Proxies(
        world.egress, tmp_path / "run", Authority(tmp_path / "ca"), asyncio.get_running_loop(),
        heard=listen,
    )  # fmt: skip
    async with serving(lambda _: answer(b"yes")) as server:
        here = f"127.0.0.1:{server.port}"
        world.allow(f"GET {here}/ok", default="ask", private=[here])
        refused = await say(made, get(f"http://{here}/other"))
        assert b"403" in refused.split(b"\r\n")[0] and heard == []
        assert (await say(made, get(f"http://{here}/ok"))).endswith(b"yes")
        assert heard == [("s_1", "127.0.0.1")]
        assert b"yes" not in await say(made, get(f"http://{here}/ok"))
    await made.close()


async def test_a_plain_request_takes_the_one_function(world: World, proxies: Proxies) -> None:
    async with serving(lambda _: answer(b"yes", Set_Cookie="a=b")) as server:
        here = f"127.0.0.1:{server.port}"
        world.allow(f"GET {here}/ok", default="ask", private=[here])
        got = await say(proxies, get(f"http://{here}/ok", f"Host: {here}", "X-Own: 1"))
        assert got.startswith(b"HTTP/1.1 200 OK\r\n") and got.endswith(b"\r\n\r\nyes")
        assert b"set-cookie" not in got.lower() and server.header("x-own") == "1"
        for request, stage in [
            (get(f"http://{here}/other"), b"policy"),
            (get("http://169.254.169.254/latest/meta-data/"), b"policy"),
            (get(f"http://{here}/ok", "Authorization: Bearer x"), b"headers"),
            (get(f"http://{here}/ok", f"X-A: {CANARY}"), b"leak"),
            (get(f"http://{here}/ok", "Host: elsewhere"), b"proxy"),
            (get("/ok", f"Host: {here}"), b"proxy"),
            (get("file:///etc/passwd"), b"proxy"),
            (get("http://0x7f000001/ok"), b"address"),
        ]:
            refused = await say(proxies, request)
            assert b"x-perdure-refused: " + stage in refused, request
        assert len(server.seen) == 1
        entries = list(world.log.read())
        assert {(e.session, e.agent, e.tool) for e in entries} == {("s_1", "default", "command")}


async def test_a_command_that_is_redirected_comes_back_to_be_judged(
    world: World, proxies: Proxies
) -> None:
    async with serving(lambda _: to("http://127.0.0.1:1/x")) as server:
        here = f"127.0.0.1:{server.port}"
        world.allow(here, default="ask", private=[here])
        got = await say(proxies, get(f"http://{here}/"))
        assert got.startswith(b"HTTP/1.1 302") and b"location: http://127.0.0.1:1/x" in got


SMUGGLED = [
    b"GET http://h/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET http://h/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"GET http://h/ HTTP/1.1\r\nContent-Length: +1\r\n\r\na",
    b"GET http://h/ HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"GET http://h/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET http://h/ HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
    b"GET http://h/ HTTP/1.1\r\nA : b\r\n\r\n",
    b"GET http://h/ HTTP/1.1\r\nA: b\nX: y\r\n\r\n",
    b"GET http://h/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET http://h/ HTTP/1.1\r\nA: \0\r\n\r\n",
    b"GET http://h/  HTTP/1.1\r\n\r\n",
    b"GET http://h/ HTTP/2.0\r\n\r\n",
    b"get http://h/ HTTP/1.1\r\n\r\n",
    b"GET http://h/\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x00\x05hello\r\n\r\n",
    b"CONNECT h HTTP/1.1\r\n\r\n",
    b"CONNECT h:443 HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd",
    b"GET http://h/ HTTP/1.1\r\nA: " + b"a" * 70_000 + b"\r\n\r\n",
    b"GET http://h/ HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    b"GET http://h/ HTTP/1.1\r\nA: b",
]


@pytest.mark.parametrize("number", range(len(SMUGGLED)))
async def test_what_can_be_read_in_two_ways_is_not_read(
    world: World, proxies: Proxies, number: int
) -> None:
    got = await say(proxies, SMUGGLED[number])
    assert got.startswith(b"HTTP/1.1 400 ")
    assert not world.resolver.asked and world.written() == ""


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_break_the_reading(data: bytes, begun: bool) -> None:
    try:
        head = parse_head((b"GET http://h/ HTTP/1.1\r\n" if begun else b"") + data)
    except BadRequest:
        return
    for name, value in head.headers.items():
        assert name == name.lower() and "\n" not in value and "\r" not in value


async def test_a_body_comes_whole_in_chunks_or_by_length(world: World, proxies: Proxies) -> None:
    async with serving(lambda _: answer()) as server:
        here = f"127.0.0.1:{server.port}"
        world.allow(here, private=[here])
        head = f"POST http://{here}/ HTTP/1.1\r\nExpect: 100-continue\r\n".encode()
        got = await say(
            proxies, head, b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
        assert server.seen[0].endswith(b"\r\n\r\nabcde")
        assert server.header("transfer-encoding") is None


async def tunnelled(
    proxies: Proxies, target: str, context: ssl.SSLContext | None, name: str, request: bytes
) -> tuple[bytes, bytes]:
    """What the proxy said, and what came through the tunnel."""
    reader, writer = await asyncio.open_unix_connection(proxies.listen("s_1", "default"))
    try:
        async with asyncio.timeout(10):
            writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            said = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in said.split(b"\r\n")[0]:
                return said + await reader.read(), b""
            if context is not None:
                await writer.start_tls(context, server_hostname=name)
            writer.write(request)
            with contextlib.suppress(asyncio.IncompleteReadError):
                return said, await reader.readuntil(b"hello")
            return said, b""
    except (ConnectionError, ssl.SSLError):
        return said, b""
    finally:
        writer.close()


async def test_a_tunnel_needs_a_rule_of_its_own(world: World, proxies: Proxies) -> None:
    ca = trustme.CA()
    context, _ = certified(ca, "site.test")
    async with serving(lambda _: answer(), context) as server:
        here = f"site.test:{server.port}"
        client = trusting(world, ca).context
        world.names({"site.test": [["127.0.0.1"]]})
        for allow, deny, default in [
            ((), (), "ask"),
            ((), (), "allow"),
            ((f"GET {here}",), (), "ask"),
            ((f"{here}/only/*",), (), "ask"),
            ((here,), (f"{here}/secret",), "ask"),
        ]:
            world.allow(*allow, deny=deny, default=default, private=[here])
            said, _ = await tunnelled(proxies, here, client, "site.test", b"")
            assert said.startswith(b"HTTP/1.1 403") and b"egress" in said, (allow, deny)
        assert server.connections == 0
        world.allow(here, default="ask")
        said, _ = await tunnelled(proxies, here, client, "site.test", b"")
        assert b"x-perdure-refused: resolve" in said, "private all the same"
        world.allow(here, default="ask", private=[here])
        request = b"GET /x HTTP/1.1\r\nHost: site.test\r\n\r\n"
        _, got = await tunnelled(proxies, here, client, "site.test", request)
        assert got.startswith(b"HTTP/1.1 200") and len(server.seen) == 1
        await proxies.close()
        last = list(world.log.read())[-1]
        assert (last.method, last.host, last.verdict) == ("CONNECT", here, "sent")
        assert last.addresses == ("127.0.0.1",) and last.sent > 100 < last.received


async def test_a_tunnel_carries_tls_to_the_host_it_names_and_nothing_else(
    world: World, proxies: Proxies
) -> None:
    ca = trustme.CA()
    context, asked = certified(ca, "site.test", "evil.test")
    async with serving(lambda _: answer(), context) as server:
        here = f"site.test:{server.port}"
        world.allow(here, default="ask", private=[here]).names({"site.test": [["127.0.0.1"]]})
        client = trusting(world, ca).context
        request = b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n"
        _, got = await tunnelled(proxies, here, client, "evil.test", request)
        assert got == b"" and asked == []
        for raw in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"SSH-2.0-x\r\n",
            b"\x16\x03\x01\xff\xff",
            b"\0" * 99,
        ):
            _, got = await tunnelled(proxies, here, None, "", raw + b"x" * 20_000)
            assert got == b""
        assert server.seen == [] and asked == []
        await proxies.close()
        assert [e.verdict for e in world.log.read()] == ["refused: proxy"] * 5


async def test_where_the_owner_wants_it_a_connection_is_opened_and_judged(
    world: World, proxies: Proxies
) -> None:
    ca = trustme.CA()
    context, _ = certified(ca, "api.test")
    async with serving(lambda r: answer(b"hello " + r), context) as server:
        here = f"api.test:{server.port}"
        trusting(world, ca).names({"api.test": [["127.0.0.1"]]})
        world.allow(f"GET {here}/ok*", default="deny", private=[here], intercept=[here])
        world.vault = Vault(here)
        world.egress._secrets = world.vault
        client = ssl.create_default_context(cafile=str(proxies.authority.certificate))
        ok = f"GET /ok HTTP/1.1\r\nHost: {here}\r\nAuthorization: Bearer secret://github\r\n\r\n"
        _, got = await tunnelled(proxies, here, client, "api.test", ok.encode())
        assert got.startswith(b"HTTP/1.1 200")
        assert server.header("authorization") == f"Bearer {SECRET}"
        assert world.vault.asked[0][1:] == (here, "header:authorization", "Bearer {}")
        for request in (
            f"GET /no HTTP/1.1\r\nHost: {here}\r\n\r\n",
            f"GET /ok?{CANARY} HTTP/1.1\r\nHost: {here}\r\n\r\n",
            "GET /ok HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n",
            f"GET http://elsewhere.test/ok HTTP/1.1\r\nHost: {here}\r\n\r\n",
            "CONNECT elsewhere.test:443 HTTP/1.1\r\n\r\n",
        ):
            await tunnelled(proxies, here, client, "api.test", request.encode())
        assert len(server.seen) == 1
        assert (proxies.authority.certificate.parent / "ca.key").stat().st_mode & 0o777 == 0o600
        assert SECRET not in world.written()


async def test_without_its_library_interception_is_refused_and_not_skipped(
    world: World, proxies: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.egress.authority.find_spec", lambda _: None)
    world.allow("api.test", default="allow", intercept=["api.test"])
    said, _ = await tunnelled(proxies, "api.test:443", None, "", b"")
    assert said.startswith(b"HTTP/1.1 403") and b"perdure[intercept]" in said


async def test_each_session_has_its_socket_which_only_its_owner_reaches(
    proxies: Proxies, tmp_path: Path
) -> None:
    one, other = proxies.listen("s_1", "a"), proxies.listen("s_2", "a")
    assert one != other and one == proxies.listen("s_1", "a")
    assert one.stat().st_mode & 0o777 == 0o600 and one.parent.stat().st_mode & 0o777 == 0o700
    await proxies.close("s_1")
    assert not one.parent.exists() and other.exists()
    assert proxies.listen("s_1", "a") == one and one.exists()
    deep = Proxies(proxies._egress, tmp_path / ("d" * 120), proxies.authority, proxies._loop)
    assert len(str(deep.listen("s_1", "a"))) < 100
    await deep.close()


async def test_a_command_that_outlived_the_process_finds_its_proxy_again(
    world: World, proxies: Proxies, tmp_path: Path
) -> None:
    async with serving(lambda _: answer()) as server:
        here = f"127.0.0.1:{server.port}"
        world.allow(here, private=[here])
        path = proxies.listen("s_1", "poet")
        proxies.listen("s_2", "poet")
        await proxies.close("s_2")
        await proxies.close()
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            await asyncio.open_unix_connection(path)
        later = Proxies(world.egress, tmp_path / "run", proxies.authority, proxies._loop)
        later.again()
        later.again()
        assert list(later._open) == ["s_1"]
        assert (await say(later, get(f"http://{here}/"))).startswith(b"HTTP/1.1 200")
        assert [(e.session, e.agent) for e in world.log.read()] == [("s_1", "poet")]
        third = Proxies(world.egress, tmp_path / "run", proxies.authority, proxies._loop)
        third.again()
        assert not third._open, "it is served already"
        await later.close()


async def test_sessions_that_are_quiet_are_let_go(
    proxies: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.egress.proxy.SOCKETS", 3)
    for n in range(6):
        proxies.listen(f"s_{n}", "a")
        proxies.listen("s_0", "a")
    assert set(proxies._open) == {"s_0", "s_4", "s_5"}


async def test_closing_ends_every_connection(world: World, proxies: Proxies) -> None:
    arrived = asyncio.Event()

    async def never(_: bytes) -> bytes:
        arrived.set()
        await asyncio.sleep(3600)
        return b""

    async with serving(never) as server:
        here = f"127.0.0.1:{server.port}"
        world.allow(here, private=[here])
        waiting = asyncio.create_task(say(proxies, get(f"http://{here}/")))
        await arrived.wait()
        await proxies.close()
        assert await waiting == b""


@given(st.binary(max_size=120))
def test_no_bytes_break_the_reading_of_a_hello(data: bytes) -> None:
    async def read(raw: bytes) -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(raw)
        reader.feed_eof()
        with contextlib.suppress(NotTls):
            await read_hello(reader)

    hello = b"\x01" + len(data).to_bytes(3, "big") + data
    framed = b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello
    for raw in (data, framed):
        asyncio.run(read(raw))


async def test_on_a_full_disk_no_tunnel_is_opened(
    world: World, proxies: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(lambda _: answer()) as server:
        here = f"127.0.0.1:{server.port}"
        world.allow(here, default="ask", private=[here])
        monkeypatch.setattr("perdure.egress.record.os.write", lambda fd, data: 0)
        said, _ = await tunnelled(proxies, here, None, "", b"")
        assert said.startswith(b"HTTP/1.1 403") and b"recorded" in said
        assert server.connections == 0


async def test_a_session_that_goes_on_is_not_forgotten(proxies: Proxies) -> None:
    proxies.listen("s_1", "poet")
    note = proxies._own("s_1") / "session.json"
    os.utime(note, (1, 1))
    proxies.listen("s_1", "poet")
    assert note.stat().st_mtime > 1


async def test_of_a_refused_request_method_and_host_are_told_and_none_of_its_words(
    world: World, tmp_path: Path
) -> None:
    world.allow("api.example.org", default="ask", deny=["evil.example"])
    world.names({"api.example.org": [["93.184.216.34"]]})
    refusals = Refusals()
    proxies = Proxies(
        world.egress,
        tmp_path / "run",
        Authority(tmp_path / "ca"),
        asyncio.get_running_loop(),
        label=lambda session: OWNER,
        refused=refusals.add,
    )
    token = "ghp_" + "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5"
    asked = [
        get("http://shop.example/WORDS?WORDS=WORDS"),
        get("http://evil.example/WORDS"),
        get("http://shop.example:25/WORDS"),
        get("http://WORDS:WORDS@shop.example/WORDS"),
        get("ftp://shop.example/WORDS").replace(b"ftp", b"http://WORDS\\"),
        get("http://api.example.org/WORDS?access_token=WORDS&WORDS=1"),
        get("http://api.example.org/WORDS", "Authorization: Bearer WORDS"),
        get("http://api.example.org/WORDS", "X-Forwarded-WORDS: 1"),
        get(f"http://api.example.org/WORDS?q={token}"),
        get("http://api.example.org/WORDS?q=secret://WORDS"),
        get("http://shop.example/WORDS").replace(b"GET", b"WORDS"),
        b"CONNECT shop.example:443 HTTP/1.1\r\n\r\n",
    ]
    try:
        seen = []
        for one in asked:
            mark = refusals.mark("s_1")
            said = await say(proxies, one)
            assert b" 403 " in said.split(b"\r\n")[0], (one, said)
            lines, _ = refusals.since("s_1", mark)
            assert len(lines) == 1, one
            seen += lines
    finally:
        await proxies.close()
    assert not any("words" in line.lower() for line in seen), seen
    assert seen[0].startswith("Not sent: nobody has allowed GET shop.example. To allow it")
    assert seen[1] == "Not sent: GET evil.example is denied by the rule 'evil.example'."
    assert "GET api.example.org: it holds what looks like a secret, or could not be" in seen[8]
    assert sum("shop.example" in line for line in seen) >= 4
