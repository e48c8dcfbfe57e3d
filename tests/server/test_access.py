from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from perdure.kernel.errors import ConfigError
from perdure.server import ServerSettings

from .world import World, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
SESSIONS = "/api/v1/sessions"
LONG = "a-token-of-the-owners-own-1234"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/version", "/openapi.json"])
async def test_health_and_the_document_need_no_token(world: World, path: str) -> None:
    async with aiohttp.ClientSession() as http, http.get(world.file.url + path) as response:
        assert response.status == 200


@pytest.mark.parametrize("path", [SESSIONS, "/api/v1/admin/status", "/nothing", "/docs", "/"])
async def test_everything_else_does(tmp_path: Path, path: str) -> None:
    values = ("Bearer", "Bearer ", "Bearer wrong", "Basic {token}", "{token}", "Bearer {token}x")
    async with running(tmp_path) as world:
        for value in (None, "", *values):
            headers = (
                {} if value is None else {"Authorization": value.format(token=world.file.token)}
            )
            async with (
                aiohttp.ClientSession() as http,
                http.get(world.file.url + path, headers=headers) as response,
            ):
                assert response.status == 401
                assert response.headers["WWW-Authenticate"].startswith("Bearer")
                assert response.content_type == "application/problem+json"


async def test_a_configured_token_opens_the_server_as_the_local_one_does(tmp_path: Path) -> None:
    async with running(tmp_path, tokens=(LONG,)) as world:
        headers = {"Authorization": f"bearer {LONG}"}
        assert (await world.ask("GET", SESSIONS, headers=headers)).status == 200
        assert (await world.ask("GET", SESSIONS)).status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1234", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:80", 200),
        ("evil.example", 421),
        ("localhost.evil.example:80", 421),
        ("127.0.0.1.nip.io", 421),
    ],
)
async def test_a_rebound_host_name_is_turned_away(world: World, host: str, status: int) -> None:
    assert (await world.ask("GET", SESSIONS, headers={"Host": host})).status == status
    assert (await world.ask("GET", "/livez", headers={"Host": host})).status == status


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "x://[", "file://"]
)
async def test_another_web_page_is_turned_away(world: World, origin: str) -> None:
    got = await world.ask("POST", SESSIONS, headers={"Origin": origin})
    assert (got.status, got.json["code"]) == (403, "origin")


async def test_the_servers_own_pages_and_allowed_ones_may_call(tmp_path: Path) -> None:
    async with running(tmp_path, allowed_origins=("https://my.site",)) as world:
        for origin in (world.file.url, "https://my.site"):
            assert (await world.ask("GET", SESSIONS, headers={"Origin": origin})).status == 200


async def test_listening_beyond_the_loopback_without_a_token_is_refused_with_advice() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.7", "box.example"):
        with pytest.raises(ConfigError) as caught:
            ServerSettings(host=host).check()
        assert "server.token" in caught.value.hint
        ServerSettings(host=host, tokens=(LONG,)).check()
    for host in ("127.0.0.1", "::1", "localhost"):
        ServerSettings(host=host).check()


async def test_a_token_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(ConfigError):
        ServerSettings(tokens=("short",)).check()


async def test_settings_do_not_show_their_tokens() -> None:
    assert LONG not in repr(ServerSettings(tokens=(LONG,)))
