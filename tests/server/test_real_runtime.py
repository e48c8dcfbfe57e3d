"""The same API over the real runtime: nothing of it rests on the fake."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from perdure.agents import scaffold
from perdure.kernel.events import SessionId
from perdure.runtime import open_runtime
from perdure.runtime.resuming import Resuming

from .world import World, serving

API = "/api/v1"
SCRIPT = """\
replies:
  - calls:
      - tool: write
        arguments: {path: note.txt, content: "hello\\n"}
  - text: It is written.
"""


@asynccontextmanager
async def real(folder: Path, mode: str = "auto") -> AsyncIterator[World]:
    if not (folder / "perdure.yaml").exists():
        (folder / "script.yaml").write_text(SCRIPT)
        scaffold(folder, model=f"script:{folder / 'script.yaml'}")
        (folder / ".perdure" / "policy.yaml").write_text(f"mode: {mode}\n")
    runtime: Any = await open_runtime(folder)
    async with serving(runtime, folder / ".perdure" / "run") as (file, task):
        headers = {"Authorization": f"Bearer {file.token}"}
        async with aiohttp.ClientSession(headers=headers) as http:
            yield World(runtime, file, http, task)


async def new_session(world: World) -> str:
    made = await world.ask("POST", f"{API}/sessions", body={})
    assert made.status == 201, made.raw
    return str(made.json["id"])


@pytest.mark.parametrize(
    ("wanted", "sender", "goes_on"),
    [
        ({"scopes": ["chat"], "trust": "third_party"}, "", False),
        ({"scopes": ["chat"], "trust": "known"}, "owner", False),
        ({"scopes": ["chat", "approve"], "trust": "known"}, "eve", False),
        ({"scopes": ["chat", "approve"], "trust": "known"}, "", True),
        ({"scopes": ["chat"], "trust": "owner"}, "", True),
        ({"scopes": ["chat"], "trust": "owner"}, "eve", False),
    ],
)
async def test_whose_message_lets_a_held_session_go_on(
    tmp_path: Path, wanted: dict[str, Any], sender: str, goes_on: bool
) -> None:
    """Who may not call `resume` for it must not get the same by saying something."""
    async with real(tmp_path) as world:
        (tmp_path / "script.yaml").write_text("replies: [{text: slow, wait: 60}]\n")
        id_ = await new_session(world)
        await world.ask("POST", f"{API}/sessions/{id_}/messages", body={"text": "pay the rent"})
    Resuming(tmp_path / ".perdure" / "resuming").restored(SessionId(id_))
    (tmp_path / "script.yaml").write_text("replies: [{text: paid}, {text: hello}]\n")
    async with real(tmp_path) as world:
        body = {"name": "guest", **wanted}
        token = (await world.ask("POST", f"{API}/tokens", body=body)).json["token"]
        got = await world.ask(
            "POST",
            f"{API}/sessions/{id_}/messages?wait=30",
            body={"text": "hi", "sender": sender},
            headers={"Authorization": f"Bearer {token}"},
        )
        status = (await world.ask("GET", f"{API}/sessions/{id_}")).json["status"]
        if goes_on:
            assert (got.status, got.json["reason"], status) == (200, "done", "idle"), got.raw
        else:
            assert (got.status, status) == (202, "held"), got.raw
            assert "comes from a backup" in got.json["held"]


async def test_a_message_is_answered_and_its_whole_history_streamed(tmp_path: Path) -> None:
    async with real(tmp_path) as world:
        id_ = await new_session(world)
        got = await world.ask("POST", f"{API}/sessions/{id_}/messages?wait=30", body={"text": "hi"})
        assert (got.status, got.json["reason"]) == (200, "done"), got.raw
        assert got.json["text"] == "It is written."
        assert (tmp_path / "note.txt").read_text() == "hello\n"

        last = (await world.ask("GET", f"{API}/sessions/{id_}")).json["seq"]
        async with world.events(id_) as events:
            assert await events.ids(last) == list(range(1, last + 1))
        async with world.events(id_, headers={"Last-Event-ID": "4"}) as events:
            assert await events.ids(last - 4) == list(range(5, last + 1))
        page = (await world.ask("GET", f"{API}/sessions/{id_}/events")).json
        assert page["events"][-1]["event"]["type"] == "turn_ended"
        assert (await world.ask("GET", f"{API}/sessions/{id_}/context")).status == 200
        listed = (await world.ask("GET", f"{API}/sessions")).json["sessions"]
        assert [one["id"] for one in listed] == [id_]


async def test_a_watcher_sees_a_turn_live_to_its_end(tmp_path: Path) -> None:
    async with real(tmp_path) as world:
        id_ = await new_session(world)
        async with world.events(id_) as events:
            assert await events.ids(1) == [1]
            await world.ask("POST", f"{API}/sessions/{id_}/messages", body={"text": "hi"})
            ids, types = [], []
            while not types or types[-1] != "turn_ended":
                event = await events.next()
                assert event is not None
                types.append(event.type)
                ids += [int(event.id)] if event.id else []
            assert ids == list(range(2, ids[-1] + 1))
            assert "delta" in types


async def test_an_approval_is_asked_for_and_given_over_the_api(tmp_path: Path) -> None:
    async with real(tmp_path, mode="ask") as world:
        id_ = await new_session(world)
        send = {"body": {"text": "hi"}, "headers": {"Idempotency-Key": "k"}}
        got = await world.ask("POST", f"{API}/sessions/{id_}/messages?wait=30", **send)
        assert got.json["reason"] == "approval"
        approval = got.json["approvals"][0]["request"]["approval"]
    async with real(tmp_path) as world:  # it outlives a restart
        path = f"{API}/sessions/{id_}/approvals/{approval}"
        assert (await world.ask("POST", path, body={"answer": "allow"})).status == 200
        assert (await world.ask("POST", path, body={"answer": "deny"})).status == 409
        again = await world.ask("POST", f"{API}/sessions/{id_}/messages?wait=30", **send)
        assert (again.json["reason"], again.json["text"]) == ("done", "It is written.")


async def test_forks_artifacts_and_deletion(tmp_path: Path) -> None:
    async with real(tmp_path) as world:
        id_ = await new_session(world)
        png = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
        data = base64.b64encode(png).decode()
        parts = [{"type": "image", "media_type": "image/png", "data": data}]
        got = await world.ask(
            "POST", f"{API}/sessions/{id_}/messages?wait=30", body={"parts": parts}
        )
        assert got.status == 200, got.raw
        records = (await world.ask("GET", f"{API}/sessions/{id_}/events")).json["events"]
        [image] = next(
            r["event"]["parts"] for r in records if r["event"]["type"] == "message_received"
        )
        stored = await world.ask("GET", f"{API}/sessions/{id_}/artifacts/{image['artifact']}")
        assert (stored.raw, stored.headers["Content-Type"]) == (png, "image/png")
        forked = await world.ask("POST", f"{API}/sessions/{id_}/fork", body={"at": 2})
        assert (forked.status, forked.json["parent"]) == (201, id_)
        async with world.events(id_) as events:
            await events.take(len(records))
            assert (await world.ask("DELETE", f"{API}/sessions/{id_}")).status == 204
            assert await events.next() is None
        assert (await world.ask("GET", f"{API}/sessions/{id_}")).status == 404
        assert (await world.ask("GET", f"{API}/sessions/{forked.json['id']}")).status == 200


@pytest.mark.parametrize(
    "path", ["", "/events", "/context", "/approvals", f"/artifacts/{'a' * 64}.txt"]
)
async def test_what_is_not_there_is_not_found(tmp_path: Path, path: str) -> None:
    async with real(tmp_path) as world:
        got = await world.ask("GET", f"{API}/sessions/s_nobody{path}")
        assert (got.status, got.json["code"]) == (404, "not_found")
        accept = {"Accept": "text/event-stream"}
        got = await world.ask("GET", f"{API}/sessions/s_nobody/events", headers=accept)
        assert got.status == 404


async def test_a_hook_of_the_workspace_stands_before_the_tools(tmp_path: Path) -> None:
    async with real(tmp_path) as world:
        (tmp_path / ".perdure" / "hooks" / "guard.py").write_text(
            "from perdure.hooks import block, hook\n"
            "@hook('before_tool', tools=('write',), fail='closed')\n"
            "async def no(event):\n"
            "    return block('no writing on Sundays')\n"
        )
        await world.ask("POST", f"{API}/admin/reload")
        id_ = await new_session(world)
        await world.ask("POST", f"{API}/sessions/{id_}/messages?wait=30", body={"text": "hi"})
        records = (await world.ask("GET", f"{API}/sessions/{id_}/events")).json["events"]
        [act] = [r["event"] for r in records if r["event"]["type"] == "hook_acted"]
        assert (act["hook"], act["action"]) == ("guard.py:no", "blocked")
        assert not (tmp_path / "note.txt").exists()
        [done] = [r["event"] for r in records if r["event"]["type"] == "tool_finished"]
        assert "Sundays" in done["result"]["parts"][0]["text"]


async def test_shutting_down_in_the_middle_of_a_turn_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "script.yaml").write_text(
        "replies:\n"
        "  - calls:\n"
        "      - tool: bash\n"
        "        arguments: {command: 'sleep 1; echo slept >> log'}\n"
        "  - text: Good morning.\n"
    )
    scaffold(tmp_path, model=f"script:{tmp_path / 'script.yaml'}")
    (tmp_path / ".perdure" / "policy.yaml").write_text("mode: auto\n")
    send = {"body": {"text": "sleep"}, "headers": {"Idempotency-Key": "k"}}
    async with real(tmp_path) as world:
        id_ = await new_session(world)
        async with world.events(id_) as events:
            await world.ask("POST", f"{API}/sessions/{id_}/messages", **send)
            while (event := await events.next()) is not None and event.type != "tool_started":
                pass
            await world.ask("POST", f"{API}/admin/shutdown")
            async with asyncio.timeout(2):
                await events.rest()
        async with asyncio.timeout(5):
            await world.task
    async with real(tmp_path) as world:
        got = await world.ask("POST", f"{API}/sessions/{id_}/messages?wait=30", **send)
        assert (got.json["reason"], got.json["text"]) == ("done", "Good morning.")
    assert (tmp_path / "log").read_text() == "slept\n"


@pytest.mark.parametrize("mode", ["dangerous", "restrict"])
async def test_the_mode_of_the_policy_is_shown(tmp_path: Path, mode: str) -> None:
    async with real(tmp_path, mode) as world:
        id_ = await new_session(world)
        assert (await world.ask("GET", f"{API}/sessions/{id_}")).json["mode"] == mode
        (agent,) = (await world.ask("GET", f"{API}/agents")).json["agents"]
        assert agent["mode"] == mode
        dangerous = world.runtime.status().dangerous
        assert dangerous == ((agent["name"],) if mode == "dangerous" else ())
        (tmp_path / ".perdure" / "policy.yaml").write_text("mode: nonsense\n")
        assert (await world.ask("GET", f"{API}/sessions/{id_}")).json["mode"] == "broken"
