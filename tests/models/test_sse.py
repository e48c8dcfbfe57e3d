"""Server-sent events, however they are cut into chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.models import sse
from perdure.models.sse import EventTooLong, SseParser

STREAM = (
    b": a comment\n\n"
    b"event: start\ndata: {}\n\n"
    b"data: one\n\n"
    b"id: 7\ndata:no space\nretry: 10\n\n"
    b"data: first\ndata: second\n\n"
    b"event: nothing\n\n"
    b"data: last\n\n"
)
EVENTS = [
    ("start", b"{}"),
    ("", b"one"),
    ("", b"no space"),
    ("", b"first\nsecond"),
    ("", b"last"),
]


def parse(*chunks: bytes) -> list[tuple[str, bytes]]:
    parser = SseParser()
    return [e for chunk in chunks for e in parser.feed(chunk)] + parser.end()


@given(st.lists(st.integers(0, len(STREAM) * 2)), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_do_not_depend_on_chunks_or_line_ends(cuts: list[int], line_end: bytes) -> None:
    stream = STREAM.replace(b"\n", line_end)
    places = sorted({min(c, len(stream)) for c in cuts} | {0, len(stream)})
    chunks = [stream[a:b] for a, b in pairwise(places)]
    assert parse(*chunks) == EVENTS


def test_an_event_is_given_out_as_soon_as_it_is_whole() -> None:
    parser = SseParser()
    assert parser.feed(b"data: one\n\ndata: tw") == [("", b"one")]
    assert parser.feed(b"o\n\n") == [("", b"two")]


def test_the_last_event_needs_no_blank_line() -> None:
    assert parse(b"data: one\n\ndata: two") == [("", b"one"), ("", b"two")]


def test_an_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    with pytest.raises(EventTooLong):
        parse(*[b"data: " + b"x" * 50] * 3)
