"""A server that plays what it is told to, and a history with everything in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from perdure.kernel.events import (
    AnyDelta,
    ArtifactId,
    CallDelta,
    CallId,
    Image,
    RequestId,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolResult,
)
from perdure.kernel.prompt import (
    AssistantItem,
    CallResult,
    ImageSource,
    Item,
    Prefix,
    Prompt,
    ResultsItem,
    ToolSchema,
    UserItem,
)

REQUEST = RequestId("r_1")
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000 1f15c489"
    "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082".replace(" ", "")
)


class Pictures(ImageSource):
    def read_image(self, image: Image) -> bytes:
        if image.artifact == "gone.png":
            raise FileNotFoundError(image.artifact)
        return PNG


PICTURE = Image(media_type="image/png", artifact=ArtifactId("picture.png"))

PREFIX = Prefix(
    system="Be brief.",
    tools=(
        ToolSchema(
            name="read",
            description="Read a file.",
            parameters={
                "type": "object",
                "properties": {"path": {"type": "string"}, "offset": {"type": "integer"}},
                "required": ["path"],
            },
        ),
    ),
    digest="d1",
)


def user(seq: int, *parts: str | Image) -> UserItem:
    return UserItem(seq=seq, parts=tuple(Text(text=p) if isinstance(p, str) else p for p in parts))


def call(id: str, path: str) -> ToolCall:
    return ToolCall(id=CallId(id), name="read", arguments={"path": path})


def result(id: str, seq: int, *parts: str | Image, status: Any = "ok") -> CallResult:
    return CallResult(
        call=id,
        tool="read",
        seq=seq,
        result=ToolResult(
            status=status,
            parts=tuple(Text(text=p) if isinstance(p, str) else p for p in parts),
        ),
    )


def history() -> list[Item]:
    """Texts, an image, parallel calls, one result an error and one an image, a last word."""
    return [
        user(1, "What is in here? Grüße 👋", PICTURE),
        AssistantItem(
            seq=2,
            parts=(
                Thinking(text="Let me look."),
                Text(text="Looking."),
                call("call_1", "a.txt"),
                call("call_2", "b.png"),
            ),
        ),
        ResultsItem(
            seq=4,
            results=(
                result("call_1", 3, "no such file", status="error"),
                result("call_2", 4, "a picture", PICTURE),
            ),
        ),
        AssistantItem(seq=5, parts=(Text(text="One pixel."),)),
        user(6, "Thanks."),
    ]


def prompt(items: Sequence[Item], **more: Any) -> Prompt:
    return Prompt(
        **{"prefix": PREFIX, "items": items, "images": Pictures(), **more}  # type: ignore[arg-type]
    )


def body_of(adapter: Any, given: Prompt) -> dict[str, Any]:
    return json.loads(b"".join(adapter.request(given)[1]))  # type: ignore[no-any-return]


def shown(deltas: Sequence[AnyDelta]) -> dict[str, str]:
    """What was shown live, by kind; calls with their index wherever another begins or goes on."""
    seen, last = {"text": "", "thinking": "", "calls": ""}, -1
    for delta in deltas:
        if isinstance(delta, TextDelta):
            seen["text"] += delta.text
        elif isinstance(delta, ThinkingDelta):
            seen["thinking"] += delta.text
        elif isinstance(delta, CallDelta):
            begins = "" if delta.index == last and not delta.name else str(delta.index)
            seen["calls"] += f"{begins}{delta.name}{delta.arguments}"
            last = delta.index
    return seen


def sse(*events: Any, done: bool = True) -> list[bytes]:
    """Chunks of a stream; what is not bytes is JSON."""
    chunks = [
        b"data: " + (e if isinstance(e, bytes) else json.dumps(e).encode()) + b"\n\n"
        for e in events
    ]
    return [*chunks, b"data: [DONE]\n\n"] if done else chunks


@dataclass
class Answer:
    chunks: Sequence[bytes]
    status: int = 200
    type: str = "text/event-stream"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """Close the connection in the middle of the body."""
    hang: bool = False
    """Send no more, and wait for the client to go."""


class Server:
    """Plays its answers in order, and remembers what it was asked."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.url = ""
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.connections = 0
        self.left = asyncio.Event()
        """A client went away while the server was hanging."""
        self._answers = list(answers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {
                    k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)
                }
                self.paths.append(head[0].split()[1])
                self.headers.append(headers)
                self.bodies.append(
                    json.loads(await reader.readexactly(int(headers["content-length"])))
                )
                answer = self._answers.pop(0)
                lines = [
                    f"HTTP/1.1 {answer.status} X",
                    f"content-type: {answer.type}",
                    "transfer-encoding: chunked",
                    *(f"{k}: {v}" for k, v in answer.headers.items()),
                ]
                writer.write("\r\n".join([*lines, "", ""]).encode())
                for chunk in answer.chunks:
                    writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                    await writer.drain()
                if answer.cut:
                    break
                if answer.hang:
                    await reader.read()
                    self.left.set()
                    break
                writer.write(b"0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def playing(*answers: Answer) -> AsyncIterator[Server]:
    server = Server(answers)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    async with listener:
        yield server


def accepted(type: Any, value: Any) -> Any:
    """`value` as far as a type of an SDK knows it: unknown fields are missing, wrong ones raise."""
    from pydantic import TypeAdapter

    # Held until all is read: iterables are validated as they are walked through.
    adapter = TypeAdapter(type)
    plain = _plain(adapter.validate_python(value))
    del adapter
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, str | int | float | None):
        return value
    return [_plain(v) for v in value]
