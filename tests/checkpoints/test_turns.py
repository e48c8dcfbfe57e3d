"""Checkpoints as the kernel asks for them."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from perdure.checkpoints import TurnCheckpoints
from perdure.kernel.events import TurnId
from perdure.kernel.ports import Checkpointer

from .world import S, World


async def test_the_event_says_what_was_taken(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write("a", "123")
    world.write(".env", "KEY=1")
    port: Checkpointer = TurnCheckpoints(world.store, S, world.work)
    event = await port.take(TurnId("t_1"), 7)
    assert event is not None
    [taken] = world.store.list(S)
    assert (event.checkpoint, event.files, event.bytes, event.skipped) == (taken.id, 1, 3, 1)
    assert (taken.turn, taken.seq, event.error) == ("t_1", 7, "")
    again = await port.take(TurnId("t_1"), 7)
    assert again == event


async def test_what_goes_wrong_is_in_the_event(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.work.rmdir()
    event = await TurnCheckpoints(world.store, S, world.work).take(TurnId("t_1"), 7)
    assert event.checkpoint == "" and "working folder" in event.error


async def test_stopping_the_turn_stops_the_work_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    begun, ended = threading.Event(), threading.Event()

    def endless(*_: object, stop, **more: object) -> None:  # type: ignore[no-untyped-def]
        begun.set()
        try:
            while True:
                stop()
        finally:
            ended.set()

    monkeypatch.setattr(world.store, "take", endless)
    task = asyncio.create_task(TurnCheckpoints(world.store, S, world.work).take(TurnId("t"), 1))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
