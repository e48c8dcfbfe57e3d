"""The web tools before real servers: what a model sees of a page, a document, an engine, an API."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from perdure import tools
from perdure.kernel.events import CallId, Image, Json, ToolCall, ToolResult
from perdure.tools.charsets import decode
from perdure.tools.http_request import HttpRequest
from perdure.tools.outside import Search
from perdure.tools.page import read_page
from perdure.tools.prepared import Prepared
from perdure.tools.web_fetch import WebFetch
from perdure.tools.web_search import WebSearch

from ..egress.world import SECRET, Vault, answer, serving, to
from ..egress.world import World as Outside
from .world import World

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40


class Web:
    """A session's bench with the web tools, before an egress that asks."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder, (WebFetch, WebSearch, HttpRequest))
        self.outside = Outside(folder)
        self.search: Search | None = None

    async def __call__(self, tool: str, **arguments: Json) -> ToolResult:
        bench = replace(
            self.world.bench,
            doors=self.outside.egress.door("s_1", "default"),
            search=lambda: self.search,
        )
        return await self.world.call(tool, arguments, bench=bench)

    def allow(self, port: int, default: str = "ask", *allow: str) -> str:
        self.outside.allow(*allow, default=default, private=[f"127.0.0.1:{port}"])
        return f"http://127.0.0.1:{port}"


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    made = Web(tmp_path)
    yield made
    await made.outside.close()
    await made.world.commands.close()


PAGE = b"""<!doctype html><html><head><title>The  Garden</title>
<style>.ghost, .x:hover {display: none} .tiny{font-size:0px}</style>
<script>document.write("script text")</script><link rel=stylesheet href=/s.css>
<link rel=preload href=/p.js></head>
<body background=/bg.png><nav><a href="/menu">Menu</a></nav>
<main><h1>Roses</h1><p>Water them <b>daily</b>, see <a href="../how?a=1&amp;b=2#x">the guide</a>
or <a href="javascript:alert(1)">this</a>, <a href="data:text/html,x">that</a>.</p>
<ul><li>red<ul><li>dark</li></ul></li><li>white</li></ul>
<table><tr><th>Kind</th><th>Price</th></tr><tr><td>Tea</td><td>3 | 4</td></tr></table>
<pre>a = 1
  b = 2</pre><blockquote>Quoted<br>twice</blockquote>
<img src="https://evil.example/pixel?d=1" alt="a rose"><img src=/t.gif>
<iframe src=/frame></iframe><object data=/o></object><video src=/v poster=/w></video>
<svg><image href=/svg.png /><text>svg text</text></svg>
<p hidden>hidden one</p><p aria-hidden="true">hidden two</p><p style="top:0; display : none">hidden 3</p>
<p class=ghost>hidden four</p><p class="big tiny">hidden five</p><span style="font-size:0">hidden six</span>
<div style="position:absolute;left:-9999px">hidden seven</div><input type=hidden value="hidden eight">
<!-- hidden nine --><noscript>hidden ten</noscript><template>hidden eleven</template>
<p style="opacity:0">hidden twelve</p><p style="background:url(/css.png)">seen\xe2\x80\x8b\xf3\xa0\x81\xa9</p>
</main><footer>Imprint</footer></body></html>"""


async def test_a_page_is_markdown_with_links_and_nothing_hidden(web: Web) -> None:
    async with serving(lambda _: answer(PAGE, type="text/html; charset=utf-8")) as server:
        base = web.allow(server.port)
        got = await web("web_fetch", url=f"{base}/a/roses")
        assert got.status == "ok"
        assert got.text == (
            f"The Garden\n{base}/a/roses\n\n# Roses\n\n"
            f"Water them **daily**, see [the guide]({base}/how?a=1&b=2#x) or this, that.\n\n"
            "- red\n  - dark\n- white\n\n"
            "| Kind | Price |\n| --- | --- |\n| Tea | 3 \\| 4 |\n\n"
            "```\na = 1\n  b = 2\n```\n\n> Quoted\n> twice\n\n(image: a rose)\n\nseen"
        )
        assert got.data["title"] == "The Garden" and got.data["links"] == 1
        label = got.label
        assert label is not None and label.trust == "third_party"
        assert label.origins == ("web:127.0.0.1",) and label.secrecy == "private"


async def test_nothing_is_fetched_but_the_page(web: Web) -> None:
    """ATTACKS 29: pictures, frames, styles and scripts of a page are never asked for."""
    async with serving(lambda _: answer(PAGE, type="text/html")) as server:
        base = web.allow(server.port, "allow")
        await web("web_fetch", url=f"{base}/x")
        assert server.lines == ["GET /x HTTP/1.1"]


async def test_a_long_page_comes_in_pages(web: Web) -> None:
    body = "<p>line of text</p>" * 9_000
    async with serving(lambda _: answer(body.encode(), type="text/html")) as server:
        got = await web("web_fetch", url=f"{web.allow(server.port)}/")
        assert got.artifact is not None and len(got.text) < 21_000
        assert f"artifact:{got.artifact}" in got.text and "offset=" in got.text
        whole = web.world.artifacts.path(got.artifact).read_text()
        offset = int(got.text.rpartition("offset=")[2].split()[0])
        shown = got.text.split("\n\n", 1)[1].split("\n[…")[0]
        assert whole.split("\n")[: offset - 1] == shown.split("\n")


async def test_the_host_that_answered_in_the_end_is_the_origin(web: Web) -> None:
    async with serving(lambda r: to("/b") if b"/a" in r else answer(b"there")) as server:
        base = web.allow(server.port)
        got = await web("web_fetch", url=f"{base}/a")
        assert got.data["chain"] == [f"{base}/a", f"{base}/b"] and got.data["url"] == f"{base}/b"
        assert got.text == f"{base}/b\n\nthere"


async def test_json_text_and_pictures(web: Web) -> None:
    bodies = {
        b"/j": ('{"a":[1,2],"b":"' + "x" * 300 + '"}', "application/problem+json"),
        b"/t": ("gr\u00fc\u00df", "text/plain; charset=iso-8859-1"),
        b"/p": (PNG, "image/png"),
        b"/z": (b"PK\x03\x04\0\0", "application/octet-stream"),
        b"/v": (b"xx", "video/mp4"),
    }

    def reply(request: bytes) -> bytes:
        body, kind = bodies[request.split(b" ")[1]]
        return answer(body if isinstance(body, bytes) else body.encode("latin-1"), type=kind)

    async with serving(reply) as server:
        base = web.allow(server.port)
        assert '"a": [\n' in (await web("web_fetch", url=f"{base}/j")).text
        assert (await web("web_fetch", url=f"{base}/t")).text.endswith("grüß")
        picture = await web("web_fetch", url=f"{base}/p")
        assert isinstance(picture.parts[1], Image) and picture.parts[1].media_type == "image/png"
        for path in ("z", "v"):
            assert (await web("web_fetch", url=f"{base}/{path}")).status == "error"


def pdf(text: str) -> bytes:
    stream = f"BT /F1 24 Tf 72 700 Td ({text}) Tj ET"
    parts = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, at = "%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        at.append(len(out))
        out += f"{number} 0 obj\n{part}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in at)
    return (
        f"{out}xref\n0 6\n0000000000 65535 f \n{table}trailer\n<< /Size 6 /Root 1 0 R >>\n"
        f"startxref\n{len(out)}\n%%EOF\n"
    ).encode()


async def test_the_text_of_a_pdf_and_why_there_is_none(web: Web) -> None:
    bodies = {b"/ok": pdf("Harvest report"), b"/bad": b"%PDF-1.4\nnothing of the kind"}
    async with serving(
        lambda r: answer(bodies[r.split(b" ")[1]], type="application/pdf")
    ) as server:
        base = web.allow(server.port)
        got = await web("web_fetch", url=f"{base}/ok")
        assert "[page 1 of 1]\nHarvest report" in got.text
        assert "cannot be read" in (await web("web_fetch", url=f"{base}/bad")).text


async def test_an_error_page_is_an_error_with_what_it_says(web: Web) -> None:
    body = b"<html><body><h1>Gone</h1>" + b"<p>away</p>" * 900
    async with serving(lambda _: answer(body, "410 Gone", "text/html")) as server:
        got = await web("web_fetch", url=f"{web.allow(server.port)}/")
        assert got.status == "error" and "410 Gone" in got.text and "# Gone" in got.text
        assert len(got.text) < 1_200 and got.label is not None and got.label.tainted


async def test_only_what_the_gate_has_seen_goes_out_where_the_owner_says_ask(web: Web) -> None:
    """The tool's own request is the one that was judged; nothing else passes in its name."""
    async with serving(lambda _: answer()) as server:
        base = web.allow(server.port)
        assert (await web("web_fetch", url=f"{base}/x")).status == "ok"
        door = web.outside.egress.door("s_1", "default").by("web_fetch", [f"{base}/x"])
        from perdure.egress import Outgoing, Refused

        with pytest.raises(Refused):
            await door.request(Outgoing(url=f"{base}/y"))
        refused = await web("web_fetch", url="http://169.254.169.254/latest/meta-data/")
        assert refused.status == "denied" and "metadata" in refused.text


async def test_a_page_made_to_keep_its_reader_busy_is_given_up(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open formatting is opened anew in each paragraph: a small page, and nodes without end."""
    monkeypatch.setattr("perdure.tools.apart.SECONDS", 2)
    bomb = "".join(f"<b x{n}>" for n in range(40_000)) + "<p>x" * 40_000
    async with serving(lambda _: answer(bomb.encode(), type="text/html")) as server:
        got = await web("web_fetch", url=f"{web.allow(server.port)}/")
        assert got.status == "error" and "cannot be read" in got.text


def test_deep_and_broken_pages_do_not_break_the_reading() -> None:
    page = read_page("<div>" * 2_000 + "deep" + "<table><tr><td>" * 500, "https://a.example/")
    assert "deep" in page.text
    nested = read_page("<table><tr><td>1<table><tr><td>2<td>3</table><td>4</table>", "https://a/")
    assert nested.text == "| 1 \\| 2 \\| 3 \\| \\| --- \\| --- \\| | 4 |\n| --- | --- |"
    for html in ("", "<", "<html></html>", "\0", "<!-->", "<body><p>x</body></html><p>y"):
        read_page(html, "https://a.example/")


def test_links_are_absolute_and_of_the_web() -> None:
    html = (
        '<base href="https://b.example/x/"><a href=y>1</a><a href="//c.example/">2</a>'
        '<a href="http://[">3</a><a href="java\nscript:x">4</a><a href=" https://d.example/(a) ">5</a>'
        '<a href="#top">6</a><a href="mailto:a@b.example">7</a><a href=z></a>'
    )
    assert read_page(html, "https://a.example/").text == (
        "[1](https://b.example/x/y)[2](https://c.example/)34[5](https://d.example/%28a%29)6"
        "[7](mailto:a@b.example)"
    )


def test_charsets_are_those_of_text_and_what_cannot_be_seen_is_gone() -> None:
    assert decode("ä".encode("cp1252")) == "ä"
    assert decode("日本".encode("shift_jis"), "Shift_JIS") == "日本"
    assert decode("я".encode("koi8-r") + b'<meta charset="koi8-r">', html=True).startswith("я")
    assert decode("x".encode("utf-16")) == "x"
    for odd in ("zlib", "utf-7", "idna", "rot13", "unicode_escape", "no-such"):
        assert decode(b"+AGE-", odd) == "+AGE-"
    assert decode("a\u200bb\u202ec\U000e0041d\x1b[31m".encode()) == "abcd[31m"


ENGINES = [
    (
        "brave",
        {"web": {"results": [{"title": "T <strong>x</strong>", "url": "https://r.example/1",
                              "description": "D"}]}},
    ),
    ("tavily", {"results": [{"title": "T x", "url": "https://r.example/1", "content": "D"}]}),
    ("searxng", {"results": [{"title": "T x", "url": "https://r.example/1", "content": "D"}]}),
    ("custom", {"d": {"hits": [{"t": "T x", "url": "https://r.example/1", "text": "D"}]}}),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "found"), ENGINES)
async def test_engines_are_asked_with_a_secret_that_nobody_sees(
    web: Web, provider: str, found: dict[str, Json]
) -> None:
    async with serving(
        lambda _: answer(json.dumps(found).encode(), type="application/json")
    ) as server:
        base = web.allow(server.port, "deny", f"http://127.0.0.1:{server.port}")
        header = "x-subscription-token" if provider == "brave" else "authorization"
        web.outside.vault = Vault(f"127.0.0.1:{server.port}", [f"header:{header}"])
        web.search = Search(
            provider=provider,
            url={"custom": f"{base}/s?q={{query}}&n={{count}}", "searxng": base}.get(
                provider, f"{base}/api"
            ),
            secret="secret://github",
            results="d.hits",
            fields={"title": "t"},
        )
        got = await web("web_search", query="red & white roses", count=3)
        assert got.text == "1. T x\n   https://r.example/1\n   D"
        assert got.data["urls"] == ["https://r.example/1"]
        assert SECRET in (server.header(header) or "")
        sent = server.seen[0].decode()
        assert "red" in sent and SECRET not in got.text + web.outside.written()
        assert got.label is not None and got.label.trust == "third_party"


async def test_what_an_engine_may_answer(web: Web) -> None:
    replies: list[bytes] = [
        answer(b"<html>", type="text/html"),
        answer(b'{"results": {}}'),
        answer(b'{"results": [1, {"url": "javascript:x"}, {"url": 5}]}'),
        answer(b"[" * 100_000),
        answer(b"{}", "429 Too Many Requests"),
        answer(b"{}"),
    ]
    async with serving(lambda _: replies.pop(0)) as server:
        base = web.allow(server.port, "allow")
        web.search = Search(provider="searxng", url=base)
        said = [await web("web_search", query="x") for _ in range(6)]
        assert [r.status for r in said] == ["error", "error", "ok", "error", "error", "ok"]
        assert said[2].text == said[5].text == "Nothing was found." and "429" in said[4].text


async def test_without_an_engine_it_is_said_how_to_get_one(web: Web) -> None:
    got = await web("web_search", query="x")
    assert got.status == "error" and "perdure.yaml" in got.text and "searxng" in got.text


async def test_an_api_is_called_with_a_secret_by_name(web: Web) -> None:
    async with serving(
        lambda _: answer(
            b'{"me":"' + SECRET.encode() + b'"}', "201 Created", "application/json", Location="/1"
        )
    ) as server:
        base = web.allow(server.port)
        web.outside.vault = Vault(f"127.0.0.1:{server.port}")
        got = await web(
            "http_request",
            method="POST",
            url=f"{base}/things",
            headers={"Authorization": "Bearer secret://github"},
            body={"name": "x"},
        )
        assert got.text.startswith("201 Created\ncontent-type: application/json\nlocation: /1\n\n")
        assert server.header("authorization") == f"Bearer {SECRET}"
        assert server.header("content-type") == "application/json"
        assert server.seen[0].endswith(b'{"name": "x"}')
        assert SECRET not in repr(got) and got.data["status"] == 201
        refused = await web(
            "http_request", url=f"{base}/x", headers={"Authorization": "Bearer abc"}
        )
        assert "secret://" in refused.text and len(server.seen) == 1


def test_effects_are_those_of_the_method() -> None:
    assert HttpRequest(url="https://a.example").acts() == {"reads", "network"}
    assert "writes" in HttpRequest(url="https://a.example", method="DELETE").acts()
    assert WebFetch(url="https://a.example").acts() == {"reads", "network"}


async def test_a_platforms_error_that_holds_the_token_does_not_show_it(web: Web) -> None:
    """ATTACKS 23, for what goes through the egress: an error that quotes what it was sent."""
    async with serving(lambda r: answer(r, "500 Oops", "text/plain", X_Debug=SECRET)) as server:
        base = web.allow(server.port)
        web.outside.vault = Vault(f"127.0.0.1:{server.port}", ["path"])
        got = await web("http_request", url=f"{base}/bot{'secret://github'}/sendMessage")
        assert f"/bot{SECRET}/sendMessage" in server.lines[0]
        assert got.status == "error" and SECRET not in repr(got) + web.outside.written()


@pytest.mark.parametrize(
    ("given", "judged"),
    [
        ("a.example/x", "https://a.example/x"),
        ("a.example:443/x", "https://a.example:443/x"),
        ("a.example?u=http://b.example", "https://a.example?u=http://b.example"),
        ("HTTP://a.example", "HTTP://a.example"),
    ],
)
async def test_the_address_that_is_judged_and_shown_is_the_whole_one_that_is_fetched(
    web: Web, given: str, judged: str
) -> None:
    call = ToolCall(id=CallId("c1"), name="web_fetch", arguments={"url": given})
    prepared = web.world.bench.prepare(call)
    assert isinstance(prepared, Prepared)
    assert prepared.values() == [("url", "url", judged)]
    assert prepared.preview() == f"GET {judged}"


@pytest.mark.parametrize("name", ["pdf", "page"])
def test_a_reader_can_open_nothing_once_it_reads(name: str) -> None:
    """Should a document ever break out of its library: what runs in there then finds no file to open."""
    script = Path(tools.__file__).with_name(f"{name}.py")
    hook = {
        "pdf": "import pypdf; pypdf.PdfReader = look",
        "page": "import selectolax.lexbor as l; l.LexborHTMLParser = look",
    }[name]
    code = f"""import runpy, socket, sys
def look(*_, **more):
    for what in (lambda: open("/etc/hosts"), lambda: open("/tmp/x", "w"), socket.socket):
        try:
            what()
        except OSError:
            print("no", flush=True)
    raise SystemExit
{hook}
sys.argv = ["x", "https://a.example/"]
runpy.run_path({str(script)!r}, run_name="__main__")
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        input=b"<p>x</p>",
        timeout=60,
        capture_output=True,
        check=False,
    )
    assert ran.stdout.split() == [b"no"] * 3, ran.stderr


async def test_a_pdf_in_an_encoding_of_the_east_is_read_by_a_reader_that_opens_nothing(
    web: Web,
) -> None:
    body = pdf("Harvest").replace(
        b"/Subtype /Type1 /BaseFont /Helvetica",
        b"/Subtype /Type0 /BaseFont /X /Encoding /GBK-EUC-H",
    )
    async with serving(lambda _: answer(body, type="application/pdf")) as server:
        got = await web("web_fetch", url=f"{web.allow(server.port)}/ok")
        assert "[page 1 of 1]" in got.text
