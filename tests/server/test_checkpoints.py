"""Checkpoints over the API, on a fake runtime and on the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.checkpoints import Checkpoints
from perdure.kernel import events as e
from perdure.storage import SystemClock, TimeIds

from .test_real_runtime import new_session, real
from .world import World

API = "/api/v1"
module = pytest.mark.asyncio(loop_scope="module")


@module
async def test_they_are_listed_compared_and_restored(world: World) -> None:
    id_ = await world.session()
    base = f"{API}/sessions/{id_}/checkpoints"
    listed = await world.ask("GET", base)
    assert (listed.status, [c["id"] for c in listed.json["checkpoints"]]) == (200, ["c_1"])
    changes = await world.ask("GET", f"{base}/c_1/changes")
    assert changes.json["changes"][0]["action"] == "change"
    done = await world.ask("POST", f"{base}/c_1/restore")
    assert (done.status, done.json["undo"]) == (200, "c_2")


@module
async def test_what_cannot_be_is_a_problem(world: World) -> None:
    id_ = await world.session()
    base = f"{API}/sessions/{id_}/checkpoints"
    assert (await world.ask("GET", f"{API}/sessions/s_9/checkpoints")).status == 404
    assert (await world.ask("GET", f"{base}/c_9/changes")).status == 404
    assert (await world.ask("GET", f"{base}/..%2f..%2fx/changes")).status == 404
    assert (await world.ask("GET", f"{base}/c_1/restore")).status == 405
    turn = e.TurnStarted(turn=e.TurnId("t"), messages=(), limits=e.Limits())
    world.runtime.happens(id_, turn)
    refused = await world.ask("POST", f"{base}/c_1/restore")
    assert (refused.status, refused.json["code"]) == (409, "conflict")


def checkpoints(folder: Path) -> Checkpoints:
    return Checkpoints(folder / ".perdure" / "checkpoints", SystemClock(), TimeIds())


async def test_the_real_runtime_puts_a_working_folder_back(tmp_path: Path) -> None:
    async with real(tmp_path) as world:
        id_ = await new_session(world)
        base = f"{API}/sessions/{id_}/checkpoints"
        (tmp_path / "mine.txt").write_text("before")
        taken = checkpoints(tmp_path).take(e.SessionId(id_), tmp_path, turn=e.TurnId("t_0"), seq=1)
        got = await world.ask("POST", f"{API}/sessions/{id_}/messages?wait=30", body={"text": "hi"})
        assert got.json["reason"] == "done"
        (tmp_path / "mine.txt").write_text("after")

        seen = (await world.ask("GET", f"{base}/{taken.id}/changes")).json["changes"]
        assert {(c["action"], c["path"]) for c in seen} == {
            ("remove", "note.txt"),
            ("change", "mine.txt"),
        }
        done = await world.ask("POST", f"{base}/{taken.id}/restore")
        assert done.status == 200, done.raw
        assert (tmp_path / "mine.txt").read_text() == "before"
        assert not (tmp_path / "note.txt").exists()
        undone = await world.ask("POST", f"{base}/{done.json['undo']}/restore")
        assert undone.status == 200
        assert (tmp_path / "note.txt").read_text() == "hello\n"

        forked = (await world.ask("POST", f"{API}/sessions/{id_}/fork", body={"at": 2})).json["id"]
        theirs = await world.ask("GET", f"{API}/sessions/{forked}/checkpoints")
        assert [c["id"] for c in theirs.json["checkpoints"]] == [taken.id]
        assert (await world.ask("DELETE", f"{API}/sessions/{id_}")).status == 204
        assert not (tmp_path / ".perdure" / "checkpoints" / id_).exists()
        changes = await world.ask("GET", f"{API}/sessions/{forked}/checkpoints/{taken.id}/changes")
        assert changes.status == 200


async def test_nothing_is_restored_below_a_running_turn_of_any_session(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    async with real(tmp_path, mode="ask") as world:
        waiting = await new_session(world)
        taken = checkpoints(tmp_path).take(e.SessionId(waiting), inner, turn=e.TurnId("t_0"), seq=1)
        send = {"body": {"text": "hi"}}
        got = await world.ask("POST", f"{API}/sessions/{waiting}/messages?wait=30", **send)
        assert got.json["reason"] == "approval"
        path = f"{API}/sessions/{waiting}/checkpoints/{taken.id}/restore"
        refused = await world.ask("POST", path)
        assert refused.status == 409 and "middle of a turn" in refused.json["detail"]
        await world.ask("POST", f"{API}/sessions/{waiting}/stop")
        async with world.events(waiting) as events:
            while (event := await events.next()) is not None and event.type != "turn_ended":
                pass
        for _ in range(100):
            if (done := await world.ask("POST", path)).status == 200:
                break
        assert done.status == 200
