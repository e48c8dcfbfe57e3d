"""Budgets and circles through the real runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure.kernel.events import (
    LimitReached,
    ModelRequested,
    NoticeAdded,
    Text,
    ToolFinished,
    Usage,
)
from perdure.kernel.prompt import READER
from perdure.tools import Tool, ToolContext, ToolResult

from .house import PlannedModel, PlannedModels, ask, call, house, say, until, workspace


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
        assert outcome.reason == "budget" and "This session has used" in outcome.error
        used = (await runtime.session(session)).usage
        assert used.input + used.output <= 30_000
        again = await ask(runtime, session, "and now?")
        assert again.reason == "budget" and "begin another session" in again.error
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
        assert "There is room again from " in outcome.error and " 00:00 UTC" in outcome.error
        assert not events(await runtime.records(session), ModelRequested)
        assert (await runtime.session(session)).status == "idle"


@pytest.mark.parametrize("whose", ["session", "day", "month"])
async def test_what_is_refused_is_not_counted(tmp_path: Path, whose: str) -> None:
    with_budget(tmp_path, f"{{{whose}: {{turns: 2}}}}")
    async with house(tmp_path, [say("hello")] * 2) as runtime:
        session = (await runtime.create_session()).id
        outcomes = [await ask(runtime, session, "hi") for _ in range(5)]
        assert [o.reason for o in outcomes] == ["done", "done", "budget", "budget", "budget"]
        assert all("has used 2 of 2 turns" in o.error for o in outcomes[2:])
        assert (await runtime.spending()).agents[0].used[0].turns == 2


async def test_a_raised_cap_frees_the_session_at_once(tmp_path: Path) -> None:
    with_budget(tmp_path, "{day: {turns: 1}}")
    async with house(tmp_path, [say("one"), say("two")]) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "hi")
        assert (await ask(runtime, session, "hi")).reason == "budget"
        file = tmp_path / "perdure.yaml"
        file.write_text(file.read_text().replace("turns: 1", "turns: 2"))
        assert (await ask(runtime, session, "hi")).text == "two"


@pytest.mark.parametrize("whose", ["session", "day", "month"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_budget_of_tool_calls_runs_exactly_so_many(
    tmp_path: Path, whose: str, at_once: bool
) -> None:
    with_budget(tmp_path, f"{{{whose}: {{calls: 3}}}}")
    calls = [call(f"c{n}", "bash", command=f"echo {n} >> log") for n in range(6)]
    plan = [say("", *calls)] if at_once else [say("", one) for one in calls]
    async with house(tmp_path, [*plan, say("that far")]) as runtime:
        session = (await runtime.create_session()).id
        outcome = await ask(runtime, session, "go")
        assert outcome.reason == "budget" and "3 of 3 tool calls" in outcome.error
        assert (tmp_path / "log").read_text().split() == ["0", "1", "2"]
        assert (await runtime.spending()).agents[0].used[0].calls == 3
        again = await ask(runtime, session, "on")
        assert again.reason == "budget" and "3 of 3 tool calls" in again.error


def used(view: Any) -> Any:
    return view.agents[0].used[0]


async def test_calls_that_never_began_are_given_back(tmp_path: Path) -> None:
    with_budget(tmp_path, "{calls: 2, day: {calls: 100}}")
    calls = [call(f"c{n}", "bash", command=f"echo {n} >> log") for n in range(6)]
    async with house(tmp_path, [say("", *calls), say("that far")]) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "go")
        assert (tmp_path / "log").read_text().split() == ["0", "1"]
        assert used(await runtime.spending()).calls == 2
    async with house(tmp_path) as runtime:
        assert used(await runtime.spending()).calls == 2


async def test_calls_that_a_policy_denies_use_up_no_day(tmp_path: Path) -> None:
    with_budget(tmp_path, "{day: {calls: 3}}")
    (tmp_path / ".perdure" / "policy.yaml").write_text("mode: plan\n")
    calls = [call(f"c{n}", "bash", command=f"echo {n} >> log") for n in range(3)]
    async with house(tmp_path, [say("", *calls), say("then not")]) as runtime:
        session = (await runtime.create_session()).id
        outcome = await ask(runtime, session, "go")
        ends = [e.result.status for e in events(await runtime.records(session), ToolFinished)]
        assert ends == ["denied"] * 3 and not (tmp_path / "log").exists()
        assert (outcome.reason, outcome.text) == ("done", "then not")
        assert used(await runtime.spending()).calls == 0


async def test_calls_that_wait_for_the_owner_are_booked_until_they_are_denied(
    tmp_path: Path,
) -> None:
    with_budget(tmp_path, "{day: {calls: 3}}")
    (tmp_path / ".perdure" / "policy.yaml").write_text("mode: ask\n")
    calls = [call(f"c{n}", "bash", command=f"touch {n}") for n in range(2)]
    async with house(tmp_path, [say("", *calls), say("then not")]) as runtime:
        session = (await runtime.create_session()).id
        accepted = await runtime.submit(session, (Text(text="go"),))
        live = await runtime._open(session)
        await until(lambda: len(live.state.approvals) == 2)
        assert used(await runtime.spending()).calls == 2
        for approval in list(live.state.approvals):
            await runtime.decide(session, approval, "deny")
        await runtime.wait(session, accepted.message, 30)
        assert used(await runtime.spending()).calls == 0


async def test_a_price_that_is_edited_counts_from_the_next_call_on(tmp_path: Path) -> None:
    with_budget(tmp_path, "{day: {cost_usd: 100}}")
    file = tmp_path / ".perdure" / "agents" / "default" / "agent.yaml"
    agent = (
        "apiVersion: perdure/v1\nkind: Agent\nmetadata: {name: default}\nspec:\n"
        "  model: {provider: mistral, name: m, price: {input: %d, output: 0}}\n"
    )

    class Named(PlannedModel):
        name = "mistral/m"

    class Models(PlannedModels):
        def open(self, spec: Any) -> Any:
            return Named(self.plan, self.prompts)

    file.write_text(agent % 100)
    plan = [say("one", usage=Usage(input=1_000)), say("two", usage=Usage(input=1_000))]
    async with house(tmp_path, source=Models(plan)) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "hi")
        assert round(used(await runtime.spending()).cost_usd, 6) == 0.1
        file.write_text(agent % 1_000_000)  # another size: no stamp can be the same
        refused = await ask(runtime, session, "hi")
        assert refused.reason == "budget" and "100 US dollars" in refused.error
        file.write_text(agent % 3_000)
        await ask(runtime, session, "hi")
        assert round(used(await runtime.spending()).cost_usd, 6) == 3.1


async def test_the_summary_and_then_the_refusal_are_shown_and_the_note_to_the_model_is_not(
    tmp_path: Path,
) -> None:
    from perdure.cli.view.blocks import Answer, Note
    from perdure.cli.view.story import Story

    with_budget(tmp_path, "{day: {calls: 1}}")
    plan = [say("", call("c1", "bash", command="true")), say("this far I came")]
    async with house(tmp_path, plan) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "go")
        await ask(runtime, session, "on")
        story = Story()
        for record in await runtime.records(session):
            story.feed(record)
        blocks = story.take()
        notes = [b.text for b in blocks if isinstance(b, Note)]
        assert "this far I came" in [b.markdown for b in blocks if isinstance(b, Answer)]
        assert sum("The agent sums up." in n for n in notes) == 1
        assert not any("No more tools can be called" in n for n in notes)
        ends = [n for n in notes if n.startswith("■ the budget is used up")]
        assert len(ends) == 2 and "There is room again from" in ends[1]


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


class Oracle(Tool):
    """Asks models of its own."""

    effects = frozenset({"reads"})
    quiet: bool = False
    priced: bool = True

    async def execute(self, context: ToolContext) -> ToolResult:
        assert context.reader is not None
        own = Usage() if self.quiet else Usage(input=1_000, output=500)
        answer = await context.reader("Say something.", "x" * 400)
        usage = own.plus(answer.usage)
        cost = (0.25 + (answer.cost_usd or 0.0)) if self.priced and not self.quiet else None
        return ToolResult(parts=(Text(text="so it is"),), usage=usage, cost_usd=cost)


@pytest.mark.parametrize("quiet", [False, True])
async def test_what_an_embedders_tool_paid_by_itself_is_in_the_books_once(
    tmp_path: Path, quiet: bool
) -> None:
    """What it asked through the runtime's reader, and says as well, is not counted again."""
    with_budget(tmp_path, "{day: {tokens: 1000000}}")

    class Models(PlannedModels):
        def open(self, spec: Any) -> Any:
            return Asked(self.plan, self.prompts)

    class Asked(PlannedModel):
        async def call(self, prompt: Any, request: Any, emit: Any) -> Any:
            if prompt.prefix.digest == READER:
                return say("well", usage=spends(100), cost_usd=0.5)
            return await super().call(prompt, request, emit)

    plan = [say("", call("c", "oracle", quiet=quiet), usage=spends(1_000)), say("done")]
    async with house(tmp_path, source=Models(plan), tools=(Oracle,)) as runtime:
        session = (await runtime.create_session()).id
        outcome = await ask(runtime, session, "ask it")
        assert outcome.reason == "done"
        told = (await runtime.session(session)).usage
        (day,) = [u for u in (await runtime.spending()).agents[0].used if u.period == "day"]
        assert day.tokens == told.input + told.output == 1_120 + (0 if quiet else 1_500)
        (finished,) = events(await runtime.records(session), ToolFinished)
        assert finished.result.usage.input == 100 + (0 if quiet else 1_000)


async def test_a_day_used_up_by_a_tool_stops_the_next_call(tmp_path: Path) -> None:
    with_budget(tmp_path, "{day: {cost_usd: 0.6}}")
    plan = [say("", call("c", "oracle")), say("done")]
    reading = [say("well", cost_usd=0.4)]

    class Models(PlannedModels):
        def open(self, spec: Any) -> Any:
            return Priced(self.plan, self.prompts)

    class Priced(PlannedModel):
        name = "anthropic/claude-haiku-4-5"

        async def call(self, prompt: Any, request: Any, emit: Any) -> Any:
            if prompt.prefix.digest == READER:
                return reading[0]
            return await super().call(prompt, request, emit)

    async with house(tmp_path, source=Models(plan), tools=(Oracle,)) as runtime:
        session = (await runtime.create_session()).id
        outcome = await ask(runtime, session, "ask it")
        assert outcome.reason == "budget"
