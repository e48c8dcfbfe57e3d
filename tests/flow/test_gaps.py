"""Forms with gaps that the owner gave, and the texts that fill them."""

from __future__ import annotations

import random
import re
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from perdure.guard.flow import gaps
from perdure.guard.flow.words import MOST_PARTS, fits


@pytest.fixture(autouse=True)
def never_hangs() -> Iterator[None]:
    """What takes for ever fails; nothing here is near that."""

    def late(_: int, __: FrameType | None) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def steps(parts: list[str], text: str) -> tuple[bool, int]:
    """The answer, and the places that were looked at for it."""
    seen, real = 0, gaps._after

    def counted(ends: list[int], places: list[int], barred: list[int]) -> list[int]:
        nonlocal seen
        seen += len(ends) + len(places) + len(barred)
        return real(ends, places, barred)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gaps, "_after", counted)
        return gaps.fills(parts, text), seen


def test_gaps_side_by_side_are_one() -> None:
    assert not fits("abc<div><span><b><i><u><a>", "abc" + 260 * "a" + "~")
    assert not fits("abc" + 10 * "<a>" + "z", "abc" + 5_000 * "a" + "~")
    assert fits("dear {first}{last}, welcome", "dear ada, welcome")


def test_ten_gaps_and_a_long_text_take_as_many_steps_as_they_are_long() -> None:
    parts = ["abc", *9 * ["a"], ""]
    for end in ("", "~"):
        text = "abc" + 5_000 * "a" + end
        found, taken = steps(parts, text)
        assert not found and taken <= 4 * len(parts) * len(text)
    assert not fits("abc" + "<x> a " * (MOST_PARTS - 2) + "<x>", "abc" + 2_500 * " a" + "~")


def test_a_form_with_too_many_gaps_or_a_text_too_long_fits_nothing() -> None:
    many = "abc" + "<x>-" * MOST_PARTS
    assert not fits(many, "abc" + "1-" * MOST_PARTS)
    assert fits("abc" + "<x>-" * (MOST_PARTS - 1), "abc" + "1-" * (MOST_PARTS - 1))
    head = "b~" * (gaps.LONGEST // 2)
    assert gaps.fills(["", head[:-2], ""], f"x{head[:-2]}") is False
    assert gaps.fills(["a", head], f"a1{head}") is False
    assert gaps.fills(["a", head[:-2]], f"a{head[:-2]}") is False
    assert gaps.fills(["", head[:-2]], f"x{head[:-2]}")


def test_words_with_letters_for_numbers_are_held_against_no_endless_text() -> None:
    assert fits("move to the k-th row", "move to the 4-th row")
    assert not fits("k a " * 5_000, "1 a " * 2_500 + "b")


@pytest.mark.parametrize("seed", range(4))
def test_it_says_what_the_same_pattern_says(seed: int) -> None:
    pick = random.Random(seed)
    for _ in range(500):
        count = pick.randint(1, 4)
        parts = ["".join(pick.choices("ab~", k=pick.randint(1, 3))) for _ in range(count)]
        parts = [pick.choice(["", "a"]), *parts, pick.choice(["", "b"])]
        filling = [
            "".join(pick.choices("ab~", [4, 4, 0.3], k=pick.choice([0, 1, 2, 79, 80, 81])))
            for _ in parts
        ]
        text = "".join(p + f for p, f in zip(parts, [*filling[:-1], ""], strict=True))
        pattern = r"[\w .,'&()/-]{1,80}?".join(map(re.escape, parts))
        assert gaps.fills(parts, text) == (re.fullmatch(pattern, text) is not None), (parts, text)
