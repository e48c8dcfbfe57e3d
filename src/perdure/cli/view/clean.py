"""Makes text from outside harmless to a terminal.

Invariant: nothing a model, a tool or a sender wrote reaches the terminal but through here. An escape
sequence could repaint an approval, set the clipboard or answer for the owner.

`exact` is for what a person decides on or trusts as it stands: commands, diffs, subjects, rules. It takes
nothing away and interprets nothing. `clean` is for what is only read: it reads escape sequences and
carriage returns as a terminal would, and so can hide what they hide.
"""

from __future__ import annotations

import re
import unicodedata

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC; never beyond its line
    r"|\x1b[ -/]*[0-~]"  # two-character escapes
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_INVISIBLE = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_PLAIN = re.compile(r"[\n\t -~]*")
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"))
"""Unicode categories of what shows as nothing, as a blank, or in no known way."""
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks that show as nothing (Default_Ignorable_Code_Point of other categories) or blank."""


def clean(text: str) -> str:
    """Text for a person: no control characters but newline and tab. What only changes how text looks
    (direction overrides, zero-width characters) is shown as its code point, since it can make a
    command read as another. Joiners within emoji and scripts stay."""
    text = text.replace("\r\n", "\n")
    if "\x1b" in text or "\x9b" in text:
        text = _SEQUENCES.sub("", text)
    if "\r" in text:
        # A progress bar overwrites its line: keep what would have stayed visible.
        text = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    text = _CONTROLS.sub("�", text)
    text = _INVISIBLE.sub(lambda m: f"⟨U+{ord(m[0]):04X}⟩", text)
    return _SURROGATES.sub("�", text)


def exact(text: str) -> str:
    """All of a text, with every character seen: line feeds and tabs stay, other control characters
    become their pictures (␛, ␍), and what cannot be told from nothing or from a blank its code point."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(map(_seen, text))


def exact_line(text: str) -> str:
    """`exact` on one line, line feeds and tabs as ⏎ and ␉."""
    return exact(text).replace("\n", "⏎").replace("\t", "␉")


def _seen(char: str) -> str:
    code = ord(char)
    if 0x20 <= code < 0x7F or char in "\n\t":
        return char
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if unicodedata.category(char) in _UNSEEN or _BLANK.match(char):
        return f"⟨U+{code:04X}⟩"
    return char


def one_line(text: str) -> str:
    """Cleaned, on one line."""
    return " ".join(clean(text).split())
