"""A workspace's life: sessions, messages, watchers, restarts."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from perdure.kernel.errors import Conflict, InvalidInput, ModelError, NotFound, StorageError
from perdure.kernel.events import (
    ApprovalRequested,
    MessageReceived,
    ModelResponded,
    Record,
    Text,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnStarted,
)

from ..sandbox.runtimes import alive_with
from .house import PlannedModels, ask, call, house, say, seen, until, workspace


async def test_a_conversation_is_kept_and_listed(tmp_path: Path) -> None:
    async with house(tmp_path, [say("hello"), say("still here")]) as runtime:
        session = (await runtime.create_session()).id
        assert (await ask(runtime, session, "hi")).text == "hello"
    async with house(tmp_path, [say("hello"), say("still here")]) as runtime:
        listed = await runtime.sessions()
        assert [(v.id, v.title, v.status) for v in listed] == [(session, "hi", "idle")]
        assert (await ask(runtime, session, "and now?")).text == "still here"
        assert (await runtime.session(session)).turns == 2


async def test_a_session_that_is_compacted_before_its_first_turn_goes_on(tmp_path: Path) -> None:
    async with house(tmp_path, [say("hello")]) as runtime:
        session = (await runtime.create_session()).id
        await runtime.compact(session)
        assert (await ask(runtime, session, "hi")).text == "hello"


async def test_every_watcher_sees_every_record_once_and_in_order(tmp_path: Path) -> None:
    plan = [say("", call(f"c{i}", "read", path="perdure.yaml")) for i in range(5)] + [say("done")]
    async with house(tmp_path, plan) as runtime:
        session = (await runtime.create_session()).id

        async def watch(after: int) -> list[int]:
            numbers = []
            async with runtime.subscribe(session, after) as stream:
                async for item in stream:
                    if isinstance(item, Record):
                        numbers.append(item.seq)
                        if isinstance(item.event, TurnEnded):
                            break
            return numbers

        watchers = [asyncio.create_task(watch(0)) for _ in range(3)]
        await runtime.submit(session, (Text(text="go"),))
        for _ in range(3):
            await asyncio.sleep(0)
            watchers.append(asyncio.create_task(watch(1)))
        results = await asyncio.gather(*watchers)
        last = (await runtime.session(session)).seq
        assert all(r == list(range(1, last + 1)) for r in results[:3])
        assert all(r == list(range(2, last + 1)) for r in results[3:])


async def test_who_comes_in_the_middle_of_an_answer_sees_its_beginning(tmp_path: Path) -> None:
    going, go_on = asyncio.Event(), asyncio.Event()

    class Slow(PlannedModels):
        def open(self, spec):  # type: ignore[no-untyped-def]
            model = super().open(spec)

            async def answer(prompt, request, emit):  # type: ignore[no-untyped-def]
                emit(TextDelta(request=request, text="first half, "))
                going.set()
                await go_on.wait()
                emit(TextDelta(request=request, text="second half"))
                return say("first half, second half")

            model.call = answer  # type: ignore[method-assign]
            return model

    async with house(tmp_path, source=Slow([])) as runtime:
        session = (await runtime.create_session()).id
        await runtime.submit(session, (Text(text="go"),))
        await going.wait()
        texts = []
        async with runtime.subscribe(session, 0) as stream:
            go_on.set()
            async for item in stream:
                if isinstance(item, TextDelta):
                    texts.append(item.text)
                elif isinstance(item, Record) and isinstance(item.event, TurnEnded):
                    break
        assert "".join(texts) == "first half, second half"


async def test_an_unfinished_turn_goes_on_after_a_restart(tmp_path: Path) -> None:
    held = asyncio.Event()

    async def hang():  # type: ignore[no-untyped-def]
        held.set()
        await asyncio.Event().wait()

    async with house(tmp_path, [say("", call("c1", "read", path="perdure.yaml")), hang]) as runtime:
        session = (await runtime.create_session()).id
        await runtime.submit(session, (Text(text="go"),))
        await held.wait()
    plan = [say("", call("c1", "read", path="perdure.yaml")), say("finished")]
    async with house(tmp_path, plan) as runtime:
        records = await seen(runtime, session)
        message = next(r.event for r in records if isinstance(r.event, MessageReceived))
        outcome = await runtime.wait(session, message.message, 30)
        assert outcome is not None and outcome.text == "finished"
        records = await seen(runtime, session)
        assert sum(isinstance(r.event, TurnStarted) for r in records) == 1
        assert sum(isinstance(r.event, ToolFinished) for r in records) == 1


async def test_a_command_outlives_the_runtime_and_its_one_result_is_recorded(
    tmp_path: Path,
) -> None:
    command = "echo started >> log; for i in 1 2 3; do echo $i; sleep 0.2; done; echo ended >> log"
    plan = [say("", call("c1", "bash", command=command)), say("ok")]
    async with house(tmp_path, plan) as runtime:
        session = (await runtime.create_session()).id
        await runtime.submit(session, (Text(text="go"),))
        await until((tmp_path / "log").exists)
    async with house(tmp_path, plan) as runtime:
        records = await seen(runtime, session)
        message = next(r.event for r in records if isinstance(r.event, MessageReceived))
        await runtime.wait(session, message.message, 30)
        finished = [
            r.event for r in await seen(runtime, session) if isinstance(r.event, ToolFinished)
        ]
        assert [f.result.status for f in finished] == ["ok"]
        assert finished[0].result.text.split() == ["1", "2", "3"]
    assert (tmp_path / "log").read_text() == "started\nended\n"


async def test_stop_ends_the_whole_process_tree(tmp_path: Path) -> None:
    mark = f"mark{uuid.uuid4().hex}"
    command = f"bash -c 'sleep 300; : {mark}' & sleep 300; : {mark}"
    async with house(tmp_path, [say("", call("c1", "bash", command=command))]) as runtime:
        session = (await runtime.create_session()).id
        accepted = await runtime.submit(session, (Text(text="go"),))
        await until(lambda: len(alive_with(mark)) >= 2)
        assert await runtime.stop(session)
        outcome = await runtime.wait(session, accepted.message, 30)
        assert outcome is not None and outcome.reason == "stopped"
        assert alive_with(mark) == []
        assert not await runtime.stop(session)


async def test_an_approval_waits_through_a_restart(tmp_path: Path) -> None:
    plan = [say("", call("c1", "write", path="a.txt", content="x")), say("written")]
    async with house(tmp_path, plan, mode="ask") as runtime:
        session = (await runtime.create_session()).id
        await runtime.submit(session, (Text(text="go"),))
        await until(lambda: runtime._rooms.get(session).state.approvals)
        assert (await runtime.session(session)).status == "waiting"
    async with house(tmp_path, plan) as runtime:
        await until(lambda: session in runtime._rooms._live)
        (approval,) = await runtime.approvals()
        assert isinstance(approval.request, ApprovalRequested)
        assert not (tmp_path / "a.txt").exists()
        await runtime.decide(session, approval.request.approval, "allow")
        with pytest.raises(NotFound):
            await runtime.decide(session, approval.request.approval, "deny")
        await until(lambda: not runtime._rooms.get(session).state.busy)
        assert (tmp_path / "a.txt").read_text() == "x"


async def test_always_is_remembered_for_other_sessions(tmp_path: Path) -> None:
    plan = [say("", call("c1", "write", path="a.txt", content="x")), say("written")]
    async with house(tmp_path, plan, mode="ask") as runtime:
        first = (await runtime.create_session()).id
        await runtime.submit(first, (Text(text="go"),))
        await until(lambda: runtime._rooms.get(first).state.approvals)
        (approval,) = await runtime.approvals(first)
        assert "always" in approval.request.offers
        await runtime.decide(first, approval.request.approval, "allow", scope="always")
        second = (await runtime.create_session()).id
        outcome = await ask(runtime, second, "again")
        assert outcome.text == "written"


async def test_a_fork_goes_its_own_way(tmp_path: Path) -> None:
    plan = [say("one"), say("two"), say("three")]
    async with house(tmp_path, plan) as runtime:
        parent = (await runtime.create_session()).id
        await ask(runtime, parent, "first")
        at = (await runtime.session(parent)).seq
        await ask(runtime, parent, "second")
        fork = await runtime.fork(parent, at)
        assert fork.parent == parent and fork.seq == at + 1
        assert (await ask(runtime, fork.id, "other second")).text == "two"
        assert (await runtime.session(parent)).messages == 2


async def test_a_deleted_session_is_gone(tmp_path: Path) -> None:
    async with house(tmp_path, [say("one")]) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "hi")
        await runtime.delete(session)
        assert await runtime.sessions() == []
        with pytest.raises(NotFound):
            await runtime.session(session)


async def test_a_lost_index_is_made_again_from_the_logs(tmp_path: Path) -> None:
    async with house(tmp_path, [say("one")]) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "hi")
    for file in (tmp_path / ".perdure").glob("index.sqlite*"):
        file.unlink()
    async with house(tmp_path) as runtime:
        assert [(v.id, v.title) for v in await runtime.sessions()] == [(session, "hi")]


async def test_a_snapshot_gives_the_same_session(tmp_path: Path) -> None:
    rounds = 120
    plan = [say("", call(f"c{i}", "read", path="perdure.yaml")) for i in range(rounds)]
    source = PlannedModels([*plan, say("done"), say("after")])
    (workspace(tmp_path) / "perdure.yaml").write_text("budget: {rounds: 1000}\n")
    async with house(tmp_path, source=source) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "go")
        before = runtime._rooms.get(session).state
    assert (tmp_path / ".perdure" / "sessions" / session / "snapshot.json").exists()
    async with house(tmp_path, source=source) as runtime:
        await runtime.session(session)
        live = runtime._rooms.get(session)
        assert live.opened.snapshot is not None
        assert live.state == before
        await ask(runtime, session, "more")
        with_snapshot = source.prompts[-1]
    (tmp_path / ".perdure" / "sessions" / session / "snapshot.json").unlink()
    async with house(tmp_path, source=source) as runtime:
        await ask(runtime, session, "more")
        assert source.prompts[-1][: len(with_snapshot)] == with_snapshot


async def test_a_broken_agent_file_fails_the_turn_and_names_the_line(tmp_path: Path) -> None:
    workspace(tmp_path)
    file = tmp_path / ".perdure" / "agents" / "default" / "agent.yaml"
    async with house(tmp_path, [say("one"), say("two")]) as runtime:
        session = (await runtime.create_session()).id
        good = file.read_text()
        file.unlink()
        outcome = await ask(runtime, session, "hi")
        assert outcome.reason == "failed" and "default" in outcome.error
        assert (await runtime.session(session)).status == "failed"
        file.write_text(good)
        assert (await ask(runtime, session, "again")).text == "one"
        file.write_text(good.replace("spec:", "spec:\n  modle: x"))
        report = await runtime.reload()
        assert any("agent.yaml" in e and "model" in e for e in report.errors)
        assert (await ask(runtime, session, "and again")).text == "two"


async def test_a_full_disk_refuses_and_recovers_without_a_restart(tmp_path: Path) -> None:
    from perdure.storage import RealDisk

    class Full(RealDisk):
        full = False

        def sync(self, handle: int) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            super().sync(handle)

    disk = Full()
    async with house(tmp_path, [say("one"), say("two")], disk=disk) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "hi")
        disk.full = True
        with pytest.raises(StorageError):
            await runtime.submit(session, (Text(text="lost"),), key="k1")
        disk.full = False
        outcome = await ask(runtime, session, "back", key="k1")
        assert outcome.text == "two"
        records = await seen(runtime, session)
        assert [r.seq for r in records] == list(range(1, len(records) + 1))


@pytest.mark.parametrize("text", ["", "  \n", "\ud800"])
async def test_strange_messages_are_refused_or_cleaned(tmp_path: Path, text: str) -> None:
    async with house(tmp_path, [say("ok")]) as runtime:
        session = (await runtime.create_session()).id
        if text.strip():
            assert (await ask(runtime, session, text)).text == "ok"
        else:
            with pytest.raises(InvalidInput):
                await runtime.submit(session, (Text(text=text),))


async def test_the_same_key_twice_is_one_message(tmp_path: Path) -> None:
    async with house(tmp_path, [say("ok")]) as runtime:
        session = (await runtime.create_session()).id
        parts = (Text(text="hi"),)
        both = await asyncio.gather(*(runtime.submit(session, parts, key="k") for _ in range(2)))
        assert both[0].message == both[1].message
        assert sorted(a.duplicate for a in both) == [False, True]
        await runtime.wait(session, both[0].message, 30)
        assert (await runtime.session(session)).messages == 1


async def test_a_model_that_fails_for_good_ends_the_turn_and_the_next_one_works(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, [ModelError("no such key", kind="auth")]) as runtime:
        session = (await runtime.create_session()).id
        outcome = await ask(runtime, session, "hi")
        assert outcome.reason == "failed" and "no such key" in outcome.error


async def test_unknown_agents_sessions_and_folders_are_named(tmp_path: Path) -> None:
    async with house(tmp_path) as runtime:
        with pytest.raises(NotFound, match="nobody"):
            await runtime.create_session(agent="nobody")
        with pytest.raises(NotFound):
            await runtime.session("s_01m7yv3mtjqm8g542q")  # type: ignore[arg-type]
        with pytest.raises(InvalidInput):
            await runtime.session("../../etc")  # type: ignore[arg-type]
        with pytest.raises(InvalidInput):
            await runtime.create_session(workdir=str(tmp_path / "none"))
        for strange in ("~nobody-here/x", "/\0", "relative"):
            with pytest.raises(InvalidInput):
                await runtime.create_session(workdir=strange)
        with pytest.raises((InvalidInput, Conflict)):
            await runtime.create_session(model="nonsense")


async def test_a_hundred_sessions_run_at_once(tmp_path: Path) -> None:
    plan = [say("", call(f"c{i}", "read", path="perdure.yaml")) for i in range(3)] + [say("done")]
    async with house(tmp_path, plan) as runtime:
        ids = [(await runtime.create_session()).id for _ in range(100)]
        outcomes = await asyncio.gather(*(ask(runtime, id_, "go") for id_ in ids))
        assert all(o.text == "done" for o in outcomes)


async def test_only_one_runtime_writes_a_session(tmp_path: Path) -> None:
    async with house(tmp_path, [say("one")]) as first:
        session = (await first.create_session()).id
        await ask(first, session, "hi")
        async with house(tmp_path) as second:
            with pytest.raises(StorageError):
                await second.submit(session, (Text(text="mine"),))


async def test_starting_touches_no_session(tmp_path: Path) -> None:
    async with house(tmp_path, [say("one")]) as runtime:
        for _ in range(20):
            await runtime.create_session()
    async with house(tmp_path) as runtime:
        await asyncio.sleep(0)
        assert runtime.status().sessions_open == 0


async def test_tool_starts_and_results_pair_up_in_the_log(tmp_path: Path) -> None:
    calls = [call("a", "read", path="perdure.yaml"), call("b", "nothing"), call("c", "read")]
    async with house(tmp_path, [say("", *calls), say("ok")]) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "go")
        records = await seen(runtime, session)
        results = {
            r.event.call: r.event.result.status
            for r in records
            if isinstance(r.event, ToolFinished)
        }
        assert results == {"a": "ok", "b": "invalid", "c": "invalid"}
        assert sum(isinstance(r.event, ToolStarted) for r in records) == 1
        assert sum(isinstance(r.event, ModelResponded) for r in records) == 2


async def test_who_waits_for_an_answer_gets_it_although_the_disk_failed_meanwhile(
    tmp_path: Path,
) -> None:
    from perdure.storage import RealDisk

    class Full(RealDisk):
        full = False

        def sync(self, handle: int) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            super().sync(handle)

    disk, going, go_on = Full(), asyncio.Event(), asyncio.Event()

    async def answer():  # type: ignore[no-untyped-def]
        going.set()
        await go_on.wait()
        return say("after all")

    async with house(tmp_path, [answer], disk=disk) as runtime:
        session = (await runtime.create_session()).id
        waiting = asyncio.create_task(ask(runtime, session, "hi"))
        await going.wait()
        disk.full = True
        go_on.set()
        await until(lambda: runtime._rooms.get(session).error)
        disk.full = False
        assert (await waiting).text == "after all"
