from __future__ import annotations

import hashlib

import pytest

from perdure.kernel.events import Limits, TurnId, TurnStarted

from .world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/api/v1"


async def test_a_session_is_created_shown_changed_and_deleted(world: World) -> None:
    made = await world.ask("POST", f"{API}/sessions", body={"agent": "main", "title": "Tidy"})
    assert made.status == 201
    id_ = made.json["id"]
    assert made.headers["Location"] == f"{API}/sessions/{id_}"
    assert made.json["title"] == "Tidy"

    shown = await world.ask("GET", f"{API}/sessions/{id_}")
    assert (shown.status, shown.json) == (200, made.json)

    changed = await world.ask("PATCH", f"{API}/sessions/{id_}", body={"model": "openai/gpt-5"})
    assert (changed.json["model"], changed.json["title"]) == ("openai/gpt-5", "Tidy")
    changed = await world.ask("PATCH", f"{API}/sessions/{id_}", body={"model": "", "title": "T"})
    assert (changed.json["model"], changed.json["title"]) == ("", "T")

    gone = await world.ask("DELETE", f"{API}/sessions/{id_}")
    assert (gone.status, gone.raw) == (204, b"")
    assert (await world.ask("GET", f"{API}/sessions/{id_}")).status == 404


async def test_a_session_may_be_created_with_no_body_at_all(world: World) -> None:
    assert (await world.ask("POST", f"{API}/sessions")).status == 201


async def test_sessions_are_listed_newest_first_page_by_page(world: World) -> None:
    ids = [await world.session() for _ in range(5)]
    seen: list[str] = []
    query = {"limit": "2"}
    while True:
        page = (await world.ask("GET", f"{API}/sessions", params=query)).json
        seen += [session["id"] for session in page["sessions"]]
        if page["before"] is None:
            break
        query["before"] = page["before"]
    assert seen == ids[::-1]


async def test_a_fork_is_a_new_session(world: World) -> None:
    id_ = await world.session()
    forked = await world.ask("POST", f"{API}/sessions/{id_}/fork", body={"at": 1})
    assert forked.status == 201
    assert forked.json["id"] != id_
    late = await world.ask("POST", f"{API}/sessions/{id_}/fork", body={"at": 99})
    assert (late.status, late.json["code"]) == (409, "conflict")


async def test_stopping_tells_whether_a_turn_was_running(world: World) -> None:
    id_ = await world.session()
    idle = await world.ask("POST", f"{API}/sessions/{id_}/stop")
    assert idle.json == {"stopped": False}
    world.runtime.happens(id_, TurnStarted(turn=TurnId("t1"), messages=(), limits=Limits()))
    running = await world.ask("POST", f"{API}/sessions/{id_}/stop", body={"reason": "enough"})
    assert running.json == {"stopped": True}


async def test_compaction_and_context(world: World) -> None:
    id_ = await world.session()
    asked = await world.ask("POST", f"{API}/sessions/{id_}/compact", body={"focus": "names"})
    assert asked.status == 202
    assert (await world.ask("GET", f"{API}/sessions/{id_}/context")).json == {"items": []}
    unknown = await world.ask("GET", f"{API}/sessions/{id_}/context", params={"request": "r_9"})
    assert unknown.status == 404


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, b"0123456789"),
        ({"offset": "4"}, b"456789"),
        ({"offset": "2", "limit": "3"}, b"234"),
        ({"offset": "8", "limit": "9"}, b"89"),
        ({"offset": "99"}, b""),
    ],
)
async def test_artifacts_are_read_in_part_or_whole(
    world: World, query: dict[str, str], expected: bytes
) -> None:
    id_ = await world.session()
    name = hashlib.sha256(b"0123456789").hexdigest() + ".txt"
    (world.runtime.folder / name).write_bytes(b"0123456789")
    got = await world.ask("GET", f"{API}/sessions/{id_}/artifacts/{name}", params=query)
    assert (got.status, got.raw) == (200, expected)
    assert got.headers["X-Artifact-Size"] == "10"


async def test_an_artifact_never_runs_in_a_browser(world: World) -> None:
    id_ = await world.session()
    name = "a" * 64 + ".html"
    (world.runtime.folder / name).write_text("<script>alert(1)</script>")
    got = await world.ask("GET", f"{API}/sessions/{id_}/artifacts/{name}")
    assert got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in got.headers["Content-Security-Policy"]


async def test_a_large_artifact_is_streamed_whole(world: World) -> None:
    id_ = await world.session()
    name, data = "b" * 64, bytes(range(256)) * 8_192
    (world.runtime.folder / name).write_bytes(data)
    got = await world.ask("GET", f"{API}/sessions/{id_}/artifacts/{name}")
    assert got.raw == data


async def test_an_unknown_artifact_is_not_found(world: World) -> None:
    id_ = await world.session()
    got = await world.ask("GET", f"{API}/sessions/{id_}/artifacts/{'c' * 64}.txt")
    assert got.status == 404


async def test_agents_with_broken_files_are_listed_with_their_error(world: World) -> None:
    listed = (await world.ask("GET", f"{API}/agents")).json["agents"]
    assert [agent["name"] for agent in listed] == ["main", "broken"]
    broken = await world.ask("GET", f"{API}/agents/broken")
    assert "did you mean `model`" in broken.json["error"]
    missing = await world.ask("GET", f"{API}/agents/nobody")
    assert (missing.status, missing.json["code"]) == (404, "not_found")


async def test_the_server_tells_how_it_is_and_reloads(world: World) -> None:
    status = (await world.ask("GET", f"{API}/admin/status")).json
    assert status["workspace"] == str(world.runtime.folder)
    report = (await world.ask("POST", f"{API}/admin/reload")).json
    assert report == {"agents": ["main"], "errors": ["agent.yaml:3: unknown key"]}
