"""Every item is encoded once, and what was sent stays as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.kernel.events import Text
from perdure.kernel.prompt import ImageSource, Item, Prefix, Prompt, UserItem
from perdure.models import transcript
from perdure.models.transcript import PrefixBytes, Transcript

PREFIX = Prefix(system="", digest="d")


def item(seq: int, text: str = "x") -> UserItem:
    return UserItem(seq=seq, parts=(Text(text=text),))


def prompt(items: list[Item], revision: int = 0) -> Prompt:
    return Prompt(prefix=PREFIX, items=items, revision=revision)


class Encoder:
    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, item: Item, images: ImageSource | None) -> bytes:
        self.seen.append(item.seq)
        assert isinstance(item, UserItem)
        return b"".join(p.text.encode() for p in item.parts if isinstance(p, Text))


def test_an_appended_item_is_the_only_one_encoded() -> None:
    encode = Encoder()
    kept = Transcript(encode)
    items: list[Item] = [item(1, "a"), item(2, "b")]
    kept.sync(prompt(items))
    items.append(item(3, "c"))
    assert kept.sync(prompt(items)) == [b"a", b"b", b"c"]
    assert encode.seen == [1, 2, 3]


def test_after_a_revision_only_replaced_items_are_encoded_again() -> None:
    encode = Encoder()
    kept = Transcript(encode)
    one, two, three = item(1, "a"), item(2, "b"), item(3, "c")
    kept.sync(prompt([one, two, three]))
    assert kept.sync(prompt([item(9, "short"), two, three], revision=1)) == [b"short", b"b", b"c"]
    assert encode.seen == [1, 2, 3, 9]


def test_a_prompt_of_another_kind_in_between_does_not_disturb() -> None:
    kept = Transcript(Encoder())
    items: list[Item] = [item(1, "a"), item(2, "b"), item(3, "c")]
    kept.sync(prompt(items))
    assert kept.sync(prompt([item(0, "sum up")], revision=-1)) == [b"sum up"]
    assert kept.sync(prompt([items[0], item(4, "task")])) == [b"a", b"task"]
    items.append(item(5, "d"))
    assert kept.sync(prompt(items)) == [b"a", b"b", b"c", b"d"]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "BLOCK_BYTES", 12)


@given(
    st.lists(
        st.tuples(
            st.lists(st.text("ab", max_size=9), max_size=4), st.booleans(), st.integers(0, 3)
        ),
        max_size=12,
    )
)
def test_a_body_is_always_the_pieces_joined(steps: list[tuple[list[str], bool, int]]) -> None:
    kept = Transcript(Encoder())
    items: list[Item] = []
    revision = 0
    for texts, replaces, back in steps:
        items = [*items, *(item(n, text) for n, text in enumerate(texts))]
        if replaces and items:
            items[-1 - min(back, len(items) - 1)] = item(99, "new")
            revision += 1
        given = prompt(items, revision)
        plain = [Encoder()(i, None) for i in items]
        assert kept.sync(given) == plain
        blocks, settled = kept.settled(max(0, len(items) - back))
        assert settled <= max(0, len(items) - back)
        assert b"".join(blocks) == b",".join(filter(None, plain[:settled]))
        assert b"".join(kept.joined(given)) == b",".join(filter(None, plain))


def test_a_long_history_is_sent_as_it_lies() -> None:
    kept = Transcript(Encoder())
    items: list[Item] = [item(n, "abcdef") for n in range(10)]
    before = kept.joined(prompt(items))
    items.append(item(10, "end"))
    after = kept.joined(prompt(items))
    assert after[0] is before[0]
    assert b"".join(after) == b"".join(before) + b",end"


def test_a_prefix_is_encoded_once_for_its_digest() -> None:
    seen: list[str] = []

    def encode(prefix: Prefix) -> bytes:
        seen.append(prefix.system)
        return prefix.system.encode()

    kept = PrefixBytes(encode)
    assert kept.of(Prefix(system="one", digest="1")) == b"one"
    assert kept.of(Prefix(system="one", digest="1")) == b"one"
    assert kept.of(Prefix(system="two", digest="2")) == b"two"
    assert seen == ["one", "two"]
