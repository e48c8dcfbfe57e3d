"""Text from outside cannot act on the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.cli.view.clean import clean, exact, exact_line, one_line


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
        ("no end \x1b]0;title\nnext line", "no end \nnext line"),
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


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("touch PWNED #\rls -la", "touch PWNED #␍ls -la"),
        ("ls #\x1b]\ntouch PWNED", "ls #␛]\ntouch PWNED"),
        ("ls\x1b[8m; rm x", "ls␛[8m; rm x"),
        ("\x9b2Kx\x7f", "⟨U+009B⟩2Kx␡"),
        ("rm \u202etxt.exe", "rm ⟨U+202E⟩txt.exe"),
        (
            "rm -rf\u00a0x\u3164\u00ad\u034f\u2800",
            "rm -rf⟨U+00A0⟩x⟨U+3164⟩⟨U+00AD⟩⟨U+034F⟩⟨U+2800⟩",
        ),
        ("a\u2028b\u200dc", "a⟨U+2028⟩b⟨U+200D⟩c"),
        ("half \ud800 pair", "half ⟨U+D800⟩ pair"),
        ("ls 你好 🌊 é\tx", "ls 你好 🌊 é\tx"),
    ],
)
def test_exact_shows_every_character_and_interprets_none(written: str, seen: str) -> None:
    assert exact(written) == seen


@given(st.text(st.characters(codec=None)))
def test_exact_loses_nothing_and_lets_nothing_act(text: str) -> None:
    left = exact(text)
    assert len(left) >= len(text)
    assert left == exact(left)
    assert all(c in "\n\t" or (ord(c) >= 0x20 and not 0x7F <= ord(c) < 0xA0) for c in left)
    assert not set("\n\t") & set(exact_line(text))
