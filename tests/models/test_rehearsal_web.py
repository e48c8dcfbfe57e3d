"""Pages and searches, without a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.kernel.events import Json
from perdure.models.rehearsal.model import answer
from perdure.models.rehearsal.view import see

from .rehearsal_stage import Stage


def first(text: str) -> list[tuple[str, dict[str, Json]]]:
    stage = Stage(Path("/home/ann"), tools=("read", "bash", "web_fetch", "web_search"))
    stage.say(text)
    return [(c.tool, c.arguments) for c in answer(see(stage.prompt())).calls]


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("fetch https://example.org", "https://example.org"),
        ("please read https://example.org/a?b=c&d", "https://example.org/a?b=c&d"),
        ("Could you open the page http://example.org/x, please?", "http://example.org/x"),
        ("what is at https://example.org/?", "https://example.org/"),
        ("get `https://example.org/a b`", "https://example.org/a b"),
    ],
)
def test_an_address_is_fetched(text: str, url: str) -> None:
    assert first(text) == [("web_fetch", {"url": url})]


def test_a_search_is_made() -> None:
    assert first("search the web for red and white roses") == [
        ("web_search", {"query": "red and white roses"})
    ]


def test_a_file_is_still_a_file() -> None:
    assert first("read notes.txt") == [("read", {"path": "notes.txt"})]
    assert first("find https://x.example in notes.txt")[0][0] == "bash"
