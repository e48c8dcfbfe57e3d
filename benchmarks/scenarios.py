"""What is measured, the same for every contestant that has a driver. Runs inside its process."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from importlib import import_module
from typing import Any, Protocol

from . import lookup
from .meter import Facts, Span, memory_mb, peak_mb


class Driver(Protocol):
    """One contestant. Made by `make(url=…, folder=…, stream=…)` of its module, which imports what
    it needs there and not before, so that the cost of imports can be seen."""

    async def ready(self) -> None:
        """An agent that could take a message."""

    async def turn(self, session: str, message: str) -> str:
        """One user message to a conversation, kept under this name; the agent's answer to it."""

    async def close(self) -> None: ...


async def make(driver: str, **options: Any) -> Driver:
    made: Driver = import_module(f"benchmarks.{driver}").make(**options)
    await made.ready()
    return made


async def rounds(driver: str, *, turns: int = 20, each: int = 10, **options: Any) -> Facts:
    """Turns of ten tool rounds, one after the other, each in a new session."""
    contestant = await make(driver, **options)
    for n in range(3):
        await _turn(contestant, f"warm-{n}", each)
    span = Span()
    for n in range(turns):
        await _turn(contestant, f"session-{n}", each)
    cpu, wall = span.lap()
    total = turns * each
    await contestant.close()
    return {"cpu_ms": cpu / total * 1e3, "wall_ms": wall / total * 1e3}


async def crowd(driver: str, *, sessions: int = 100, each: int = 10, **options: Any) -> Facts:
    """Many sessions at once."""
    contestant = await make(driver, **options)
    await _turn(contestant, "warm", each)
    span = Span()
    await asyncio.gather(*(_turn(contestant, f"session-{n}", each) for n in range(sessions)))
    cpu, wall = span.lap()
    peak = peak_mb()
    await contestant.close()
    total = sessions * each
    return {"rounds_per_cpu_s": total / cpu, "rounds_per_s": total / wall, "peak_mb": peak}


async def long(driver: str, *, upto: int = 1000, limit: float = 300.0, **options: Any) -> Facts:
    """One session of one turn with very many rounds: what a round costs as the history grows.
    `limit`: seconds after which it is left as far as it got."""
    contestant = await make(driver, **options)
    await _turn(contestant, "warm", 10)
    lookup.marks.clear()
    facts: Facts = {}
    try:
        async with asyncio.timeout(limit):
            await _turn(contestant, "long", upto)
        await contestant.close()
    except TimeoutError:
        facts["reached"] = len(lookup.marks)
    marks = lookup.marks
    for at in (100, 300, 1000):
        if len(marks) >= at:
            width = at // 10
            facts[f"cpu_ms_at_{at}"] = (marks[at - 1] - marks[at - 1 - width]) / width * 1e3
    facts["peak_mb"] = peak_mb()
    return facts


async def start(driver: str, **options: Any) -> Facts:
    """From the start of the interpreter to an agent that could take a message, and its first turn."""
    contestant = await make(driver, **options)
    facts = {"cpu_s": time.process_time(), "mb": memory_mb()}
    await _turn(contestant, "first", 1)
    facts |= {"turn_cpu_s": time.process_time(), "turn_mb": memory_mb()}
    await contestant.close()
    return facts


async def resume(driver: str, *, session: str, results: int, **options: Any) -> Facts:
    """One turn without tools on a session that was stored before, in a process that is warm."""
    contestant = await make(driver, **options)
    await _turn(contestant, "warm", 2)
    span = Span()
    await _turn(contestant, session, results)
    cpu, wall = span.lap()
    facts = {"cpu_ms": cpu * 1e3, "wall_ms": wall * 1e3, "mb": memory_mb()}
    again = []
    for _ in range(3):
        await _turn(contestant, session, results)
        again.append(span.lap()[0])
    facts["next_cpu_ms"] = statistics.median(again) * 1e3
    await contestant.close()
    return facts


async def _turn(contestant: Driver, session: str, until: int) -> None:
    """`until` counts the tool results of the session, those of earlier turns included."""
    text = await contestant.turn(session, f"Go through the entries. [until {until}]")
    if "last entry" not in text:
        raise RuntimeError(f"{session} ended with {text[:300]!r} (pid {os.getpid()})")
