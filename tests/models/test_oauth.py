"""Logging in through a browser, against a provider on the loopback interface."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import ClientSession, web

from perdure.kernel.errors import Conflict, InvalidInput, ModelError, NotFound
from perdure.models.oauth import OAUTH, Login, OAuthProvider, Pkce, begin, login, offers_login
from perdure.models.wire import Http


@dataclass
class Provider:
    """What OpenRouter documents: a code bound to a challenge, exchanged once for a key."""

    entry: OAuthProvider = field(default_factory=lambda: OAUTH["openrouter"])
    exchanges: list[dict[str, str]] = field(default_factory=list)
    challenge: str = ""
    answer: tuple[int, str] | None = None

    async def exchange(self, request: web.Request) -> web.Response:
        body = json.loads(await request.text())
        self.exchanges.append(body)
        if self.answer is not None:
            return web.Response(status=self.answer[0], text=self.answer[1])
        digest = hashlib.sha256(body["code_verifier"].encode()).digest()
        fits = base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == self.challenge
        if body["code"] != "good" or not fits or body["code_challenge_method"] != "S256":
            return web.json_response(
                {"error": {"message": "Invalid code", "code": 403}}, status=403
            )
        return web.json_response({"key": "sk-or-v1-new", "user_id": "u"})


@asynccontextmanager
async def attempt() -> AsyncIterator[tuple[Provider, Login]]:
    provider = Provider()
    app = web.Application()
    app.router.add_post("/api/v1/auth/keys", provider.exchange)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    provider.entry = replace(
        provider.entry, exchange_url=f"http://127.0.0.1:{port}/api/v1/auth/keys"
    )
    http = Http()
    try:
        async with begin(provider.entry, http) as one:
            provider.challenge = query(one)["code_challenge"]
            yield provider, one
    finally:
        await http.close()
        await runner.cleanup()


def query(one: Login) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(one.url).query).items()}


async def visit(url: str) -> tuple[int, str]:
    async with ClientSession() as browser, browser.get(url) as response:
        return response.status, await response.text()


async def test_a_browser_that_comes_back_with_the_code_gives_the_key() -> None:
    async with attempt() as (provider, one):
        waiting = asyncio.create_task(one.key())
        status, page = await visit(f"{query(one)['callback_url']}?code=good")
        assert (status, "close this page" in page) == (200, True)
        assert await waiting == "sk-or-v1-new"
        assert provider.exchanges[0]["code"] == "good"


async def test_the_address_carries_what_the_provider_documents() -> None:
    async with attempt() as (_, one):
        assert one.url.startswith("https://openrouter.ai/auth?")
        sent = query(one)
        assert sent["code_challenge_method"] == "S256"
        assert sent["callback_url"].startswith("http://127.0.0.1:")
        assert len(sent["code_challenge"]) == 43


async def test_the_verifier_leaves_only_in_the_exchange() -> None:
    async with attempt() as (provider, one):
        waiting = asyncio.create_task(one.key())
        await visit(f"{one.redirect}?code=good")
        await waiting
        assert provider.exchanges[0]["code_verifier"] not in one.url


async def test_each_attempt_has_its_own_secrets() -> None:
    async with attempt() as (_, one), attempt() as (_, other):
        assert query(one)["code_challenge"] != query(other)["code_challenge"]
        assert urlsplit(one.redirect).path != urlsplit(other.redirect).path


@pytest.mark.parametrize("path", ["/", "/callback", "/callback/guessed", "/favicon.ico"])
async def test_a_page_that_does_not_know_the_path_changes_nothing(path: str) -> None:
    async with attempt() as (provider, one):
        waiting = asyncio.create_task(one.key())
        root = one.redirect.partition("/callback")[0]
        assert (await visit(f"{root}{path}?code=evil"))[0] == 404
        await visit(f"{one.redirect}?code=good")
        assert await waiting == "sk-or-v1-new"
        assert [e["code"] for e in provider.exchanges] == ["good"]


async def test_only_the_first_code_counts() -> None:
    async with attempt() as (provider, one):
        await visit(f"{one.redirect}?code=good")
        await visit(f"{one.redirect}?code=later")
        assert await one.key() == "sk-or-v1-new"
        assert [e["code"] for e in provider.exchanges] == ["good"]


async def test_a_person_who_declines_is_told_so() -> None:
    async with attempt() as (_, one):
        waiting = asyncio.create_task(one.key())
        status, page = await visit(f"{one.redirect}?error=access_denied&error_description=<b>No")
        assert status == 400
        assert "&lt;b&gt;No" in page
        with pytest.raises(InvalidInput, match="did not go through"):
            await waiting


@pytest.mark.parametrize("pasted", ["good", " 'good' ", "{redirect}?code=good", "?code=good&x=1"])
async def test_a_pasted_address_or_code_does_as_well(pasted: str) -> None:
    async with attempt() as (_, one):

        async def paste() -> str:
            return pasted.format(redirect=one.redirect)

        assert await one.key(paste=paste) == "sk-or-v1-new"


@pytest.mark.parametrize(
    "pasted", ["", "two words", "https://example.org/", "?error=access_denied"]
)
async def test_what_is_no_code_is_refused(pasted: str) -> None:
    async with attempt() as (provider, one):

        async def paste() -> str:
            return pasted

        with pytest.raises(InvalidInput):
            await one.key(paste=paste)
        assert provider.exchanges == []


async def test_the_prompt_is_gone_once_the_browser_came_back() -> None:
    async with attempt() as (_, one):
        cancelled = asyncio.Event()

        async def paste() -> str:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return ""

        waiting = asyncio.create_task(one.key(paste=paste))
        await visit(f"{one.redirect}?code=good")
        assert await waiting == "sk-or-v1-new"
        assert cancelled.is_set()


async def test_it_does_not_wait_for_ever() -> None:
    async with attempt() as (_, one):
        with pytest.raises(Conflict, match="Nothing came back"):
            await one.key(timeout=0.01)


async def test_a_code_the_provider_refuses_is_an_error_without_secrets() -> None:
    async with attempt() as (provider, one):
        await visit(f"{one.redirect}?code=bad")
        with pytest.raises(ModelError, match="Invalid code") as caught:
            await one.key()
        assert caught.value.status == 403
        assert provider.exchanges[0]["code_verifier"] not in str(caught.value)


@pytest.mark.parametrize("answer", ["{}", "no json", '{"key": ""}', '{"key": 7}', "[]"])
async def test_an_answer_without_a_key_is_an_error(answer: str) -> None:
    async with attempt() as (provider, one):
        provider.answer = (200, answer)
        await visit(f"{one.redirect}?code=good")
        with pytest.raises(ModelError, match="without a key"):
            await one.key()


async def test_connections_that_say_nothing_or_nonsense_do_no_harm() -> None:
    async with attempt() as (_, one):
        port = urlsplit(one.redirect).port
        silent = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01 nonsense" * 2_000 + b"\r\n\r\n")
        await reader.read()
        waiting = asyncio.create_task(one.key())
        await visit(f"{one.redirect}?code=good")
        assert await waiting == "sk-or-v1-new"
    # Leaving did not wait for the silent one, which is closed now.
    assert await silent[0].read() == b""
    silent[1].close()
    writer.close()


async def test_the_listener_is_on_loopback_and_gone_afterwards() -> None:
    async with attempt() as (_, one):
        place = urlsplit(one.redirect)
    assert place.hostname == "127.0.0.1"
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection("127.0.0.1", place.port)


async def test_a_provider_without_such_a_login_is_told_how_else() -> None:
    assert offers_login("openrouter")
    assert not offers_login("anthropic")
    with pytest.raises(NotFound, match="perdure login anthropic --key"):
        async with login("anthropic", Http()):
            pass


def test_the_challenge_is_the_one_of_the_rfc() -> None:
    """RFC 7636, appendix B: its verifier is the base64url of these octets."""
    octets = base64.urlsafe_b64decode("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk=")
    pkce = Pkce.new(lambda size: octets[:size])
    assert pkce.verifier == "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert pkce.challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
