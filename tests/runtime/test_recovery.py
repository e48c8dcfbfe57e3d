"""What a restart does with what it finds: doubts, suspects, torn logs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

import pytest

from perdure.kernel.errors import Conflict, NotFound
from perdure.kernel.events import MessageReceived, NoticeAdded, SessionId, Text, ToolFinished
from perdure.kernel.labels import Label, Trust
from perdure.runtime.resuming import Resuming
from perdure.tools import Tool, ToolContext, ok

from .house import ask, call, house, say, seen, until


class Pay(Tool):
    """Pay somebody."""

    effects: ClassVar = frozenset({"spends", "network"})
    to: str

    async def execute(self, context: ToolContext):  # type: ignore[no-untyped-def]
        with Path("paid").open("a") as file:
            file.write(self.to + "\n")
        await asyncio.Event().wait()
        return ok("paid")


class PayOnce(Pay):
    name: ClassVar = "pay"

    async def execute(self, context: ToolContext):  # type: ignore[no-untyped-def]
        with Path("paid").open("a") as file:
            file.write(self.to + "\n")
        return ok("paid")


PLAN = [say("", call("c1", "pay", to="mum")), say("noted"), say("", call("c2", "pay", to="mum"))]


async def interrupted_payment(root: Path) -> str:
    """A payment that was under way when the process went."""
    async with house(root, PLAN, tools=[Pay]) as runtime:
        (root / ".perdure" / "policy.yaml").write_text("mode: auto\nallow: [{tool: pay}]\n")
        session = (await runtime.create_session()).id
        await runtime.submit(session, (Text(text="pay mum"),))
        await until((Path("paid")).exists)
    return session


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_a_payment_in_doubt_is_not_repeated_and_says_what_it_was(tmp_path: Path) -> None:
    session = await interrupted_payment(tmp_path)
    async with house(tmp_path, PLAN, tools=[PayOnce]) as runtime:
        await until(
            lambda: session in runtime._rooms._live and not runtime._rooms.get(session).running
        )
        records = await seen(runtime, session)
        (finished,) = [r.event for r in records if isinstance(r.event, ToolFinished)]
        assert finished.result.status == "in_doubt"
        notice = next(r.event for r in records if isinstance(r.event, NoticeAdded))
        assert "pay" in notice.text and "mum" in notice.text and "UTC" in notice.text
        assert Path("paid").read_text() == "mum\n"
        (doubt,) = await runtime.doubts(session)
        assert (doubt.tool, doubt.arguments) == ("pay", {"to": "mum"})


@pytest.mark.parametrize(("answer", "paid"), [("happened", 1), ("again", 2)])
async def test_the_owner_settles_a_doubt_once(tmp_path: Path, answer: str, paid: int) -> None:
    session = await interrupted_payment(tmp_path)
    plan = PLAN if answer == "again" else [*PLAN[:2], say("fine")]
    async with house(tmp_path, plan, tools=[PayOnce]) as runtime:
        await until(
            lambda: session in runtime._rooms._live and not runtime._rooms.get(session).running
        )
        (doubt,) = await runtime.doubts(session)
        accepted = await runtime.settle(session, doubt.key, answer)  # type: ignore[arg-type]
        await runtime.wait(session, accepted.message, 30)
        assert Path("paid").read_text() == "mum\n" * paid
        assert await runtime.doubts(session) == []
        with pytest.raises(NotFound):
            await runtime.settle(session, doubt.key, "again")
        told = [
            r.event for r in await seen(runtime, session) if isinstance(r.event, MessageReceived)
        ]
        text = told[-1].parts[0].text  # type: ignore[union-attr]
        assert told[-1].source == "settled" and "the pay call" in text and "UTC" in text
        # The model wrote the arguments: they must not be heard as the owner's words.
        assert "mum" not in text
        assert told[-1].label is not None and told[-1].label.trust == "self"


async def test_a_session_at_which_the_process_died_twice_is_held(tmp_path: Path) -> None:
    async with house(tmp_path, [lambda: asyncio.Event().wait()]) as runtime:  # type: ignore[list-item]
        session = (await runtime.create_session()).id
        other = (await runtime.create_session()).id
        for id_ in (session, other):
            await runtime.submit(id_, (Text(text="go"),))
        await until(lambda: all(runtime._rooms.get(s).state.last_request for s in (session, other)))
    # As two processes left it that died at this session, before it made a step.
    count = tmp_path / ".perdure" / "resuming" / session
    count.parent.mkdir(exist_ok=True)
    count.write_bytes(b"xx")
    async with house(tmp_path, [say("ok"), say("again")]) as runtime:
        await until(lambda: other in runtime._rooms._live and not runtime._rooms.get(other).running)
        view = await runtime.session(session)
        assert view.status == "held" and "resume" in view.error
        assert not runtime._rooms.get(session).running
        with pytest.raises(Conflict):
            await runtime.resume(other)
        await runtime.resume(session)
        await until(lambda: not runtime._rooms.get(session).running)
        assert (await runtime.session(session)).status == "idle"
    assert not count.exists()


async def test_a_message_lets_a_held_session_go_on(tmp_path: Path) -> None:
    async with house(tmp_path, [lambda: asyncio.Event().wait()]) as runtime:  # type: ignore[list-item]
        session = (await runtime.create_session()).id
        await runtime.submit(session, (Text(text="go"),))
        await until(lambda: runtime._rooms.get(session).state.last_request)
    count = tmp_path / ".perdure" / "resuming" / session
    count.parent.mkdir(exist_ok=True)
    count.write_bytes(b"xx")
    async with house(tmp_path, [say("ok"), say("more")]) as runtime:
        assert (await ask(runtime, session, "please")).reason == "done"
    assert not count.exists()


@pytest.mark.parametrize("trust", ["third_party", "known", "self"])
async def test_nobody_elses_message_lets_a_held_session_go_on(tmp_path: Path, trust: Trust) -> None:
    async with house(tmp_path, [lambda: asyncio.Event().wait()]) as runtime:  # type: ignore[list-item]
        session = (await runtime.create_session()).id
        await runtime.submit(session, (Text(text="go"),))
        await until(lambda: runtime._rooms.get(session).state.last_request)
    Resuming(tmp_path / ".perdure" / "resuming").restored(session)
    theirs = Label(trust=trust, origins=("token:guest",))
    for _ in range(2):  # the second time after another start
        async with house(tmp_path, [say("ok"), say("more")]) as runtime:
            accepted = await runtime.submit(
                session, (Text(text="hi"),), sender="guest", mode="interrupt", label=theirs
            )
            assert "waits for you" in accepted.held
            await runtime.stop(session)
            live = runtime._rooms.get(session)
            assert not live.running and (await runtime.session(session)).status == "held"
    async with house(tmp_path, [say("ok"), say("more")]) as runtime:
        accepted = await runtime.submit(session, (Text(text="please"),), source="terminal")
        assert not accepted.held
        assert (await runtime.wait(session, accepted.message, 30)).reason == "done"  # type: ignore[union-attr]


def test_what_is_counted_of_a_session_and_taken_back_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[list[str]] = []
    monkeypatch.setattr(
        "perdure.runtime.resuming.sync",
        lambda folder: synced.append([file.name for file in folder.iterdir()]),
    )
    resuming = Resuming(tmp_path / "resuming")
    resuming.begin(SessionId("s_1"))
    resuming.over(SessionId("s_1"))
    resuming.over(SessionId("s_1"))
    assert synced == [["s_1"], []]


async def test_progress_clears_a_suspicion(tmp_path: Path) -> None:
    async with house(tmp_path, [lambda: asyncio.Event().wait()]) as runtime:  # type: ignore[list-item]
        session = (await runtime.create_session()).id
        await runtime.submit(session, (Text(text="go"),))
        await until(lambda: runtime._rooms.get(session).state.last_request)
    count = tmp_path / ".perdure" / "resuming" / session
    count.parent.mkdir(exist_ok=True)
    count.write_bytes(b"x")
    async with house(tmp_path, [say("ok")]) as runtime:
        await until(lambda: not count.exists())
        await until(lambda: not runtime._rooms.get(session).running)


async def test_a_torn_log_is_mended_and_the_owner_is_told(tmp_path: Path) -> None:
    async with house(tmp_path, [say("one"), say("two")]) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "hi")
    log = tmp_path / ".perdure" / "sessions" / session / "events.jsonl"
    with log.open("ab") as file:
        file.write(b'{"sum":"0123456789abcdef","seq":99,"at"')
    async with house(tmp_path, [say("one"), say("two")]) as runtime:
        assert (await ask(runtime, session, "and?")).text == "two"
        notices = [
            r.event.text for r in await seen(runtime, session) if isinstance(r.event, NoticeAdded)
        ]
        assert any("events.torn" in text for text in notices)


async def test_a_background_process_tells_its_session_once_also_after_a_restart(
    tmp_path: Path,
) -> None:
    start = call(
        "c1",
        "process",
        action="start",
        notify="end",
        command="until test -e go; do sleep 0.05; done; echo built",
    )
    plan = [say("", start), say("It runs."), say("It is built.")]
    async with house(tmp_path, plan) as runtime:
        session = (await runtime.create_session()).id
        assert (await ask(runtime, session, "build it")).text == "It runs."
    async with house(tmp_path, plan) as runtime:
        (tmp_path / "go").touch()
        await until(lambda: session in runtime._rooms._live)
        await until(lambda: runtime._rooms.get(session).state.turns == 2)
        await until(lambda: not runtime._rooms.get(session).running)
    async with house(tmp_path, plan) as runtime:
        told = [
            r.event for r in await seen(runtime, session) if isinstance(r.event, MessageReceived)
        ]
        assert [m.source for m in told] == ["api", "process"]
        assert "built" in told[1].parts[0].text  # type: ignore[union-attr]
