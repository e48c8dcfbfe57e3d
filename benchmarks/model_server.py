"""A model server that answers at once: Chat Completions, whole or streamed, following a script.

The script stands in the last user message: `[until N]` means to call the tool `lookup` as long as the
request holds fewer than N tool results, and then to answer. A `[final]` beside it says that the
answer is a call too, of `final_answer`. The server keeps no state and looks for markers in the bytes
of a request, without parsing it, so that long histories cost it next to nothing.

Run as `python -m benchmarks.model_server`: prints its port, and ends when its stdin does.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from functools import lru_cache

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_UNTIL = re.compile(rb"\[until (\d+)\]")
# How a tool result looks; who has no tool role puts it into the user's words as an observation.
_RESULTS = (b'"role":"tool"', b'"role": "tool"', b"Observation:\\n")
_STREAM = re.compile(rb'"stream": ?true')

SENTENCE = "Let me look at the next entry before I go on."
ANSWER = "That was the last entry. Everything is in order."


class Script(asyncio.Protocol):
    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = self._want = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        while self._size and self._size >= self._want:
            whole = b"".join(self._pieces)
            head = whole.find(b"\r\n\r\n")
            if head < 0:
                self._pieces, self._want = [whole], 0
                return
            length = _LENGTH.search(whole, 0, head)
            if length is None:
                self._transport.close()
                return
            end = head + 4 + int(length[1])
            if len(whole) < end:
                self._pieces, self._want = [whole], end
                return
            rest = whole[end:]
            self._pieces, self._size, self._want = [rest] if rest else [], len(rest), 0
            self._transport.write(answer(whole[head + 4 : end]))


def answer(body: bytes) -> bytes:
    """The whole HTTP response to a request's body."""
    at = body.rfind(b"[until ")
    found = _UNTIL.match(body, at) if at >= 0 else None
    until = int(found[1]) if found else 0
    done = sum(map(body.count, _RESULTS))
    final = b"[final]" in body[at : at + 64]
    call = "lookup" if done < until else "final_answer" if final else ""
    stream = _STREAM.search(body) is not None
    return _streamed(done, call) if stream else _whole(done, call)


def _arguments(done: int, call: str) -> str:
    return json.dumps({"key": f"entry-{done}"} if call == "lookup" else {"answer": ANSWER})


def _usage(done: int) -> dict[str, int]:
    prompt = 900 + 60 * done
    return {"prompt_tokens": prompt, "completion_tokens": 30, "total_tokens": prompt + 30}


def _frame(kind: str, done: int, choices: list[object], **more: object) -> dict[str, object]:
    return {
        "id": f"chatcmpl-{done}",
        "object": kind,
        "created": 1_790_000_000,
        "model": "bench",
        "choices": choices,
        **more,
    }


@lru_cache(maxsize=4096)
def _whole(done: int, call: str) -> bytes:
    message: dict[str, object] = {"role": "assistant", "content": SENTENCE if call else ANSWER}
    if call:
        function = {"name": call, "arguments": _arguments(done, call)}
        message["tool_calls"] = [{"id": f"call_{done}", "type": "function", "function": function}]
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": "tool_calls" if call else "stop",
        "logprobs": None,
    }
    body = json.dumps(_frame("chat.completion", done, [choice], usage=_usage(done))).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


@lru_cache(maxsize=4096)
def _streamed(done: int, call: str) -> bytes:
    """Ten-odd events, in one write: what arrives together costs every client the least."""
    text = SENTENCE if call else ANSWER
    deltas: list[dict[str, object]] = [{"role": "assistant", "content": ""}]
    words = re.findall(r"\S+ ?\S* ?", text)
    deltas += [{"content": piece} for piece in words]
    if call:
        arguments = _arguments(done, call)
        start = {
            "index": 0,
            "id": f"call_{done}",
            "type": "function",
            "function": {"name": call, "arguments": ""},
        }
        deltas.append({"tool_calls": [start]})
        for i in range(0, len(arguments), 8):
            piece = {"index": 0, "function": {"arguments": arguments[i : i + 8]}}
            deltas.append({"tool_calls": [piece]})
    kind = "chat.completion.chunk"
    frames = [_frame(kind, done, [{"index": 0, "delta": d, "finish_reason": None}]) for d in deltas]
    reason = "tool_calls" if call else "stop"
    frames.append(_frame(kind, done, [{"index": 0, "delta": {}, "finish_reason": reason}]))
    frames.append(_frame(kind, done, [], usage=_usage(done)))
    body = b"".join(b"data: %b\n\n" % json.dumps(f).encode() for f in frames)
    body += b"data: [DONE]\n\n"
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    )


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Script, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
