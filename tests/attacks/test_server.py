"""Attacks on the server, seen in the wild. Each docstring begins with its number in docs/security.md."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from perdure.kernel.errors import ConfigError
from perdure.server import ServerSettings
from perdure.server.rates import GUESSES
from tests.e2e.rig import Refused, Rig
from tests.server.test_tokens import SESSIONS, TOKENS, ask, made
from tests.server.world import running


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_listening_for_everybody_without_authentication(tmp_path: Path, host: str) -> None:
    """1: refuses to start, says why and how, and listens nowhere."""
    rig = Rig(tmp_path / "w")
    with (rig.root / "perdure.yaml").open("a") as file:
        file.write(f"server: {{host: '{host}', port: 0}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "perdure", "serve"],
        cwd=rig.root,
        env=rig.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "without authentication" in done.stderr and "server.token" in done.stderr
    assert not (rig.private / "run" / "server.json").exists()
    with pytest.raises(ConfigError):
        ServerSettings(host=host).check()


async def test_a_foreign_page_and_a_rebound_name(tmp_path: Path) -> None:
    """3: a foreign Origin gets 403, a foreign Host no answer to speak of, for POST and streams too."""
    async with running(tmp_path) as world:
        session = await world.session()
        for method, path in (
            ("POST", SESSIONS),
            ("POST", f"{SESSIONS}/{session}/messages"),
            ("GET", f"{SESSIONS}/{session}/events"),
        ):
            got = await world.ask(method, path, headers={"Origin": "https://evil.example"})
            assert got.status == 403
            got = await world.ask(method, path, headers={"Host": "evil.example"})
            assert got.status in (403, 421)
            got = await world.ask(
                method, path, headers={"Host": "evil.example", "Origin": "http://evil.example"}
            )
            assert got.status in (403, 421)


async def test_any_token_that_is_present_but_wrong(tmp_path: Path) -> None:
    """4: 401, whatever is sent as a token."""
    async with running(tmp_path) as world:
        right = await made(world, scopes=["admin"])
        for wrong in ("x", right[:-1], right + "x", right.upper(), "pdr__", "pdr_0_0", "null"):
            assert (await ask(world, wrong, "GET", SESSIONS)).status == 401


async def test_a_client_that_declares_its_own_scopes(tmp_path: Path) -> None:
    """5: ignored; scopes come from the token."""
    async with running(tmp_path) as world:
        token = await made(world, scopes=["read"])
        for more in (
            {"X-Scopes": "admin"},
            {"X-Perdure-Scope": "admin", "Scope": "admin"},
            {"X-Forwarded-User": "owner"},
        ):
            headers = {"Authorization": f"Bearer {token}", **more}
            got = await world.ask("GET", "/api/v1/admin/status?scope=admin", headers=headers)
            assert got.status == 403
        session = await world.session()
        body = {"text": "hi", "scopes": ["admin"], "scope": "admin"}
        got = await ask(world, token, "POST", f"{SESSIONS}/{session}/messages", body)
        assert got.status in (403, 422)


async def test_a_chat_token_that_mints_an_admin_token(tmp_path: Path) -> None:
    """6: 403; a token can only create subsets of itself, and what it makes goes with it."""
    async with running(tmp_path) as world:
        chat = await made(world, scopes=["chat"], agents=["main"], trust="known")
        for wanted in (
            {"scopes": ["admin"], "agents": ["main"], "trust": "known"},
            {"scopes": ["chat", "approve"], "agents": ["main"], "trust": "known"},
            {"scopes": ["chat"], "agents": ["main", "other"], "trust": "known"},
            {"scopes": ["chat"], "trust": "known"},
            {"scopes": ["chat"], "agents": ["main"], "trust": "owner"},
        ):
            got = await ask(world, chat, "POST", TOKENS, {"name": "more", **wanted})
            assert got.status == 403, wanted
        less = {"name": "less", "scopes": ["read"], "agents": ["main"], "trust": "known"}
        child = (await ask(world, chat, "POST", TOKENS, less)).json
        assert (await ask(world, child["token"], "GET", SESSIONS)).status == 200
        seen = (await ask(world, chat, "GET", TOKENS)).json["tokens"]
        assert [t["name"] for t in seen] == ["phone", "less"]
        await world.ask("DELETE", f"{TOKENS}/{seen[0]['id']}")
        assert (await ask(world, child["token"], "GET", SESSIONS)).status == 401


def test_changing_the_configuration_without_a_token(tmp_path: Path) -> None:
    """7: 401, and the file is as it was."""
    with Rig(tmp_path / "w") as rig:
        rig.start()
        assert rig.ready()
        before = {
            p: p.read_bytes() for p in (rig.root / "perdure.yaml", rig.private / "policy.yaml")
        }
        for method in ("POST", "PUT", "PATCH"):
            for path in (
                "/api/v1/admin/config",
                "/api/v1/config",
                "/api/v1/admin/reload",
                "/api/v1/agents/default",
            ):
                body = {"hooks": [{"on": "before_tool", "command": "/bin/evil"}]}
                with pytest.raises(Refused) as refused:
                    rig.call(method, path, body, Authorization="Bearer none")
                assert refused.value.status in (401, 429)
        assert before == {p: p.read_bytes() for p in before}


async def test_a_revoked_token_is_used_again(tmp_path: Path) -> None:
    """8: 401 at once, and its open streams are closed."""
    async with running(tmp_path) as world:
        session = await world.session()
        token = await made(world, scopes=["chat"])
        id_ = (await world.ask("GET", TOKENS)).json["tokens"][0]["id"]
        headers = {"Authorization": f"Bearer {token}"}
        async with world.events(session, headers=headers) as events:
            await world.ask("DELETE", f"{TOKENS}/{id_}")
            while await events.next() is not None:
                pass
        for method, path in (("GET", SESSIONS), ("POST", f"{SESSIONS}/{session}/stop")):
            assert (await ask(world, token, method, path, None)).status == 401


async def test_guessing_from_many_names_for_one_client(tmp_path: Path) -> None:
    """9: one bucket, locked out: headers that name other clients, and ::ffff: forms, change nothing."""
    async with running(tmp_path) as world:
        port = world.file.port
        statuses = []
        for n in range(GUESSES + 5):
            headers = {
                "Authorization": f"Bearer guess-{n}",
                "X-Forwarded-For": f"198.51.100.{n}",
                "Forwarded": f"for=198.51.100.{n}",
                "X-Real-IP": f"198.51.100.{n}",
                "CF-Connecting-IP": f"198.51.100.{n}",
            }
            url = (
                f"http://127.0.0.{1 + n % 3}:{port}{SESSIONS}"
                if n % 2
                else world.file.url + SESSIONS
            )
            local = (f"127.0.0.{1 + n % 7}", 0)
            connector = aiohttp.TCPConnector(local_addr=local)
            async with (
                aiohttp.ClientSession(connector=connector) as http,
                http.get(world.file.url + SESSIONS if n % 2 else url, headers=headers) as response,
            ):
                statuses.append(response.status)
        assert statuses == [401] * GUESSES + [429] * 5


def test_guessing_over_both_families(tmp_path: Path) -> None:
    """9: a server on :: sees an IPv4 client as ::ffff:…; both are one."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    from perdure.server.rates import Buckets, client_of

    bucket = Buckets(1, 1000.0)
    bucket.take(client_of("127.0.0.1"))
    assert bucket.wait(client_of("::ffff:127.0.0.1")) and bucket.wait(client_of("::1"))


@pytest.mark.parametrize(
    "id_",
    [
        "../../etc/passwd",
        "..%2f..%2fetc",
        "%2e%2e",
        "s_1%00",
        "/etc/passwd",
        "s_1/../s_2",
        "ѕ_01",  # Cyrillic
        "S_UPPER",
        "s" * 100,
        "s_1\\..",
        "s_1%0d%0a",
    ],
)
async def test_ids_that_are_paths(tmp_path: Path, id_: str) -> None:
    """20: refused before anything touches a file, in every place that an id can stand."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "other").write_text("")
    async with running(inside) as world:
        session = await world.session()
        for path in (
            f"{SESSIONS}/{id_}",
            f"{SESSIONS}/{id_}/events",
            f"{SESSIONS}/{session}/artifacts/{id_}",
            f"{SESSIONS}/{session}/approvals/{id_}",
            f"{SESSIONS}/{session}/checkpoints/{id_}/changes",
            f"{TOKENS}/{id_}",
            f"/api/v1/agents/{id_}",
        ):
            for method in ("GET", "DELETE", "POST"):
                from yarl import URL

                async with world.http.request(
                    method, URL(world.file.url + path, encoded=True)
                ) as response:
                    assert response.status in (400, 404, 405, 422), (method, path, response.status)
        for body in ({"agent": id_}, {"agent": f"../{id_}"}):
            got = await world.ask("POST", SESSIONS, body=body)
            assert got.status in (400, 404, 422)
    assert {p.name for p in tmp_path.iterdir()} == {"inside", "other"}
