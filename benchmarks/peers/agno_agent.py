"""agno: an agent with its SQLite store and history in the context."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.lookup import lookup


class Peer:
    def __init__(self, url: str, folder: str, stream: bool) -> None:
        self._url, self._base, self._stream = url, Path(folder) / "agno.sqlite", stream

    async def ready(self) -> None:
        from agno.agent import Agent
        from agno.db.sqlite import SqliteDb
        from agno.models.openai.like import OpenAILike

        model = OpenAILike(id="bench", base_url=self._url, api_key="x")
        self._agent: Any = Agent(
            model=model,
            tools=[lookup],
            instructions="Be brief.",
            db=SqliteDb(db_file=str(self._base)),
            add_history_to_context=True,
            num_history_runs=1_000_000,
            telemetry=False,
        )

    async def turn(self, session: str, message: str) -> str:
        if self._stream:
            text: list[str] = []
            async for event in self._agent.arun(message, session_id=session, stream=True):
                text.append(str(getattr(event, "content", None) or ""))
            return "".join(text)
        result = await self._agent.arun(message, session_id=session)
        return str(result.content)

    async def close(self) -> None: ...


def make(*, url: str, folder: str, stream: bool) -> Peer:
    return Peer(url, folder, stream)
