"""A call in doubt, settled: the model is told, and nobody hears the model's words as the owner's (S3)."""

from __future__ import annotations

import asyncio

import pytest

from perdure.kernel.events import MessageReceived, ToolStarted

from .world import Bench, FakeModel, World, call, say


@pytest.mark.parametrize("answered", ["happened", "again"])
async def test_what_is_said_of_a_doubt_repeats_no_argument_and_is_not_the_owners(
    answered: str,
) -> None:
    plan = [say("", call("c1", "pay", to="evil@x.example")), say("done")]
    world = World()
    first = Bench(FakeModel(plan), world=world)
    first.gate.run = lambda *_, **__: asyncio.Event().wait()  # type: ignore[assignment,method-assign,misc]
    await first.say("go")
    running = asyncio.ensure_future(first.runner.run())
    await first.until(ToolStarted)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    bench = Bench(FakeModel(plan), world=world, records=first.log.records, seed=1)
    await bench.runner.run()
    (key,) = bench.state.doubts
    await bench.inbox.settle(key, answered, by="owner")  # type: ignore[arg-type]
    told = bench.events(MessageReceived)[-1]
    text = told.parts[0].text
    assert told.source == "settled" and "the pay call" in text and "2026-11-21 09:00:00 UTC" in text
    assert "evil" not in text
    assert told.label is not None and told.label.trust == "self"
