"""Server-sent events are read whatever the chunks they come in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from perdure.cli.sse import events_of

STREAM = (
    b': hello\n\nretry: 1000\n\nid: 1\nevent: session_started\ndata: {"a":\n'
    b"data: 1}\n\nevent: delta\r\ndata:{}\r\n\r\ndata: bare\n\nevent: cut off\ndata: x\n"
)


async def _read(chunks: list[bytes]) -> list[tuple[str, bytes]]:
    async def source() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return [event async for event in events_of(source())]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
async def test_any_chunks_give_the_same_events(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[a:b] for a, b in pairwise(places)]
    assert await _read(chunks) == [
        ("session_started", b'{"a":\n1}'),
        ("delta", b"{}"),
        ("", b"bare"),
    ]
