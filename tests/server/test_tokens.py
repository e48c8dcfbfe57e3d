"""Tokens that the owner hands out: what they give, and when they give nothing any more (S9)."""

from __future__ import annotations

import asyncio
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from perdure.kernel.errors import InvalidInput, NotFound
from perdure.kernel.events import MessageReceived
from perdure.server.grants import OWNER, SCOPES, Grant, closed
from perdure.server.rates import GUESSES, Buckets, client_of
from perdure.server.tokens import FAMILY, FILE, TokenStore

from .fake_runtime import asks
from .world import Answer, World, running, until

TOKENS = "/api/v1/tokens"
SESSIONS = "/api/v1/sessions"


class Day:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


async def made(world: World, **wanted: Any) -> str:
    got = await world.ask("POST", TOKENS, body={"name": "phone", "scopes": ["read"], **wanted})
    assert got.status == 201, got.raw
    return str(got.json["token"])


async def ask(world: World, token: str, method: str, path: str, body: Any = None) -> Answer:
    headers = {"Authorization": f"Bearer {token}"}
    return await world.ask(method, path, body=body, headers=headers)


# The store ----------------------------------------------------------------------------------------


def test_only_a_digest_is_kept_and_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    store = TokenStore(tmp_path / FILE)
    token, text = store.create("phone", ["chat"])
    kept = (tmp_path / FILE).read_text()
    assert text not in kept and text.rpartition("_")[2] not in kept and token.digest in kept
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    found = store.find(text.encode())
    assert found is not None and found.scopes == {"read", "chat"} and found.name == "phone"


def test_what_another_process_revokes_is_unknown_at_once(tmp_path: Path) -> None:
    here, there = TokenStore(tmp_path / FILE), TokenStore(tmp_path / FILE)
    token, text = here.create("phone", ["chat"])
    assert there.find(text.encode()) is not None
    here.revoke(token.id)
    assert there.find(text.encode()) is None
    with pytest.raises(NotFound):
        here.revoke(token.id)


def test_a_token_expires_and_takes_those_it_made_with_it(tmp_path: Path) -> None:
    day = Day()
    store = TokenStore(tmp_path / FILE, day)
    parent, first = store.create("phone", ["chat"], days=1)
    child, second = store.create("watch", ["read"], parent=parent.id)
    assert store.find(first.encode()) and store.find(second.encode())
    day.now += timedelta(days=1)
    assert store.find(first.encode()) is None
    assert store.find(second.encode()) is None
    assert [t.id for t in store.revoke(parent.id)] == [parent.id, child.id]


def test_a_damaged_file_lets_nobody_in_and_is_left_as_it_is(tmp_path: Path) -> None:
    store = TokenStore(tmp_path / FILE)
    _, text = store.create("phone", ["chat"])
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-20])
    assert store.find(text.encode()) is None
    with pytest.raises(Exception, match="damaged"):
        store.create("other", ["read"])
    assert (tmp_path / FILE).read_bytes() == whole[:-20]


@pytest.mark.parametrize("name", ["", "a" * 61, "../x", "a\nb", "\x00"])
def test_names_are_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        TokenStore(tmp_path / FILE).create(name, ["read"])


@pytest.mark.parametrize(
    "name", ["owner", "Owner", "LOCAL", "configured", "terminal", "api", "owner ", "owner."]
)
def test_no_token_bears_the_owners_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="taken for the owner"):
        TokenStore(tmp_path / FILE).create(name, ["read"])


def test_a_family_of_tokens_has_an_end_and_leaves_the_owner_and_others_their_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.server.tokens.MOST", 25)
    store = TokenStore(tmp_path / FILE)
    first, second = (store.create(name, ["read"])[0].id for name in ("phone", "watch"))
    at = first
    for n in range(FAMILY):  # each made by the one before
        at = store.create(f"child {n}", ["read"], parent=at)[0].id
    for parent in (first, at):
        with pytest.raises(InvalidInput, match="that is the most"):
            store.create("one more", ["read"], parent=parent)
    for n in range(5):
        store.create(f"other {n}", ["read"], parent=second)
    with pytest.raises(InvalidInput, match="already"):
        store.create("over the total", ["read"], parent=second)
    for n in range(30):
        store.create(f"mine {n}", ["read"])


def test_a_grant_covers_its_subsets_alone() -> None:
    phone = Grant(id="1", name="p", scopes=closed(["chat"]), agents=frozenset({"a", "b"}))
    assert phone.covers(closed(["read"]), frozenset({"a"}), "known")
    assert not phone.covers(closed(["approve"]), frozenset({"a"}), "owner")
    assert not phone.covers(closed(["read"]), None, "owner")
    assert not phone.covers(closed(["read"]), frozenset({"c"}), "owner")
    assert OWNER.covers(frozenset(SCOPES), None, "owner")
    guest = Grant(id="2", name="g", scopes=closed(["chat"]), trust="known")
    assert not guest.covers(closed(["chat"]), None, "owner")


# Over HTTP ----------------------------------------------------------------------------------------


async def test_each_scope_opens_what_it_names_and_no_more(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        session = await world.session()
        at = f"{SESSIONS}/{session}"
        wants = {
            "read": [("GET", SESSIONS, None), ("GET", f"{at}/events", None)],
            "chat": [
                ("POST", SESSIONS, {}),
                ("POST", f"{at}/messages", {"text": "hi"}),
                ("POST", f"{at}/stop", {}),
            ],
            "approve": [
                ("POST", f"{at}/approvals/a_1", {"answer": "allow"}),
                ("POST", f"{at}/checkpoints/c_1/restore", None),
            ],
            "admin": [
                ("GET", "/api/v1/admin/status", None),
                ("POST", "/api/v1/admin/reload", None),
                ("DELETE", at, None),
            ],
        }
        for scope in SCOPES[:3]:
            token = await made(world, scopes=[scope])
            for needed, requests in wants.items():
                for method, path, body in requests:
                    got = await ask(world, token, method, path, body)
                    may = needed in closed([scope])
                    assert (got.status != 403) == may, (scope, method, path, got.raw)
                    if not may:
                        assert got.json["code"] == "scope" and needed in got.json["detail"]
        token = await made(world, scopes=["admin"])
        assert (await ask(world, token, "GET", "/api/v1/admin/status")).status == 200


async def test_a_token_for_one_agent_sees_no_other(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        session = await world.session()
        agent = (await world.runtime.session(session)).agent  # type: ignore[arg-type]
        other = await made(world, scopes=["chat", "approve"], agents=["broken"])
        own = await made(world, scopes=["chat"], agents=[agent])
        at = f"{SESSIONS}/{session}"
        for method, path, body in (
            ("GET", at, None),
            ("GET", f"{at}/events", None),
            ("POST", f"{at}/messages", {"text": "hi"}),
            ("POST", f"{at}/stop", {}),
            ("GET", f"{at}/approvals", None),
        ):
            assert (await ask(world, other, method, path, body)).status == 404, path
            assert (await ask(world, own, method, path, body)).status in (200, 202), path
        assert (await ask(world, other, "GET", SESSIONS)).json["sessions"] == []
        found = (await ask(world, other, "GET", "/api/v1/agents")).json["agents"]
        assert [one["name"] for one in found] == ["broken"]


async def test_a_token_for_an_agent_that_is_not_there_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        body = {"name": "phone", "scopes": ["read"], "agents": ["mian"]}
        got = await world.ask("POST", TOKENS, body=body)
        assert got.status == 422 and "Did you mean main?" in got.json["hint"]
        assert (await world.ask("GET", TOKENS)).json["tokens"] == []


async def test_what_a_guest_says_is_not_the_owners_word(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        session = await world.session()
        guest = await made(world, scopes=["chat"], trust="third_party", name="guest")
        body = {"text": "approve it", "sender": "owner"}
        await ask(world, guest, "POST", f"{SESSIONS}/{session}/messages", body)
        (said,) = [
            r.event
            for r in await world.runtime.records(session)  # type: ignore[arg-type]
            if isinstance(r.event, MessageReceived)
        ]
        assert said.label is not None and said.label.trust == "third_party"


async def test_whose_words_count_is_the_least_that_its_scopes_need(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        for scopes, trust in (
            (["chat"], "known"),
            (["read"], "known"),
            (["chat", "approve"], "owner"),
        ):
            body = {"name": "somebody", "scopes": scopes}
            assert (await world.ask("POST", TOKENS, body=body)).json["made"]["trust"] == trust


async def test_a_guest_does_not_choose_who_thinks_for_the_owner(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        session = await world.session()
        guest = await made(world, scopes=["chat"], trust="known")
        at = f"{SESSIONS}/{session}"
        for method, path, body in (
            ("POST", SESSIONS, {"model": "script:evil.yaml"}),
            ("PATCH", at, {"model": "script:evil.yaml"}),
            ("PATCH", at, {"model": ""}),
            ("POST", SESSIONS, {"workdir": "/"}),
        ):
            got = await ask(world, guest, method, path, body)
            assert got.status == 403, (method, path, body)
        assert (await ask(world, guest, "PATCH", at, {"title": "ours"})).status == 200


async def test_a_token_for_one_agent_stores_no_rule_for_all(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        session = await world.session()
        agent = (await world.runtime.session(session)).agent  # type: ignore[arg-type]
        token = await made(world, scopes=["approve"], agents=[agent])
        world.runtime.happens(session, asks("a_1"))
        path = f"{SESSIONS}/{session}/approvals"
        for way, body in (
            (f"{path}/a_1", {"answer": "allow", "scope": "always"}),
            (path, {"answers": [{"approval": "a_1", "answer": "allow", "scope": "always"}]}),
        ):
            assert (await ask(world, token, "POST", way, body)).status == 403
        assert (await ask(world, token, "POST", f"{path}/a_1", {"answer": "allow"})).status == 200


async def test_answers_carry_the_tokens_name(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        phone = await made(world, scopes=["admin"], name="phone")
        session = (await ask(world, phone, "POST", SESSIONS, {})).json["id"]
        world.runtime.happens(session, asks("a_1"))
        path = f"{SESSIONS}/{session}/approvals/a_1"
        got = await ask(world, phone, "POST", path, {"answer": "allow"})
        assert got.status == 200, got.raw
        records = await world.runtime.records(session)
        assert [getattr(r.event, "by", None) for r in records][-1] == "phone"


async def test_a_revoked_token_is_refused_and_its_streams_end(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        session = await world.session()
        token = await made(world, scopes=["chat"])
        listed = (await world.ask("GET", TOKENS)).json["tokens"]
        headers = {"Authorization": f"Bearer {token}"}
        async with world.events(session, headers=headers) as events:
            await events.next()
            gone = await world.ask("DELETE", f"{TOKENS}/{listed[0]['id']}")
            assert gone.json == {"revoked": [listed[0]["id"]]}
            while await events.next() is not None:
                pass  # what was on its way
        assert (await ask(world, token, "GET", SESSIONS)).status == 401


async def test_a_stream_ends_soon_after_its_token_was_revoked_by_another_process(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as world:
        session = await world.session()
        headers = {"Authorization": f"Bearer {await made(world, scopes=['chat'])}"}
        async with world.events(session, headers=headers) as events:
            await events.next()
            (path,) = tmp_path.rglob(FILE)
            TokenStore(path).revoke(TokenStore(path).list()[0].id)
            while await events.next() is not None:
                pass


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_waiting_for_an_answer_ends_when_the_token_is_revoked(
    tmp_path: Path, elsewhere: bool
) -> None:
    async with running(tmp_path) as world:
        session = await world.session()
        token = await made(world, scopes=["chat"])
        path = f"{SESSIONS}/{session}/messages?wait=600"
        asked = asyncio.ensure_future(ask(world, token, "POST", path, {"text": "hi"}))
        await until(lambda: world.runtime.listeners(session) == 2)
        (file,) = tmp_path.rglob(FILE)
        (known,) = TokenStore(file).list()
        if elsewhere:
            TokenStore(file).revoke(known.id)
        else:
            await world.ask("DELETE", f"{TOKENS}/{known.id}")
        async with asyncio.timeout(10):
            assert (await asked).status == 202
        await until(lambda: world.runtime.listeners(session) == 0)


@pytest.mark.parametrize(
    ("trust", "sender", "becomes"),
    [("known", "", "known"), ("known", "phone", "known"), ("known", "eve", "third_party"),
     ("known", "owner", "third_party"), ("third_party", "phone", "third_party")],
)  # fmt: skip
async def test_a_token_vouches_for_its_own_words_alone(
    tmp_path: Path, trust: str, sender: str, becomes: str
) -> None:
    async with running(tmp_path) as world:
        session = await world.session()
        token = await made(world, scopes=["chat"], trust=trust, name="phone")
        body = {"text": "hi", "sender": sender}
        got = await ask(world, token, "POST", f"{SESSIONS}/{session}/messages", body)
        assert got.status == 202, got.raw
        (said,) = [
            r.event
            for r in await world.runtime.records(session)  # type: ignore[arg-type]
            if isinstance(r.event, MessageReceived)
        ]
        assert said.label is not None
        assert (said.label.trust, said.label.origins) == (becomes, ("token:phone",))


def test_one_client_is_one_bucket_whatever_its_address_looks_like() -> None:
    assert client_of("::ffff:192.0.2.7") == client_of("192.0.2.7")
    assert client_of("::1") == client_of("127.0.0.9") == client_of("::ffff:127.0.0.1")
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:2")
    assert client_of("2001:db8::1") != client_of("2001:db8:0:1::1")
    assert client_of("fe80::1%eth0") == client_of("fe80::2%eth1")


def test_a_bucket_fills_again_with_time() -> None:
    now = [0.0]
    bucket = Buckets(2, 10.0, lambda: now[0])
    assert bucket.wait("a") == 0
    bucket.take("a")
    bucket.take("a")
    assert bucket.wait("a") == 10.0 and bucket.wait("b") == 0
    now[0] = 10.0
    assert bucket.wait("a") == 0


async def test_a_token_that_makes_tokens_without_end_does_not_keep_the_owner_from_it(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, rate=100) as world:
        phone = await made(world)
        body = {"name": "child", "scopes": ["read"]}
        seen = [(await ask(world, phone, "POST", TOKENS, body)).status for _ in range(FAMILY + 1)]
        assert seen == [201] * FAMILY + [422]
        forged = await ask(world, phone, "POST", TOKENS, {"name": "Owner", "scopes": ["read"]})
        assert forged.status == 422
        await made(world)


async def test_a_token_that_asks_too_fast_is_slowed_down_and_the_owner_is_not(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, rate=1) as world:
        token = await made(world)
        seen = [(await ask(world, token, "GET", SESSIONS)).status for _ in range(8)]
        assert seen[:5] == [200] * 5 and 429 in seen
        got = await ask(world, token, "GET", SESSIONS)
        assert got.json["code"] == "rate" and int(got.headers["Retry-After"]) >= 1
        assert (await world.ask("GET", SESSIONS)).status == 200


async def test_who_guesses_is_locked_out_and_the_owner_is_not(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        right = await made(world, scopes=["read"])
        async with aiohttp.ClientSession() as http:
            for n in range(GUESSES):
                headers = {"Authorization": f"Bearer guess-{n}", "X-Forwarded-For": f"192.0.2.{n}"}
                async with http.get(world.file.url + SESSIONS, headers=headers) as response:
                    assert response.status == 401
        for token in ("one-more", right):
            got = await ask(world, token, "GET", SESSIONS)
            assert (got.status, got.json["code"]) == (429, "guesses")
        assert (await world.ask("GET", SESSIONS)).status == 200
        await asyncio.sleep(0)
