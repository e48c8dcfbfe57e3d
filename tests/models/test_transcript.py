"""Every item is encoded once, and what was sent stays as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.kernel.errors import NotFound
from perdure.kernel.events import ArtifactId, Image, Text
from perdure.kernel.prompt import ImageSource, Item, Prefix, Prompt, UserItem
from perdure.models import transcript
from perdure.models.transcript import Passing, PrefixBytes, Transcript

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


# Pieces that outlive a transcript ----------------------------------------------------------------


def reopened(kept: Transcript, items: list[Item], encode: Encoder, key: str = "") -> Transcript:
    found = kept.keep(items, 0)
    assert found is not None
    again = Transcript(encode, key)
    again.take_up(found, items)
    return again


def test_pieces_that_were_kept_are_sent_again_and_not_encoded_again() -> None:
    items: list[Item] = [item(1, "a"), item(2, ""), item(3, "c,")]
    first, encode = Transcript(Encoder()), Encoder()
    first.sync(prompt(items))
    again = reopened(first, items, encode)
    items.append(item(4, "d"))
    assert b"".join(again.joined(prompt(items))) == b"a,c,,d"
    assert encode.seen == [4]


def test_pieces_of_another_encoding_are_not_taken_up() -> None:
    items: list[Item] = [item(1, "a")]
    first, encode = Transcript(Encoder(), "one dialect"), Encoder()
    first.sync(prompt(items))
    again = reopened(first, items, encode, "another")
    assert again.sync(prompt(items)) == [b"a"] and encode.seen == [1]


@pytest.mark.parametrize("constant", ["ENCODING", "__version__"])
def test_pieces_by_another_version_are_not_taken_up(
    monkeypatch: pytest.MonkeyPatch, constant: str
) -> None:
    items: list[Item] = [item(1, "a")]
    first, encode = Transcript(Encoder()), Encoder()
    first.sync(prompt(items))
    monkeypatch.setattr(transcript, constant, "other")
    assert reopened(first, items, encode).sync(prompt(items)) == [b"a"] and encode.seen == [1]


def test_only_the_pieces_of_the_very_items_and_revision_are_kept() -> None:
    items: list[Item] = [item(1, "a")]
    kept = Transcript(Encoder())
    kept.sync(prompt(items))
    assert kept.keep(list(items), 0) is None and kept.keep(items, 1) is None
    assert kept.keep(items, 0) is not None


def test_what_encoding_again_may_give_differently_is_not_kept() -> None:
    class Gone(ImageSource):
        def read_image(self, image: Image) -> bytes:
            raise NotFound("gone")

    picture = Image(media_type="image/png", artifact=ArtifactId("p"))

    def encode(item: Item, images: ImageSource | None) -> bytes:
        assert isinstance(item, UserItem)
        if picture in item.parts:
            assert images is not None
            with pytest.raises(NotFound):
                images.read_image(picture)
            return b"picture"
        text = Encoder()(item, images)
        return Passing(text) if text == b"once" else text

    items: list[Item] = [item(1, "a"), UserItem(seq=2, parts=(picture,)), item(3, "once")]
    items += [item(4, "b"), item(5, "two\nlines")]
    first = Transcript(encode)
    first.sync(Prompt(prefix=PREFIX, items=items, images=Gone()))
    kept = first.keep(items, 0)
    assert kept is not None and (kept.sizes, kept.body) == ([1, -1, -1, 1, -1], b"a,b")
    again = Transcript(encode)
    again.take_up(kept, items)
    body = b"".join(again.joined(Prompt(prefix=PREFIX, items=items, images=Gone())))
    assert body == b"a,picture,once,b,two\nlines"


@given(
    st.lists(st.text("ab,", max_size=9), max_size=8),
    st.lists(st.sampled_from(["more", "other", "revise", "again"]), max_size=6),
    st.integers(0, 3),
)
def test_taken_up_or_not_a_body_is_the_same(texts: list[str], steps: list[str], back: int) -> None:
    items: list[Item] = [item(n, text) for n, text in enumerate(texts)]
    first = Transcript(Encoder())
    first.sync(prompt(items))
    again, revision = reopened(first, items, Encoder()), 0
    for step in steps:
        if step == "more":
            items.append(item(99, "new"))
        elif step == "revise":
            items, revision = [item(50, "short"), *items[len(items) // 2 :]], revision + 1
        elif step == "again" and (kept := again.keep(items, revision)):
            again = Transcript(Encoder())
            again.take_up(kept, items)
        elif step == "other":
            assert again.sync(prompt([item(0, "sum up")], revision=-1)) == [b"sum up"]
            continue
        plain = [Encoder()(i, None) for i in items]
        again.sync(prompt(items, revision))
        blocks, settled = again.settled(max(0, len(items) - back))
        assert b"".join(blocks) == b",".join(filter(None, plain[:settled]))
        assert again.sync(prompt(items, revision))[settled:] == plain[settled:]
        assert b"".join(again.joined(prompt(items, revision))) == b",".join(filter(None, plain))
