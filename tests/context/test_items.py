"""Items that came from a snapshot are those that went into it, whenever somebody looks at them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.context.items import Items
from perdure.kernel.events import Native, Text
from perdure.kernel.prompt import AssistantItem, Item, UserItem


def item(seq: int, text: str = "x") -> UserItem:
    return UserItem(seq=seq, parts=(Text(text=text),))


def again(items: Items) -> Items:
    kept, count = items.dump()
    return Items(kept=memoryview(kept), count=count)


@given(
    st.integers(0, 30),
    st.lists(
        st.one_of(
            st.tuples(st.just("at"), st.integers(-40, 40)),
            st.tuples(st.just("cut"), st.slices(40)),
            st.tuples(st.just("append"), st.integers(100, 200)),
            st.tuples(st.just("all"), st.none()),
            st.tuples(st.just("reopen"), st.none()),
        ),
        max_size=12,
    ),
)
def test_they_are_a_list(count: int, steps: list[tuple[str, object]]) -> None:
    plain: list[Item] = [item(n, "line\\n" * (n % 3)) for n in range(count)]
    items = again(Items(plain))
    for what, how in steps:
        if what == "at" and isinstance(how, int):
            if -len(plain) <= how < len(plain):
                assert items[how] == plain[how]
            else:
                with pytest.raises(IndexError):
                    items[how]
        elif what == "cut" and isinstance(how, slice):
            assert items[how] == plain[how]
        elif what == "append" and isinstance(how, int):
            items.append(item(how))
            plain.append(item(how))
        elif what == "all":
            assert list(items) == plain and list(reversed(items)) == plain[::-1]
        elif what == "reopen":
            items = again(items)
        assert len(items) == len(plain)
    assert items == plain


def test_an_item_that_was_seen_stays_the_same_object() -> None:
    items = again(Items(item(n, "y" * 100_000) for n in range(20)))
    last, early = items[-1], items[3]
    assert items[19] is last and list(items)[3] is early and items[19] is last


def test_newlines_in_a_providers_own_json_do_not_part_an_item() -> None:
    body = msgspec.Raw(b'{"role":\n"assistant"}')
    answer = AssistantItem(seq=1, parts=(), native=Native(format="f", body=body))
    items = again(Items([item(0), answer, item(2)]))
    found = items[1]
    assert isinstance(found, AssistantItem) and found.native is not None
    assert bytes(found.native.body) == b'{"role": "assistant"}'
    assert [i.seq for i in items] == [0, 1, 2]


def test_what_is_not_looked_at_is_not_read() -> None:
    items = Items(kept=b"this is\nno JSON\n", count=2)
    items.append(item(3))
    assert len(items) == 3 and items[2] == item(3) and items[2:] == [item(3)]
    assert items.dump()[0].startswith(b"this is\nno JSON\n")
    with pytest.raises(msgspec.DecodeError):
        list(items)
