"""A workspace with many turns that were cut off, and the start that goes on with them (D4)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .house import tool
from .meter import Facts, peak_mb

if TYPE_CHECKING:
    from perdure.kernel.prompt import Prompt, Reply


class _Model:
    name = "bench/model"

    def __init__(self, models: _Models) -> None:
        self._models = models

    async def call(self, prompt: Prompt, request: Any, emit: Any) -> Reply:
        from perdure.kernel.events import Text
        from perdure.kernel.prompt import Reply

        self._models.asked += 1
        self._models.first.set()
        if not self._models.answers:
            await asyncio.Event().wait()
        return Reply(model="bench", parts=(Text(text="Done."),), stop="end")

    async def close(self) -> None: ...


class _Models:
    def __init__(self, *, answers: bool) -> None:
        self.answers = answers
        self.asked = 0
        self.first = asyncio.Event()

    def open(self, spec: Any) -> Any:
        return _Model(self)

    def window(self, spec: Any) -> int:
        return 1_000_000

    async def close(self) -> None: ...


async def seed(folder: str, count: int) -> Facts:
    """`count` sessions, each with a message whose answer had been asked for."""
    from perdure.kernel.events import Text
    from perdure.runtime import open_runtime

    models = _Models(answers=False)
    runtime = await open_runtime(
        Path(folder),
        tools=[tool("reads")],  # type: ignore[list-item]
        models=lambda _: models,  # type: ignore[arg-type, return-value]
    )
    for n in range(0, count, 50):
        made = [await runtime.create_session() for _ in range(min(50, count - n))]
        await asyncio.gather(*(runtime.submit(s.id, (Text(text="Go on."),)) for s in made))
    while models.asked < count:
        await asyncio.sleep(0.01)
    await runtime.close()
    return {"sessions": count}


async def start(folder: str, count: int) -> Facts:
    """Seconds from the start to the first step that goes on, and to the last turn's end."""
    began, before = time.perf_counter(), time.process_time()
    from perdure.runtime import open_runtime

    models = _Models(answers=True)
    runtime = await open_runtime(
        Path(folder),
        tools=[tool("reads")],  # type: ignore[list-item]
        models=lambda _: models,  # type: ignore[arg-type, return-value]
    )
    if count:
        await models.first.wait()
    first, first_cpu = time.perf_counter() - began, time.process_time() - before
    while models.asked < count or runtime.status().sessions_running:
        await asyncio.sleep(0.01)
    facts: Facts = {
        "first_s": first,
        "first_cpu_s": first_cpu,
        "all_s": time.perf_counter() - began,
        "each_ms": (time.process_time() - before) * 1e3 / max(1, count),
        "mb": peak_mb(),
    }
    await runtime.close()
    return facts
