"""LangGraph: its ready-made agent, langchain-openai, the SQLite checkpointer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.lookup import lookup


class Peer:
    def __init__(self, url: str, folder: str, stream: bool) -> None:
        self._url, self._base, self._stream = url, Path(folder) / "threads.sqlite", stream

    async def ready(self) -> None:
        from langchain_openai import ChatOpenAI
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
        from langgraph.prebuilt import create_react_agent

        options: Any = {"base_url": self._url, "api_key": "x", "streaming": self._stream}
        model = ChatOpenAI(model="bench", **options)
        self._saver = AsyncSqliteSaver.from_conn_string(str(self._base))
        saver = await self._saver.__aenter__()
        self._graph: Any = create_react_agent(
            model, [lookup], prompt="Be brief.", checkpointer=saver
        )

    async def turn(self, session: str, message: str) -> str:
        config = {"configurable": {"thread_id": session}, "recursion_limit": 1_000_000}
        given = {"messages": [{"role": "user", "content": message}]}
        if self._stream:
            async for _ in self._graph.astream(given, config, stream_mode="messages"):
                pass
            state = await self._graph.aget_state(config)
            return str(state.values["messages"][-1].content)
        result = await self._graph.ainvoke(given, config)
        return str(result["messages"][-1].content)

    async def close(self) -> None:
        await self._saver.__aexit__(None, None, None)

    async def seed(self, session: str, turns: int, each: int) -> None:
        from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

        messages: list[Any] = []
        for n in range(turns):
            messages.append(HumanMessage(f"Question {n}."))
            for k in range(each):
                id_ = f"call_{n * each + k}"
                call: Any = {"name": "lookup", "args": {"key": f"entry-{k}"}, "id": id_}
                messages.append(AIMessage("Let me look.", tool_calls=[call]))
                messages.append(ToolMessage(lookup(f"entry-{k}"), tool_call_id=id_))
            messages.append(AIMessage("That was the last entry."))
        config = {"configurable": {"thread_id": session}}
        await self._graph.aupdate_state(config, {"messages": messages}, as_node="agent")


def make(*, url: str, folder: str, stream: bool) -> Peer:
    return Peer(url, folder, stream)
