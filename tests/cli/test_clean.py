"""Text from outside cannot act on the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.cli.view.clean import clean, one_line


@pytest.mark.parametrize(
    ("dirty", "harmless"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]52;c;cm0gLXJm\x07clip", "clip"),
        ("\x1b]0;title\x1b\\x", "x"),
        ("a\x1b[2J\x1b[1;1Hb", "ab"),
        ("\x9b31mred", "red"),
        ("10%\r50%\r100%\n", "100%\n"),
        ("dos\r\nline", "dos\nline"),
        ("bell\x07 back\x08", "bell� back�"),
        ("rm ‮txt.exe", "rm ⟨U+202E⟩txt.exe"),
        ("zero​width", "zero⟨U+200B⟩width"),
        ("family 👩‍👩‍👧 नमस्ते", "family 👩‍👩‍👧 नमस्ते"),
        ("half \ud800 pair", "half � pair"),
    ],
)
def test_what_could_act_or_mislead_is_removed_or_made_visible(dirty: str, harmless: str) -> None:
    assert clean(dirty) == harmless


@given(st.text(st.characters(codec=None)))
def test_no_control_character_but_newline_and_tab_survives(text: str) -> None:
    left = clean(text)
    assert all(c in "\n\t" or (ord(c) >= 0x20 and not 0x7F <= ord(c) < 0xA0) for c in left)
    left.encode()
    assert "\n" not in one_line(text)
