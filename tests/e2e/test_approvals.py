"""A question through the real server and the real terminal: asked, answered, expired."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from perdure.cli.place import Place
from perdure.cli.server_process import look
from perdure.kernel.decide import UNANSWERED
from perdure.runtime import open_runtime
from perdure.storage import SystemClock
from tests.attacks.test_approvals import API, Door, House, request_of
from tests.cli.conftest import wait_for
from tests.cli.tmux import needs_tmux, terminal
from tests.server.world import World, serving


class Later(SystemClock):
    """The system's clock, some time later."""

    def __init__(self, by: timedelta) -> None:
        self.by = by

    def now(self) -> datetime:
        return super().now() + self.by


async def test_a_question_expires_while_the_server_is_away_and_the_turn_goes_on(
    tmp_path: Path,
) -> None:
    house = House(tmp_path, "touch ran")
    (house.root / ".perdure" / "policy.yaml").write_text("mode: ask\nexpire: 12h\n")
    async with house.open() as door:
        session = await door.session()
        asked = request_of(await door.says(session, key="1"))
        left = datetime.fromisoformat(asked["expires"]) - SystemClock().now()
        assert timedelta(hours=11, minutes=59) < left <= timedelta(hours=12)
    runtime: Any = await open_runtime(house.root, clock=Later(timedelta(hours=13)))
    async with serving(runtime, house.root / ".perdure" / "run") as (file, task):
        headers = {"Authorization": f"Bearer {file.token}"}
        async with aiohttp.ClientSession(headers=headers) as http:
            door = Door(World(runtime, file, http, task), house.work)
            assert (await door.says(session, key="1"))["reason"] == "done"
            late = await door.answers(session, asked, answer="allow")
            assert (late.status, late.json["code"]) == (409, "conflict")
            (finished,) = await door.events(session, "tool_finished")
            assert finished["result"]["status"] == "denied"
            assert finished["result"]["parts"][0]["text"] == UNANSWERED
    assert not (house.work / "ran").exists()


async def test_questions_of_one_reply_come_together_and_are_answered_at_once(
    tmp_path: Path,
) -> None:
    house = House(tmp_path, ("touch one", "touch two", "touch three"))
    async with house.open() as door:
        session = await door.session()
        told = await door.says(session, key="1")
        waiting = [one["request"] for one in told["approvals"]]
        assert [w["arguments"]["command"] for w in waiting] == [
            "touch one",
            "touch two",
            "touch three",
        ]
        answers = [{"approval": w["approval"], "answer": "allow"} for w in waiting]
        answers[1]["answer"] = "deny"
        path = f"{API}/sessions/{session}/approvals"
        assert (await door.world.ask("POST", path, body={"answers": answers})).status == 200
        assert (await door.says(session, key="1"))["reason"] == "done"
    assert {p.name for p in house.work.iterdir()} == {"one", "three"}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path, ("touch one", "touch two"), "touch three")
    yield made
    place = Place(root=made.root)
    found = look(place)
    if found.file is not None and found.alive:
        os.kill(found.file.pid, signal.SIGTERM)
        wait_for(lambda: not place.server_file.exists(), "the end of the server")


@needs_tmux
def test_run_asks_in_place_and_approvals_answers_from_elsewhere(house: House) -> None:
    with terminal(["run", "go"], cwd=house.work, rows=50, HOME=str(house.root)) as it:
        screen = it.sees("Allow these 2 (bash, bash)?")
        assert "? bash touch one" in screen and "it runs a command" in screen
        it.type("y", "Enter")
        it.sees("It was run.")
        it.sees("EXIT 0")
    assert {p.name for p in house.work.iterdir()} == {"one", "two"}
    with terminal(["run", "-s", "last", "go on"], cwd=house.work, HOME=str(house.root)) as it:
        it.sees("Allow bash?")
        elsewhere = terminal(["approvals", "all", "allow"], cwd=house.work, HOME=str(house.root))
        with elsewhere as other:
            other.sees("Allowed: bash.")
        it.type("n", "Enter")
        assert "is no longer open" in it.sees("EXIT 0")
    assert (house.work / "three").exists()
