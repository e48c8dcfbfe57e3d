"""Answers that leave: attempts, receipts, back-off, dead letters, and a crash in the middle (D7)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from perdure.kernel.errors import Conflict, InvalidInput, NotFound
from perdure.kernel.events import DeliveryEnded, DeliveryQueued, DeliveryStarted, Text
from perdure.storage import SystemClock

from .house import ask, call, house, say, seen, until, workspace


class Hasty(SystemClock):
    """Waiting between attempts takes no time."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def now(self):  # type: ignore[no-untyped-def]
        from datetime import timedelta

        return super().now() + timedelta(seconds=self.ahead)

    async def sleep(self, seconds: float) -> None:
        if seconds == 60:  # the sweeper
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        self.ahead += seconds


def channels(root: Path, **commands: str) -> None:
    workspace(root)
    lines = "".join(
        f"  {n}: {{command: {json.dumps(c)}, timeout: 5}}\n" for n, c in commands.items()
    )
    with (root / "perdure.yaml").open("a") as file:
        file.write(f"outbox:\n{lines}")


async def deliver(runtime, to: str) -> str:  # type: ignore[no-untyped-def]
    session = (await runtime.create_session()).id
    outcome = await ask(runtime, session, "hi", deliver=to)
    assert outcome.reason == "done"
    await until(lambda: not runtime._rooms.get(session).running)
    return session


async def test_an_answer_is_delivered_with_a_receipt(tmp_path: Path) -> None:
    channels(tmp_path, phone="cat > sent.json; echo id-17")
    async with house(tmp_path, [say("hello from here")]) as runtime:
        session = await deliver(runtime, "phone")
        letter = json.loads((tmp_path / "sent.json").read_text())
        assert letter["text"] == "hello from here" and letter["session"] == session
        events = [r.event for r in await seen(runtime, session)]
        kinds = [type(e) for e in events if "Deliver" in type(e).__name__]
        assert kinds == [DeliveryQueued, DeliveryStarted, DeliveryEnded]
        assert events[-1].outcome == "delivered" and events[-1].receipt == "id-17"
        assert await runtime.letters() == []


async def test_a_channel_that_is_down_is_tried_again_until_it_is_not(tmp_path: Path) -> None:
    channels(tmp_path, phone="echo x >> tries; test $(wc -l < tries) -ge 4 || exit 75")
    async with house(tmp_path, [say("hello")], clock=Hasty()) as runtime:
        session = await deliver(runtime, "phone")
        ended = [
            r.event for r in await seen(runtime, session) if isinstance(r.event, DeliveryEnded)
        ]
        assert [e.outcome for e in ended] == ["retry"] * 3 + ["delivered"]
        assert [e.attempt for e in ended] == [1, 2, 3, 4]


async def test_a_dead_letter_is_listed_and_sent_again(tmp_path: Path) -> None:
    channels(tmp_path, phone="test -e up || { echo no such number; exit 67; }")
    async with house(tmp_path, [say("hello")]) as runtime:
        await deliver(runtime, "phone")
        (letter,) = await runtime.letters()
        assert letter.status == "failed" and "no such number" in letter.error
    (tmp_path / "up").touch()
    async with house(tmp_path) as runtime:
        (letter,) = await runtime.letters()
        await runtime.redeliver(letter.delivery)
        await until(lambda: not runtime._rooms._live[letter.session].running)
        assert await runtime.letters() == []
        with pytest.raises(NotFound):
            await runtime.redeliver(letter.delivery)


async def test_after_the_last_attempt_it_is_a_dead_letter(tmp_path: Path) -> None:
    channels(tmp_path, phone="exit 1")
    async with house(tmp_path, [say("hello")], clock=Hasty()) as runtime:
        session = await deliver(runtime, "phone")
        (letter,) = await runtime.letters()
        assert (letter.status, letter.attempts) == ("failed", 8)
        assert (await runtime.session(session)).status == "idle"


async def test_an_attempt_that_did_not_end_is_unconfirmed_and_not_repeated(tmp_path: Path) -> None:
    channels(tmp_path, phone="echo x >> tries; sleep 60")
    text = (tmp_path / "perdure.yaml").read_text().replace("timeout: 5", "timeout: 0.3")
    (tmp_path / "perdure.yaml").write_text(text)
    async with house(tmp_path, [say("hello")]) as runtime:
        await deliver(runtime, "phone")
        (letter,) = await runtime.letters()
        assert letter.status == "unconfirmed"
        assert (tmp_path / "tries").read_text() == "x\n"


async def test_a_restart_in_the_middle_joins_the_attempt(tmp_path: Path) -> None:
    channels(tmp_path, phone="echo x >> tries; until test -e go; do sleep 0.05; done; echo done")
    async with house(tmp_path, [say("hello")]) as runtime:
        session = (await runtime.create_session()).id
        await runtime.submit(session, (Text(text="hi"),), deliver="phone")
        await until((tmp_path / "tries").exists)
        with pytest.raises(Conflict):
            await runtime.redeliver((await runtime.letters())[0].delivery)
    async with house(tmp_path) as runtime:
        (tmp_path / "go").touch()
        await until(
            lambda: session in runtime._rooms._live and not runtime._rooms.get(session).running
        )
        ended = [
            r.event for r in await seen(runtime, session) if isinstance(r.event, DeliveryEnded)
        ]
        assert [(e.outcome, e.receipt) for e in ended] == [("delivered", "done")]
        assert (tmp_path / "tries").read_text() == "x\n"


async def test_new_messages_do_not_wait_for_a_channel_that_is_down(tmp_path: Path) -> None:
    channels(tmp_path, phone="exit 75")
    async with house(tmp_path, [say("one"), say("two")]) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "first", deliver="phone")
        assert (await ask(runtime, session, "second")).text == "two"
        assert (await runtime.session(session)).status == "idle"


async def test_an_unknown_channel_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path, [say("one")]) as runtime:
        session = (await runtime.create_session()).id
        with pytest.raises(InvalidInput, match="pager"):
            await runtime.submit(session, (Text(text="hi"),), deliver="pager")


async def test_a_letter_under_way_is_no_reason_to_refuse_a_rewind(tmp_path: Path) -> None:
    channels(tmp_path, phone="until test -e go; do sleep 0.01; done")
    plan = [say("", call("c1", "write", path="a.txt", content="x")), say("written")]
    async with house(tmp_path, plan, mode="auto") as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "hi", deliver="phone")
        assert runtime._rooms.get(session).running
        (taken,) = await runtime.checkpoints(session)
        await runtime.restore_checkpoint(session, taken.id)
        assert not (tmp_path / "a.txt").exists()
        assert runtime._rooms.get(session).running
        (tmp_path / "go").touch()
        await until(lambda: not runtime._rooms.get(session).running)
