"""OpenAI Agents SDK: Chat Completions, its own SQLite session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.lookup import lookup


class Peer:
    def __init__(self, url: str, folder: str, stream: bool) -> None:
        self._url, self._base, self._stream = url, Path(folder) / "sessions.sqlite", stream

    async def ready(self) -> None:
        from openai import AsyncOpenAI

        import agents

        agents.set_tracing_disabled(True)
        client = AsyncOpenAI(base_url=self._url, api_key="x")
        model = agents.OpenAIChatCompletionsModel("bench", client)
        tool = agents.function_tool(lookup)
        self._agents = agents
        self._agent: Any = agents.Agent(
            "bench", instructions="Be brief.", model=model, tools=[tool]
        )

    def _session(self, session: str) -> Any:
        return self._agents.SQLiteSession(session, str(self._base))

    async def turn(self, session: str, message: str) -> str:
        runner, kept = self._agents.Runner, self._session(session)
        options: Any = {"session": kept, "max_turns": 1_000_000}
        if self._stream:
            result = runner.run_streamed(self._agent, message, **options)
            async for _ in result.stream_events():
                pass
        else:
            result = await runner.run(self._agent, message, **options)
        kept.close()
        return str(result.final_output)

    async def close(self) -> None: ...

    async def seed(self, session: str, turns: int, each: int) -> None:
        items: list[Any] = []
        for n in range(turns):
            items.append({"role": "user", "content": f"Question {n}."})
            for k in range(each):
                id_ = f"call_{n * each + k}"
                items.append(_said(f"Let me look. {k}"))
                items.append(
                    {
                        "type": "function_call",
                        "call_id": id_,
                        "name": "lookup",
                        "arguments": f'{{"key": "entry-{k}"}}',
                    }
                )
                items.append(
                    {
                        "type": "function_call_output",
                        "call_id": id_,
                        "output": lookup(f"entry-{k}"),
                    }
                )
            items.append(_said("That was the last entry."))
        await self._session(session).add_items(items)


def _said(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {
        "type": "message",
        "id": "__fake_id__",
        "role": "assistant",
        "status": "completed",
        "content": content,
    }


def make(*, url: str, folder: str, stream: bool) -> Peer:
    return Peer(url, folder, stream)
