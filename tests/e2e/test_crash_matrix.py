"""kill -9 at any instant: the same story, told to its end, with every outside effect as it should be.

One scripted conversation with reads, writes, shell commands that may run only once, a long-running
command, a background process, an approval, a delivery, a compaction, a steering and a queued message, and
a rewind of its files. It is killed at every disk operation
that a run makes, and at random instants; each time it is started again and driven on as a client would,
and then held against what the outside saw.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .rig import Gone, Refused, Rig

LONG = (
    "echo begun >> effects; for i in 1 2 3 4; do echo line $i; sleep 0.1; done; "
    "echo ended >> effects"
)
SCRIPT = r"""
summary: The owner asked for several things, and they were done.
replies:
- text: First I look.
  calls:
  - {tool: read, arguments: {path: perdure.yaml}}
  - {tool: read, arguments: {path: script.yaml}}
- calls:
  - {tool: write, arguments: {path: made.txt, content: "made\n"}}
  - {tool: edit, arguments: {path: list.txt, old_string: "one\n", new_string: "one\ntwo\n"}}
  - {tool: bash, arguments: {command: "echo first >> effects"}}
- calls:
  - {tool: process, arguments: {action: start, name: worker, command: "%WORKER%"}}
- calls:
  - {tool: process, arguments: {action: wait, id: worker, seconds: 30}}
- text: Now something long.
  calls:
  - {tool: bash, arguments: {command: "%LONG%"}}
- calls:
  - {tool: bash, arguments: {command: "echo approved >> effects # ask"}}
- text: The first message is answered.
- text: The second message is answered.
- calls:
  - {tool: bash, arguments: {command: "echo last >> effects"}}
- text: The third message is answered.
- text: Spare.
- text: Spare.
""".replace("%LONG%", LONG).replace("%WORKER%", "echo worker >> effects; sleep 0.2; echo worked")
POLICY = """\
mode: ask
allow:
- {tool: read}
- {tool: write}
- {tool: edit}
- {tool: bash, exactly: "echo first >> effects"}
- {tool: process}
- {tool: bash, exactly: "echo last >> effects"}
- {tool: bash, exactly: "%LONG%"}
""".replace("%LONG%", LONG)
EFFECTS = ["first", "worker", "begun", "ended", "approved", "last"]
CHANNELS = "outbox:\n  phone: {command: 'cat >> sent; echo got it'}\n"


class Story(Rig):
    """The client's side: everything is sent with a key, and sent again when no answer came."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, SCRIPT, POLICY)
        (root / "list.txt").write_text("one\nthree\n")
        (root / ".perdureignore").write_text("effects\nsent\n")  # no rewind undoes what happened
        with (root / "perdure.yaml").open("a") as file:
            file.write(CHANNELS)
        self.session = ""

    def tell(self) -> None:
        self.session = self.insist(lambda: self.call("POST", "/api/v1/sessions", {}))["id"]
        self.send("m1", "Do the first things.", deliver="phone")
        self.pump(lambda: "begun" in self.effects())
        self.send("m2", "And mind this.", mode="steer")
        self.send("m3", "Later, this too.", mode="queue")
        self.pump(lambda: self.ended() >= 1)
        self.insist(lambda: self.call("POST", f"/api/v1/sessions/{self.session}/compact", {}))
        self.pump(lambda: self.ended() >= 2)
        self.pump(self.at_rest)
        assert (self.root / "made.txt").read_text() == "made\n"
        assert (self.root / "list.txt").read_text() == "one\ntwo\nthree\n"
        self.rewind()

    def rewind(self) -> None:
        """The files as they were before the first turn."""
        base = f"/api/v1/sessions/{self.session}/checkpoints"
        first = self.insist(lambda: self.call("GET", base))["checkpoints"][-1]["id"]
        self.insist(lambda: self.call("POST", f"{base}/{first}/restore"))

    def send(self, key: str, text: str, mode: str = "steer", **more: str) -> None:
        path = f"/api/v1/sessions/{self.session}/messages"
        body = {"text": text, "mode": mode, **more}
        self.insist(lambda: self.call("POST", path, body, Idempotency_Key=key))

    def pump(self, done: Any) -> None:
        """Answer approvals and keep the server up until something is so."""

        def step() -> bool:
            if not done():
                self.insist(self.approve)
            return bool(done())

        self.until("the story to go on", step)

    def approve(self) -> None:
        if self.call("GET", f"/api/v1/sessions/{self.session}")["status"] == "held":
            # Killed twice before it could go on: the owner is told to let it.
            self.call("POST", f"/api/v1/sessions/{self.session}/resume")
        base = f"/api/v1/sessions/{self.session}/approvals"
        found = self.call("GET", base)
        for item in found["approvals"] if isinstance(found, dict) else found:
            approval = item["request"]["approval"]
            try:
                self.call("POST", f"{base}/{approval}", {"answer": "allow"})
            except Refused as refused:  # the answer that was cut off had arrived
                assert refused.status in (404, 409), refused

    def effects(self) -> list[str]:
        file = self.root / "effects"
        return file.read_text().split() if file.exists() else []

    def ended(self) -> int:
        return len(self.events(self.session, "turn_ended"))

    def at_rest(self) -> bool:
        view = self.insist(lambda: self.call("GET", f"/api/v1/sessions/{self.session}"))
        return bool(view["status"] == "idle")

    # What must be so, however often it was killed ------------------------------------------------------

    def check(self) -> None:
        events = self.events(self.session)
        assert [r["seq"] for r in self.records(self.session)] == list(range(1, len(events) + 1))

        # Every message once, in the order they were sent.
        received = [e for e in events if e["type"] == "message_received"]
        assert [e["key"] for e in received] == ["m1", "m2", "m3"]
        taken = [
            m
            for e in events
            if e["type"] in ("turn_started", "messages_taken")
            for m in e["messages"]
        ]
        assert taken == [e["message"] for e in received]
        ends = [e["reason"] for e in events if e["type"] == "turn_ended"]
        assert ends == ["done"] * len(ends) and len(ends) in (2, 3)
        said = [
            part["text"]
            for e in events
            if e["type"] == "model_responded" and not any(p["part"] == "call" for p in e["parts"])
            for part in e["parts"]
        ]
        assert said == [
            "The first message is answered.",
            "The second message is answered.",
            "The third message is answered.",
        ] or said == ["The first message is answered.", "The second message is answered."], said

        # Every call one result, and the outside saw each effect once.
        calls = [
            p["id"]
            for e in events
            if e["type"] == "model_responded"
            for p in e["parts"]
            if p["part"] == "call"
        ]
        finished = Counter(e["call"] for e in events if e["type"] == "tool_finished")
        assert finished == Counter(calls)
        statuses = {
            e["call"]: e["result"].get("status", "ok")
            for e in events
            if e["type"] == "tool_finished"
        }
        assert set(statuses.values()) == {"ok"}, statuses
        effects = Counter(self.effects())
        assert all(n == 1 for n in effects.values()), effects
        assert set(EFFECTS[:5]) <= set(effects)

        # The first turn's answer was handed over once, with evidence.
        letters = (self.root / "sent").read_text()
        assert letters.count("The first message is answered.") == 1, letters
        (arrived,) = [e for e in events if e["type"] == "delivery_ended"]
        assert (arrived["outcome"], arrived["receipt"]) == ("delivered", "got it")

        # The rewind was done, and the model will hear of it.
        assert not (self.root / "made.txt").exists()
        assert (self.root / "list.txt").read_text() == "one\nthree\n"
        assert any("made.txt" in e["text"] for e in events if e["type"] == "notice_added")

        # Nothing of a command's output is missing.
        process = [e for e in events if e["type"] == "tool_finished" and e["tool"] == "process"]
        shown = "".join(e["result"]["parts"][0]["text"] for e in process)
        assert shown.count("worked") == 1, process  # what was shown is not shown again
        long = next(
            e for e in events if e["type"] == "tool_finished" and "line 1\\n" in str(e["result"])
        )
        assert long["result"]["parts"][0]["text"].split("\n")[:4] == [
            f"line {i}" for i in range(1, 5)
        ]

        # Intent came before effect, and nothing is left running or marked.
        for e in events:
            if e["type"] == "tool_finished":
                assert any(s["type"] == "tool_started" and s["call"] == e["call"] for s in events)


def play(tmp_path: Path, doom: tuple[int, str] | None) -> Story:
    with Story(tmp_path / "w") as story:
        story.start(doom)
        story.ready()
        story.tell()
        story.check()
    return story


def test_the_story_without_a_crash(tmp_path: Path) -> None:
    assert play(tmp_path, None).kills == 0


SHORT = [(n, kind) for kind in ("write", "sync", "after") for n in range(1, 16)]
LONG = [(n, kind) for kind in ("write", "sync", "after") for n in range(16, 80)]


@pytest.mark.parametrize(("n", "kind"), SHORT)
def test_killed_at_a_disk_operation(tmp_path: Path, n: int, kind: str) -> None:
    story = play(tmp_path, (n, kind))
    assert story.kills == 1


@pytest.mark.slow
@pytest.mark.parametrize(("n", "kind"), LONG)
def test_killed_at_a_later_disk_operation(tmp_path: Path, n: int, kind: str) -> None:
    play(tmp_path, (n, kind))


def killed_at_random(tmp_path: Path, seed: int, times: int) -> None:
    chance = random.Random(seed)
    with Story(tmp_path / "w") as story:
        story.start()
        story.ready()
        killer = os.fork()
        if killer == 0:
            os._exit(_kill_now_and_then(story, chance, times))
        try:
            story.tell()
        finally:
            os.waitpid(killer, 0)
        story.insist(story.approve)
        story.check()


def _kill_now_and_then(story: Story, chance: random.Random, times: int) -> int:
    """In a process of its own: kill whatever server runs, at random instants."""
    import json
    import signal

    file = story.private / "run" / "server.json"
    last = 0
    for _ in range(times):
        for _ in range(2_000):
            try:
                pid = json.loads(file.read_bytes())["pid"]
            except (OSError, ValueError):
                pid = 0
            if pid and pid != last:
                break
            time.sleep(0.005)
        else:
            return 0
        last = pid
        time.sleep(chance.uniform(0.0, 0.6))
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return 0
    return 0


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_instants(tmp_path: Path, seed: int) -> None:
    killed_at_random(tmp_path, seed, 4)


@pytest.mark.parametrize("seed", range(4))
def test_killed_while_it_rewinds(tmp_path: Path, seed: int) -> None:
    class Impatient(Story):
        def rewind(self) -> None:
            killer = os.fork()
            if killer == 0:
                time.sleep(random.Random(seed).uniform(0.0, 0.05))
                assert self.process is not None
                os.kill(self.process.pid, 9)
                os._exit(0)
            super().rewind()
            os.waitpid(killer, 0)
            super().rewind()  # the kill may have come after the answer

    with Impatient(tmp_path / "w") as story:
        story.start()
        story.ready()
        story.tell()
        story.check()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 180))
def test_killed_often_at_random_instants(tmp_path: Path, seed: int) -> None:
    killed_at_random(tmp_path, seed, 6)


def test_a_server_that_is_gone_says_so(tmp_path: Path) -> None:
    with Rig(tmp_path / "w") as rig, pytest.raises(Gone):
        rig.call("GET", "/livez")
