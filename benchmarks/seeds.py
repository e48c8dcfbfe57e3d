"""Sessions with a past: made without a server, stored as the product stores them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .house import House, tool
from .model_server import ANSWER, SENTENCE

if TYPE_CHECKING:
    from perdure.kernel.prompt import Prompt, Reply


def past_model(spec: Any, each: int) -> Any:
    """Calls the tool `each` times in a turn, then answers; replies look as Chat Completions gives them,
    and requests are written as ever, but sent to nobody."""
    from perdure.models.openai_chat import OpenAIChat

    class Silent(OpenAIChat):
        def __init__(self) -> None:
            super().__init__(spec, None)  # type: ignore[arg-type]
            self._past = PastModel(each)

        async def call(self, prompt: Prompt, request: Any, emit: Any) -> Reply:
            self.request(prompt)
            return await self._past.call(prompt, request, emit)

    return Silent()


class PastModel:
    def __init__(self, each: int) -> None:
        self._each = each
        self._calls = 0
        self._left = each

    async def call(self, prompt: Prompt, request: Any, emit: Any) -> Reply:
        import msgspec

        from perdure.kernel.events import Native, Text, ToolCall, Usage
        from perdure.kernel.prompt import Reply

        message: dict[str, Any] = {"role": "assistant", "content": SENTENCE}
        parts: tuple[Any, ...] = (Text(text=SENTENCE),)
        if self._left:
            id_, arguments = f"call_{self._calls}", {"key": f"entry-{self._calls}"}
            self._calls, self._left = self._calls + 1, self._left - 1
            parts += (ToolCall(id=id_, name="lookup", arguments=arguments),)
            function = {"name": "lookup", "arguments": json.dumps(arguments)}
            message["tool_calls"] = [{"id": id_, "type": "function", "function": function}]
        else:
            self._left = self._each
            parts, message["content"] = (Text(text=ANSWER),), ANSWER
        body = msgspec.Raw(json.dumps(message).encode())
        return Reply(
            model="bench",
            parts=parts,
            stop="tools" if len(parts) > 1 else "end",
            usage=Usage(input=1000, output=30),
            native=Native(format="openai-chat", body=body),
        )


class PastModels:
    def __init__(self, each: int) -> None:
        self._each = each

    def open(self, spec: Any) -> Any:
        return past_model(spec, self._each)

    def window(self, spec: Any) -> int:
        return 1_000_000_000

    async def close(self) -> None: ...


async def perdure(folder: str, turns: int, each: int) -> dict[str, Any]:
    """A session of `turns` turns with `each` tool rounds, that is `turns * (2 * each + 2)` messages."""
    from perdure.runtime import open_runtime

    house = House(folder, "reads")
    house.runtime = await open_runtime(
        Path(folder),
        tools=[tool("reads")],  # type: ignore[list-item]
        models=lambda _: PastModels(each),  # type: ignore[arg-type, return-value]
    )
    for n in range(turns):
        await house.turn("past", f"Question {n}, about the entries of that week.")
    session = house._sessions["past"]
    await house.close()
    log = Path(folder) / ".perdure" / "sessions" / session / "events.jsonl"
    return {
        "session": session,
        "results": turns * each,
        "records": log.read_bytes().count(b"\n"),
        "log_mb": log.stat().st_size / 1e6,
    }


async def peer(driver: str, folder: str, url: str, turns: int, each: int) -> dict[str, Any]:
    """The same in a peer's own store; by real turns where it has no way to put messages in."""
    import inspect

    from .scenarios import make

    contestant: Any = await make(driver, url=url, folder=folder, stream=False)
    if hasattr(contestant, "seed"):
        seeding = contestant.seed("past", turns, each)
        if inspect.isawaitable(seeding):
            await seeding
    else:
        for n in range(turns):
            await contestant.turn("past", f"Question {n}. [until {(n + 1) * each}]")
    await contestant.close()
    return {"session": "past", "results": turns * each}


def floor(folder: str, turns: int, each: int) -> dict[str, Any]:
    """The same as a file with a message per line."""
    from .lookup import lookup

    lines: list[str] = []
    for n in range(turns):
        lines.append(json.dumps({"role": "user", "content": f"Question {n}."}))
        for k in range(n * each, (n + 1) * each):
            function = {"name": "lookup", "arguments": json.dumps({"key": f"entry-{k}"})}
            calls = [{"id": f"call_{k}", "type": "function", "function": function}]
            message = {"role": "assistant", "content": SENTENCE, "tool_calls": calls}
            result = {"role": "tool", "tool_call_id": f"call_{k}", "content": lookup(f"entry-{k}")}
            lines += [json.dumps(message), json.dumps(result)]
        lines.append(json.dumps({"role": "assistant", "content": ANSWER}))
    (Path(folder) / "past.jsonl").write_text("\n".join(lines) + "\n")
    return {"session": "past", "results": turns * each}


async def many(folder: str, count: int) -> dict[str, Any]:
    """`count` sessions on disk: one of a turn with three tool rounds, and copies of it."""
    from perdure.storage import TimeIds

    made = await perdure(folder, 1, 3)
    home = Path(folder) / ".perdure" / "sessions"
    ids = TimeIds()
    for _ in range(count - 1):
        id_ = ids.new("s")
        (home / id_).mkdir()
        shutil.copy(home / made["session"] / "events.jsonl", home / id_ / "events.jsonl")
    return {"sessions": len(list(home.iterdir()))}
