"""The one function every request takes, stage by stage."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.egress import Refused, Unreachable, parse_rule
from perdure.egress.address import parse
from perdure.egress.headers import checked
from perdure.egress.scanning import check_outgoing
from perdure.secrets.value import SecretValue

from .world import CANARY, SECRET, Scanner, Vault, World, answer, serving, to


async def refused(world: World, url: str, **more: object) -> Refused:
    with pytest.raises(Refused) as caught:
        await world.get(url, **more)
    return caught.value


async def test_what_is_sent_is_what_was_judged(world: World) -> None:
    async with serving(lambda _: answer()) as server:
        world.allow(private=[f"site.test:{server.port}"])
        world.names({"site.test": [["127.0.0.1"]]})
        got = await world.get(f"http://SITE.test:{server.port}/a/../b%20c?q=%41#x")
        assert got.body == b"hello" and got.status == 200
        assert server.lines == ["GET /b%20c?q=%41 HTTP/1.1"]
        assert server.header("host") == f"site.test:{server.port}"
        assert got.url == f"http://site.test:{server.port}/b%20c?q=%41"
        assert world.resolver.asked == ["site.test"], "looked up once"


async def test_the_request_line_on_the_wire_is_the_address_that_was_judged(world: World) -> None:
    """Whatever the letters: nothing between the judgement and the socket writes it anew."""
    pick = random.Random(7)
    letters = "ab%./?&=;+:@!$'()*,~[]{}|^`\"<>ü ".replace(" ", "") + "%2e%2F%20%zz"
    async with serving(lambda _: answer()) as server:
        world.allow(private=[f"127.0.0.1:{server.port}"])
        sent = 0
        for _ in range(150):
            url = f"http://127.0.0.1:{server.port}/" + "".join(pick.choices(letters, k=12))
            try:
                got = await world.get(url)
            except Refused as error:
                assert error.stage in ("address", "headers")
                continue
            sent += 1
            assert server.lines[-1] == f"GET {parse(url).target} HTTP/1.1"
            assert got.url == str(parse(url))
        assert sent > 100


async def test_policy_denies_wins_and_asks_for_what_nobody_has_judged(world: World) -> None:
    async with serving(lambda _: answer()) as server:
        here = f"127.0.0.1:{server.port}"
        world.allow(
            f"GET {here}/open/*", deny=["127.0.0.1:*/open/secret*"], default="deny", private=[here]
        )
        assert (await world.get(f"http://{here}/open/x")).status == 200
        assert (await refused(world, f"http://{here}/open/secret/x")).stage == "policy"
        assert (await refused(world, f"http://{here}/open/%73ecret")).stage == "policy"
        assert (await refused(world, f"http://{here}/open/..%2fclosed")).stage == "policy"
        assert (await refused(world, f"http://{here}/closed")).stage == "policy"
        assert (await refused(world, f"http://{here}/open/x", method="POST")).stage == "policy"
        assert (await refused(world, f"http://{here}/open/x", method="TRACE")).stage == "policy"
        world.allow(default="ask", private=[here])
        said = await refused(world, f"http://{here}/x")
        assert "nobody has allowed" in said.message and "egress:" in said.hint
        assert (await world.get(f"http://{here}/x", judged=(f"http://{here}/x",))).status == 200
        assert (
            await refused(world, f"http://{here}/y", judged=(f"http://{here}/x",))
        ).stage == "policy"
        assert (await world.get(f"http://{here}/y", judged=("127.0.0.1",))).status == 200
        assert len(server.seen) == 3


def test_rules_are_for_some_tools_and_agents(world: World) -> None:
    world.rules = type(world.rules)(
        allow=(parse_rule("*.example.org", tools=["web_fetch"], agents=["a"]),), default="deny"
    )
    judge = world.egress.judge
    assert judge("GET", "https://x.example.org/", tool="web_fetch", agent="a").effect == "allow"
    assert judge("GET", "https://x.example.org/", tool="other", agent="a").effect == "deny"
    assert judge("GET", "https://x.example.org/", tool="web_fetch", agent="b").effect == "deny"
    assert judge("GET", "https://example.org/", tool="web_fetch", agent="a").effect == "deny"
    assert judge("GET", "https://x.example.org:22/", tool="web_fetch", agent="a").effect == "deny"


CREDENTIALS = [
    {"Authorization": "Bearer abc"},
    {"authorization": "Basic dXNlcjpwdw=="},
    {"Authorization": "Bearer secret://github and-more"},
    {"Cookie": "sid=1"},
    {"Proxy-Authorization": "x"},
    {"X-Api-Key": "x"},
    {"x-goog-api-key": "x"},
    {"PRIVATE-TOKEN": "x"},
    {"X-Auth-Token": "x"},
    {"X-Subscription-Token": "x"},
    {"apikey": "x"},
    {"Ocp-Apim-Subscription-Key": "x"},
    {"Host": "evil.example"},
    {"Content-Length": "0"},
    {"Transfer-Encoding": "chunked"},
    {"Connection": "close"},
    {"Upgrade": "h2c"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"X-Original-URL": "/admin"},
    {"Metadata-Flavor": "Google"},
    {"Content-Encoding": "gzip"},
    {"X": "a\r\nAuthorization: b"},
    {"X": "a\nb"},
    {"X": "a\0b"},
    {"X": "ü"},
    {"X\r\nY": "a"},
    {"X Y": "a"},
    {"X:": "a"},
    {"": "a"},
    {"A": "1", "a": "2"},
    {"X": "a" * 40_000},
]


@pytest.mark.parametrize("headers", CREDENTIALS)
def test_callers_set_no_credentials_and_steer_nothing(headers: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        checked(headers)
    assert caught.value.stage == "headers"


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=30), max_size=4))
def test_headers_are_refused_or_go_out_as_they_are(headers: dict[str, str]) -> None:
    try:
        good = checked(headers)
    except Refused:
        return
    for name, value in good.items():
        wire = f"{name}: {value}"
        assert (wire.isascii() and wire.isprintable()) or "\t" in value
        assert headers[name].strip() == value


@pytest.mark.parametrize(
    "query",
    ["access_token=x", "api_key=x", "apikey=x", "token=x", "client_secret=x", "password=x",
     "x-api-key=x", "key=AIzaSyA0123456789abcdefghij", "refresh_token=x", "a=b&private_token=x"],
)  # fmt: skip
async def test_credentials_in_an_address_are_refused(world: World, query: str) -> None:
    said = await refused(world, f"https://a.example/?{query}")
    assert said.stage == "headers" and "secret://" in said.hint


def forms(value: str) -> list[str]:
    raw = value.encode()
    return [
        value,
        quote(value, safe=""),
        "".join(f"%{b:02x}" for b in raw),
        quote(quote("%" + raw.hex("%"), safe="")),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(b"xy" + raw + b"z").decode().rstrip("="),
        base64.b64encode(base64.b64encode(raw)).decode(),
        raw.hex(),
        raw.hex().upper(),
        quote(base64.b64encode(raw).decode(), safe=""),
        base64.b64encode(raw.hex().encode()).decode(),
    ]


@pytest.mark.parametrize("number", range(len(forms(CANARY))))
async def test_a_secret_is_found_in_every_disguise(world: World, number: int) -> None:
    form = forms(CANARY)[number]
    world.names({"a.example": [["93.184.216.34"]]})
    for url, more in [
        (f"https://a.example/x?q={form}", {}),
        (f"https://a.example/{form}", {}),
        ("https://a.example/", {"headers": {"X-Note": form}}),
        ("https://a.example/", {"method": "POST", "body": json.dumps({"a": form}).encode()}),
        ("https://a.example/", {"method": "POST", "body": form.encode("utf-16")}),
    ]:
        said = await refused(world, url, **more)
        assert said.stage == "leak"
        assert CANARY not in str(said)
    assert world.resolver.asked == [], "not even the name is looked up"
    assert CANARY not in world.written() and form not in world.written()


async def test_a_secret_in_pieces_or_in_a_name_is_found(world: World) -> None:
    half = len(CANARY) // 2
    a, b = CANARY[:half], CANARY[half:]
    for url in (
        f"https://a.example/?x={a}&y={b}",
        f"https://a.example/{a}/{b}",
        f"https://{CANARY.encode().hex()}.evil.example/",
    ):
        assert (await refused(world, url)).stage == "leak"
    escaped = "".join(f"\\u{ord(c):04x}" for c in CANARY)
    body = f'{{"a":"{escaped}"}}'.encode()
    assert (await refused(world, "https://a.example/", method="POST", body=body)).stage == "leak"


async def test_nothing_leaves_when_the_search_for_secrets_fails(world: World) -> None:
    world.scanner.broken = True
    said = await refused(world, "https://a.example/?q=hunter2")
    assert said.stage == "leak" and "hunter2" not in str(said)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary(max_size=300), st.booleans())
def test_any_body_can_be_searched(data: bytes, coded: bool) -> None:
    body = base64.b64encode(data) if coded else data
    asyncio.run(check_outgoing(Scanner(), parse("https://a.example/?q=%zz"), {}, body))


@pytest.mark.parametrize(
    "found",
    [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::1"], ["::ffff:169.254.169.254"], ["fe80::1%lo"],
     ["64:ff9b::a00:1"]],
)  # fmt: skip
async def test_a_name_that_leads_inside_is_refused(world: World, found: list[str]) -> None:
    world.names({"a.example": [found]})
    said = await refused(world, "http://a.example/")
    assert said.stage == "resolve" and "egress" in said.hint


async def test_the_owner_opens_one_port_of_one_host(world: World) -> None:
    async with serving(lambda _: answer()) as one, serving(lambda _: answer()) as other:
        world.allow(private=[f"127.0.0.1:{one.port}", f"meta.test:{one.port}"])
        world.names({"a.example": [["127.0.0.1"]], "meta.test": [["169.254.169.254"]]})
        assert (await world.get(f"http://127.0.0.1:{one.port}/")).status == 200
        for url in (
            f"http://127.0.0.1:{other.port}/",
            f"http://localhost:{one.port}/",
            f"http://a.example:{one.port}/",
            f"http://meta.test:{one.port}/",
        ):
            assert (await refused(world, url)).stage == "resolve"
        assert not other.seen


async def test_redirects_are_judged_from_the_start(world: World) -> None:
    where = {"/": "/next"}

    def reply(request: bytes) -> bytes:
        path = request.split(b" ")[1].decode()
        return to(where[path]) if path in where else answer()

    async with serving(reply) as server:
        here = f"http://127.0.0.1:{server.port}"
        world.allow(deny=["127.0.0.1:*/denied"], private=[f"127.0.0.1:{server.port}"])
        got = await world.get(f"{here}/")
        assert got.chain == (f"{here}/", f"{here}/next")
        for location, stage in [
            ("http://localhost/", "resolve"),
            ("http://a.example:25/", "policy"),
            ("http://169.254.169.254/latest/meta-data/", "resolve"),
            ("http://0x7f000001/", "address"),
            (f"http://user:pw@127.0.0.1:{server.port}/", "address"),
            ("file:///etc/passwd", "address"),
            ("/denied", "policy"),
            (f"/?x={CANARY}", "leak"),
        ]:
            where["/"] = location
            assert (await refused(world, f"{here}/")).stage == stage, location
        where |= {"/": "/1", "/1": "/2", "/2": "/3", "/3": "/4"}
        server.seen.clear()
        assert (await refused(world, f"{here}/")).stage == "redirect"
        assert len(server.seen) == 4
        assert (await world.get(f"{here}/", redirects=0)).status == 302


async def test_a_redirect_elsewhere_takes_neither_secrets_nor_headers_nor_bodies_along(
    world: World,
) -> None:
    async with (
        serving(lambda _: answer()) as far,
        serving(lambda r: to(f"http://127.0.0.1:{far.port}/x", "307 T")) as near,
    ):
        host = f"127.0.0.1:{near.port}"
        world.allow(private=[host, f"127.0.0.1:{far.port}"])
        world.vault = Vault(host)
        headers = {
            "Authorization": "Bearer secret://github",
            "X-Own": "1",
            "Accept": "text/html",
        }
        assert (await world.get(f"http://{host}/", headers=headers)).status == 200
        assert near.header("authorization") == f"Bearer {SECRET}"
        assert far.header("authorization") is None and far.header("x-own") is None
        assert far.header("accept") == "text/html"
        said = await refused(world, f"http://{host}/", method="POST", body=b"x")
        assert said.stage == "redirect" and len(far.seen) == 1


async def test_a_post_becomes_a_get_where_it_should(world: World) -> None:
    async with serving(
        lambda r: answer() if r.startswith(b"GET") else to("/done", "303 See Other")
    ) as server:
        world.allow(private=[f"127.0.0.1:{server.port}"])
        await world.get(f"http://127.0.0.1:{server.port}/", method="POST", body=b"x")
        assert server.lines[1] == "GET /done HTTP/1.1"


async def test_a_secret_is_put_in_last_and_never_shown(world: World) -> None:
    async with serving(lambda r: answer(b"you sent " + r, X_Echo=SECRET)) as server:
        host = f"127.0.0.1:{server.port}"
        world.allow(private=[host])
        world.vault = Vault(host, ("header:authorization", "query:key", "body", "path"))
        got = await world.get(
            f"http://{host}/bot{'secret://github'}/x?key=secret://github&b=1",
            method="POST",
            headers={"Authorization": "Bearer secret://github", "Content-Type": "application/json"},
            body=b'{"k": "secret://github"}',
        )
        sent = server.seen[0].decode()
        assert f"/bot{SECRET}/x?key={SECRET}&b=1" in sent
        assert f"Bearer {SECRET}" in sent and f'{{"k": "{SECRET}"}}' in sent
        assert SECRET.encode() not in got.body and b"[redacted" in got.body and got.redacted >= 5
        assert SECRET not in str(got.headers) + got.url + repr(got) + world.written()
        assert SECRET.encode() not in b"".join(world.scanner.scanned[:2])
        (line,) = world.log.read()
        assert line.secrets == ("github",) and line.query == ("key", "b") and line.verdict == "sent"


async def test_a_secret_for_another_host_place_or_scheme_stays(world: World) -> None:
    world.names({"a.example": [["93.184.216.34"]]})
    world.vault = Vault("b.example")
    auth = {"Authorization": "Bearer secret://github"}
    assert (await refused(world, "https://a.example/", headers=auth)).stage == "secret"
    assert (await refused(world, "http://a.example/", headers=auth)).stage == "secret"
    world.vault.host = "a.example"
    assert (await refused(world, "https://a.example:8443/", headers=auth)).stage == "secret"
    assert world.vault.asked[-1][1] == "a.example:8443"
    world.egress._secrets = None
    assert (await refused(world, "https://a.example/", headers=auth)).stage == "secret"


async def test_a_vault_that_breaks_gives_nothing_away(world: World) -> None:
    class Broken(Vault):
        def find(self, ref: str, **more: str) -> SecretValue:  # type: ignore[override]
            raise RuntimeError(f"decrypting {SECRET} went wrong")

    world.names({"a.example": [["93.184.216.34"]]})
    world.vault = Broken("a.example")
    said = await refused(
        world, "https://a.example/", headers={"Authorization": "Bearer secret://github"}
    )
    assert SECRET not in str(said) and said.__cause__ is None and said.__suppress_context__
    assert SECRET not in world.written()


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, lambda d: zlib.compress(d)[2:-4]])
async def test_packed_answers_are_unpacked_and_bombs_are_not(
    world: World, pack: Callable[[bytes], bytes]
) -> None:
    texts = {b"/ok": b"hello " * 50_000, b"/bomb": b"\0" * (64 << 20)}
    encoding = "gzip" if pack is gzip.compress else "deflate"
    packed = {path: pack(text) for path, text in texts.items()}

    def reply(request: bytes) -> bytes:
        return answer(packed[request.split(b" ")[1]], Content_Encoding=encoding)

    async with serving(reply) as server:
        here = f"http://127.0.0.1:{server.port}"
        world.allow(private=[f"127.0.0.1:{server.port}"])
        assert (await world.get(f"{here}/ok")).body == texts[b"/ok"]
        said = await refused(world, f"{here}/bomb", limit=1 << 20)
        assert said.stage == "answer"
        cut = await world.get(f"{here}/bomb", limit=1 << 20, cut=True)
        assert cut.cut and len(cut.body) == 1 << 20


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "zstd", "x"])
async def test_other_packings_are_refused(world: World, encoding: str) -> None:
    async with serving(lambda _: answer(b"x", Content_Encoding=encoding)) as server:
        world.allow(private=[f"127.0.0.1:{server.port}"])
        assert (await refused(world, f"http://127.0.0.1:{server.port}/")).stage == "answer"


async def test_too_long_and_unwanted_answers_are_not_read(world: World) -> None:
    async with serving(lambda _: answer(b"x" * 5000, type="video/mp4")) as server:
        url = f"http://127.0.0.1:{server.port}/"
        world.allow(private=[f"127.0.0.1:{server.port}"])
        assert (await refused(world, url, limit=4999)).stage == "answer"
        assert (await refused(world, url, types=("text/*",))).stage == "answer"
        assert len((await world.get(url, types=("text/*", "video/*"))).body) == 5000


async def test_a_silent_server_and_a_cancelled_request_leave_no_connection(world: World) -> None:
    started = asyncio.Event()

    async def never(_: bytes) -> bytes:
        started.set()
        await asyncio.sleep(3600)
        return b""

    async with serving(never) as server:
        url = f"http://127.0.0.1:{server.port}/"
        world.allow(private=[f"127.0.0.1:{server.port}"])
        with pytest.raises(Unreachable, match=r"within 0.05 s"):
            await world.get(url, seconds=0.05)
        started.clear()
        task = asyncio.create_task(world.get(url))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert world.egress._connections is not None
        connector = world.egress._connections[1]._session.connector
        assert connector is not None and not connector._acquired
        assert [e.verdict for e in world.log.read()] == ["failed", "failed"]


async def test_a_request_from_another_threads_loop_uses_the_same_connections(
    world: World,
) -> None:
    async with serving(lambda _: answer()) as server:
        url = f"http://127.0.0.1:{server.port}/"
        world.allow(private=[f"127.0.0.1:{server.port}"])
        world.egress._loop = asyncio.get_running_loop()
        await world.get(url)
        got = await asyncio.to_thread(lambda: asyncio.run(world.get(url)))
        assert got.body == b"hello" and server.connections == 1


async def test_what_cannot_be_recorded_does_not_leave(world: World, tmp_path: Path) -> None:
    (tmp_path / "egress").write_text("in the way")
    async with serving(lambda _: answer()) as server:
        world.allow(private=[f"127.0.0.1:{server.port}"])
        said = await refused(world, f"http://127.0.0.1:{server.port}/")
        assert "recorded" in said.message and not server.seen


async def test_rules_that_cannot_be_read_let_nothing_out(world: World) -> None:
    world.rules = None  # type: ignore[assignment]
    with pytest.raises(Exception):  # noqa: B017
        await world.get("https://a.example/")
    assert world.resolver.asked == []


async def test_a_torn_record_is_passed_over(world: World) -> None:
    async with serving(lambda _: answer()) as server:
        url = f"http://127.0.0.1:{server.port}/a?b=c"
        world.allow(private=[f"127.0.0.1:{server.port}"])
        await world.get(url)
        (path,) = (world.folder / "egress").glob("*.jsonl")
        with path.open("a") as file:
            file.write('{"at":"2026-')
        await world.get(url)
        assert [(e.path, e.query, e.session) for e in world.log.read()] == [
            ("/a", ("b",), "s_1")
        ] * 2
        assert list(world.log.read(session="other")) == []
        assert len(list(world.log.read(host="127.0.0.1"))) == 2
        assert path.stat().st_mode & 0o777 == 0o600


async def test_a_refusal_does_not_write_down_what_it_refused(world: World) -> None:
    world.allow(deny=["*"])
    await refused(world, f"https://a.example/{CANARY}?{CANARY}=x")
    assert CANARY not in world.written() and "refused: policy" in world.written()


async def test_on_a_full_disk_nothing_leaves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(lambda _: answer()) as server:
        url = f"http://127.0.0.1:{server.port}/"
        world.allow(private=[f"127.0.0.1:{server.port}"])
        await world.get(url)
        with monkeypatch.context() as patch:
            patch.setattr("perdure.egress.record.os.write", lambda fd, data: 0)
            said = await refused(world, url)
        assert "recorded" in said.message and len(server.seen) == 1
        await world.get(url)
        assert [e.verdict for e in world.log.read()] == ["sent", "sent"]


async def test_a_request_is_on_record_before_it_is_sent_and_listed_once(world: World) -> None:
    found: list[list[str]] = []

    def serve(_: bytes) -> bytes:
        found.append([e.verdict for e in world.log.read()])
        return answer()

    async with serving(serve) as server:
        world.allow(private=[f"127.0.0.1:{server.port}"])
        for _ in range(2):
            await world.get(f"http://127.0.0.1:{server.port}/a")
    assert found == [["opened"], ["sent", "opened"]]
    assert [(e.path, e.verdict) for e in world.log.read()] == [("/a", "sent")] * 2
    assert world.written().count("\n") == 4
