"""nanobot, through its SDK: its own tools, memory and session files as it brings them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.lookup import DESCRIPTION, NAME, SCHEMA, lookup


class Peer:
    def __init__(self, url: str, folder: str, stream: bool) -> None:
        self._url, self._folder, self._stream = url, Path(folder), stream

    async def ready(self) -> None:
        from nanobot.agent.tools.base import Tool
        from nanobot.nanobot import Nanobot

        class Lookup(Tool):
            name = NAME
            description = DESCRIPTION
            parameters = SCHEMA["function"]["parameters"]  # type: ignore[index]

            async def execute(self, key: str) -> str:
                return lookup(key)

        defaults = {
            "workspace": str(self._folder / "workspace"),
            "model": "bench",
            "provider": "custom",
            "contextWindowTokens": 1_000_000_000,
            "maxToolIterations": 1_000_000,
        }
        settings = {
            "agents": {"defaults": defaults},
            "providers": {"custom": {"apiKey": "x", "apiBase": self._url}},
        }
        file = self._folder / "config.json"
        file.write_text(json.dumps(settings))
        self._bot: Any = Nanobot.from_config(file)
        self._bot._loop.tools.register(Lookup())

    async def turn(self, session: str, message: str) -> str:
        if self._stream:
            run = await self._bot.run_streamed(message, session_key=session)
            async for _ in run.stream_events():
                pass
            return str((await run.wait()).content)
        return str((await self._bot.run(message, session_key=session)).content)

    async def close(self) -> None:
        await self._bot.aclose()


def make(*, url: str, folder: str, stream: bool) -> Peer:
    return Peer(url, folder, stream)
