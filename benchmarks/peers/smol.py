"""smolagents: its agent of tool calls, in threads, for it is not asynchronous; it stores nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.lookup import lookup


class Peer:
    def __init__(self, url: str, stream: bool) -> None:
        self._url, self._stream = url, stream
        self._agents: dict[str, Any] = {}

    async def ready(self) -> None:
        import smolagents

        @smolagents.tool
        def lookup_(key: str) -> str:
            """Look up an entry by its key.

            Args:
                key: its key
            """
            return lookup(key)

        lookup_.name = "lookup"
        self._tool, self._library = lookup_, smolagents
        self._model = smolagents.OpenAIServerModel("bench", api_base=self._url, api_key="x")
        self._agent("warm")

    def _agent(self, session: str) -> Any:
        if session not in self._agents:
            self._agents[session] = self._library.ToolCallingAgent(
                tools=[self._tool],
                model=self._model,
                max_steps=1_000_000,
                verbosity_level=0,
                stream_outputs=self._stream,
            )
        return self._agents[session]

    async def turn(self, session: str, message: str) -> str:
        agent = self._agent(session)
        return str(await asyncio.to_thread(agent.run, f"{message}[final]", reset=False))

    async def close(self) -> None: ...


def make(*, url: str, folder: str, stream: bool) -> Peer:
    return Peer(url, stream)
