"""A real workspace with a scripted model, for tests of the runtime."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from perdure.agents import scaffold
from perdure.kernel.errors import ModelError
from perdure.kernel.events import Record, Text, TextDelta, ToolCall
from perdure.kernel.prompt import AssistantItem, Item, Prompt, Reply
from perdure.runtime import Runtime, open_runtime

Answer = Reply | ModelError | Callable[[], Awaitable[Reply]]


def say(text: str, *calls: ToolCall, **more: Any) -> Reply:
    parts = ((Text(text=text),) if text else ()) + calls
    return Reply(model="fake", parts=parts, stop="tools" if calls else "end", **more)


def call(id_: str, tool: str, **arguments: Any) -> ToolCall:
    return ToolCall(id=id_, name=tool, arguments=arguments)


class PlannedModel:
    """The nth answer follows the nth assistant item of the prompt, so that it survives restarts."""

    name = "fake/model"

    def __init__(self, plan: Sequence[Answer], prompts: list[tuple[Item, ...]]) -> None:
        self._plan, self._prompts = plan, prompts

    async def call(self, prompt: Prompt, request: Any, emit: Any) -> Reply:
        self._prompts.append(tuple(prompt.items))
        index = sum(isinstance(i, AssistantItem) for i in prompt.items)
        answer = self._plan[index] if index < len(self._plan) else say("that is all")
        if isinstance(answer, ModelError):
            raise answer
        reply = answer if isinstance(answer, Reply) else await answer()
        for part in reply.parts:
            if isinstance(part, Text):
                for word in part.text.split(" "):
                    emit(TextDelta(request=request, text=word + " "))
                    await asyncio.sleep(0)
        return reply

    async def close(self) -> None: ...


class PlannedModels:
    def __init__(self, plan: Sequence[Answer]) -> None:
        self.plan = plan
        self.prompts: list[tuple[Item, ...]] = []

    def open(self, spec: Any) -> PlannedModel:
        return PlannedModel(self.plan, self.prompts)

    def window(self, spec: Any) -> int:
        return 100_000

    async def close(self) -> None: ...


def workspace(folder: Path, mode: str = "auto") -> Path:
    scaffold(folder)
    (folder / ".perdure" / "policy.yaml").write_text(f"mode: {mode}\n")
    return folder


@asynccontextmanager
async def house(
    root: Path, plan: Sequence[Answer] = (), *, mode: str = "auto", **options: Any
) -> AsyncIterator[Runtime]:
    if not (root / "perdure.yaml").exists():
        workspace(root, mode)
    models = options.pop("source", None) or PlannedModels(plan)
    runtime = await open_runtime(root, models=lambda _: models, **options)
    try:
        yield runtime
    finally:
        await runtime.close()


async def ask(runtime: Runtime, session: Any, text: str, **options: Any) -> Any:
    accepted = await runtime.submit(session, (Text(text=text),), **options)
    return await runtime.wait(session, accepted.message, 30)


async def seen(runtime: Runtime, session: Any) -> list[Record]:
    return await runtime.records(session, limit=100_000)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)
