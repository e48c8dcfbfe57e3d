"""pydantic-ai: an agent, its history kept by us in one file per conversation, as its docs suggest:
the library has no store of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.lookup import lookup


class Peer:
    def __init__(self, url: str, folder: str, stream: bool) -> None:
        self._url, self._folder, self._stream = url, Path(folder), stream

    async def ready(self) -> None:
        from pydantic_ai import Agent, UsageLimits
        from pydantic_ai.messages import ModelMessagesTypeAdapter
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        model = OpenAIChatModel("bench", provider=OpenAIProvider(base_url=self._url, api_key="x"))
        self._codec = ModelMessagesTypeAdapter
        self._limits = UsageLimits(request_limit=None)
        self._agent: Any = Agent(model, tools=[lookup], system_prompt="Be brief.")

    async def turn(self, session: str, message: str) -> str:
        file = self._folder / f"{session}.json"
        history = self._codec.validate_json(file.read_bytes()) if file.exists() else None
        options: Any = {"message_history": history, "usage_limits": self._limits}
        if self._stream:
            async with self._agent.iter(message, **options) as run:
                async for node in run:
                    if self._agent.is_model_request_node(node):
                        async with node.stream(run.ctx) as events:
                            async for _ in events:
                                pass
            result = run.result
        else:
            result = await self._agent.run(message, **options)
        file.write_bytes(result.all_messages_json())
        return str(result.output)

    async def close(self) -> None: ...

    def seed(self, session: str, turns: int, each: int) -> None:
        from pydantic_ai.messages import (
            ModelRequest,
            ModelResponse,
            TextPart,
            ToolCallPart,
            ToolReturnPart,
            UserPromptPart,
        )

        history: list[Any] = []
        for n in range(turns):
            history.append(ModelRequest(parts=[UserPromptPart(content=f"Question {n}.")]))
            for k in range(each):
                id_ = f"call_{n * each + k}"
                call = ToolCallPart("lookup", {"key": f"entry-{k}"}, tool_call_id=id_)
                history.append(ModelResponse(parts=[TextPart("Let me look."), call]))
                part = ToolReturnPart("lookup", lookup(f"entry-{k}"), tool_call_id=id_)
                history.append(ModelRequest(parts=[part]))
            history.append(ModelResponse(parts=[TextPart("That was the last entry.")]))
        (self._folder / f"{session}.json").write_bytes(self._codec.dump_json(history))


def make(*, url: str, folder: str, stream: bool) -> Peer:
    return Peer(url, folder, stream)
