"""Makes text from outside harmless to a terminal.

Invariant: nothing a model, a tool or a sender wrote reaches the terminal but through here. An escape
sequence could repaint an approval, set the clipboard or answer for the owner.
"""

from __future__ import annotations

import re

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # OSC, DCS, SOS, PM, APC with their payload
    r"|\x1b[ -/]*[0-~]"  # two-character escapes
    r"|\x9b[0-?]*[ -/]*[@-~]",
    re.DOTALL,
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_INVISIBLE = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
_SURROGATES = re.compile("[\ud800-\udfff]")


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


def one_line(text: str) -> str:
    """Cleaned, on one line."""
    return " ".join(clean(text).split())
