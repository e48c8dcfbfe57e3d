"""Budgets and circles through the real runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perdure.kernel.events import (
    LimitReached,
    ModelFailed,
    NoticeAdded,
    Text,
    ToolFinished,
    Usage,
)
from perdure.kernel.prompt import READER

from .house import PlannedModel, PlannedModels, ask, call, house, say, workspace


def events(records: list[Any], kind: type) -> list[Any]:
    return [r.event for r in records if isinstance(r.event, kind)]


def with_budget(root: Path, budget: str) -> Path:
    workspace(root)
    with (root / "perdure.yaml").open("a") as file:
        file.write(f"budget: {budget}\n")
    return root


def spends(tokens: int) -> Usage:
    return Usage(input=tokens, output=10)


async def test_a_used_up_session_sums_up_and_then_takes_no_more(tmp_path: Path) -> None:
    with_budget(tmp_path, "{session: {tokens: 30000}}")
    (tmp_path / "a").write_text("a")
    reads = [
        say("", call(f"c{n}", "read", path="a", offset=n + 1), usage=spends(2_500))
        for n in range(20)
    ]
    async with house(tmp_path, reads) as runtime:
        session = (await runtime.create_session()).id
        outcome = await ask(runtime, session, "read it all")
        records = await runtime.records(session)
        (limit,) = events(records, LimitReached)
        assert (limit.scope, limit.limit) == ("session", "tokens")
        assert outcome.reason == "limit"
        used = (await runtime.session(session)).usage
        assert used.input + used.output <= 30_000
        again = await ask(runtime, session, "and now?")
        assert again.reason in ("failed", "limit")
        view = await runtime.spending()
        assert view.agents[0].used[0].tokens == used.input + used.output


async def test_a_day_that_is_used_up_stops_other_sessions_too(tmp_path: Path) -> None:
    with_budget(tmp_path, "{day: {turns: 2}}")
    async with house(tmp_path, [say("hello")]) as runtime:
        for n in range(3):
            session = (await runtime.create_session()).id
            outcome = await ask(runtime, session, "hi")
            assert (outcome.reason == "done") == (n < 2)
        assert "today" in outcome.error and "turns" in outcome.error
        (failed,) = events(await runtime.records(session), ModelFailed)
        assert failed.kind == "refused"


async def test_the_limit_of_tool_calls_holds_within_one_reply(tmp_path: Path) -> None:
    with_budget(tmp_path, "{calls: 3}")
    many = say("", *[call(f"c{n}", "bash", command=f"echo {n} >> log") for n in range(6)])
    async with house(tmp_path, [many, say("done")]) as runtime:
        session = (await runtime.create_session()).id
        outcome = await ask(runtime, session, "go")
        statuses = [e.result.status for e in events(await runtime.records(session), ToolFinished)]
        assert sorted(statuses) == ["ok"] * 3 + ["skipped"] * 3
        assert (tmp_path / "log").read_text().split() == ["0", "1", "2"]
        assert outcome.reason == "limit"


async def test_a_circle_is_told_of_and_then_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("the same\n")
    workspace(tmp_path)
    plan = [say("", call(f"c{n}", "read", path="a")) for n in range(7)]
    async with house(tmp_path, plan) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "go")
        results = [e.result for e in events(await runtime.records(session), ToolFinished)]
        assert [r.status for r in results] == ["ok"] * 5 + ["denied"] * 2
        assert "same call 3 times" in results[2].text and "same call" not in results[1].text


async def test_the_owner_is_warned_before_the_end(tmp_path: Path) -> None:
    with_budget(tmp_path, "{session: {calls: 5}}")
    plan = [say("", call(f"c{n}", "bash", command=f"echo {n}")) for n in range(8)]
    async with house(tmp_path, plan) as runtime:
        session = (await runtime.create_session()).id
        await runtime.submit(session, (Text(text="go"),))
        await ask(runtime, session, "on", mode="queue")
        notices = events(await runtime.records(session), NoticeAdded)
        assert sum("of 5 calls of the budget" in n.text for n in notices) == 1


def extracting(*answers: Any) -> Any:
    """The session's model, which also answers the reader."""

    class Models(PlannedModels):
        def __init__(self) -> None:
            super().__init__(
                [
                    say("", call("c1", "extract", text="Paid: no", fields={"paid": "bool"})),
                    say("done"),
                ]
            )
            self.asked: list[Any] = []

        def open(self, spec: Any) -> Any:
            model, asked, usual = super().open(spec), self.asked, PlannedModel.call
            plan = list(answers)

            async def answer(prompt: Any, request: Any, emit: Any) -> Any:
                if prompt.prefix.digest != READER:
                    return await usual(model, prompt, request, emit)
                asked.append(prompt)
                return plan[min(len(asked), len(plan)) - 1]

            model.call = answer
            return model

    return Models()


async def test_what_extract_reads_is_reserved_and_counted_once(tmp_path: Path) -> None:
    with_budget(tmp_path, "{day: {tokens: 100000}}")
    models = extracting(
        say('{"paid": "what"}', usage=spends(300)), say('{"paid": false}', usage=spends(300))
    )
    async with house(tmp_path, source=models) as runtime:
        session = (await runtime.create_session()).id
        assert (await ask(runtime, session, "is it paid?")).reason == "done"
        assert len(models.asked) == 2 and all(p.max_output for p in models.asked)
        (finished,) = events(await runtime.records(session), ToolFinished)
        assert finished.result.status == "ok"
        used = (await runtime.session(session)).usage
        assert used.input + used.output == 620
        (agent,) = (await runtime.spending()).agents
        assert {u.tokens for u in agent.used} == {620}
        assert runtime._team.ledger.open() == 0


async def test_extract_reads_nothing_once_a_budget_is_used_up(tmp_path: Path) -> None:
    with_budget(tmp_path, "{day: {tokens: 30000}}")
    models = extracting(say('{"paid": false}'))
    models.plan[0] = say("", *models.plan[0].parts, usage=spends(28_000))
    async with house(tmp_path, source=models) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "is it paid?")
        (finished,) = events(await runtime.records(session), ToolFinished)
        assert finished.result.status == "error" and models.asked == []
        assert "This agent today has used" in finished.result.text
        assert "of 30000 tokens" in finished.result.text
