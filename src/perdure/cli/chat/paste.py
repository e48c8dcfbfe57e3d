"""Long pastes are folded in the input line and unfolded when the message is sent: an editor line of
10,000 lines helps nobody."""

from __future__ import annotations

import re

LINES = 10
CHARS = 2_000


class Pastes:
    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def fold(self, text: str) -> str:
        """What to put into the input line for a pasted text."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        lines = text.rstrip("\n").count("\n") + 1
        if lines <= LINES and len(text) <= CHARS:
            return text
        number = len(self._texts) + 1
        size = f"{lines:,} lines" if lines > 1 else f"{len(text):,} characters"
        mark = f"[paste {number}: {size}]"
        self._texts[mark] = text
        return mark

    def refold(self, text: str) -> str:
        """`text` with what was pasted into it folded again, to be shown."""
        for mark, pasted in self._texts.items():
            text = text.replace(pasted, mark)
        return text

    def unfold(self, text: str) -> str:
        if not self._texts:
            return text
        known = "|".join(map(re.escape, self._texts))
        return re.sub(known, lambda found: self._texts[found[0]], text)
