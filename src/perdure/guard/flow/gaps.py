"""A form with gaps, held against a text: in time that grows with the text, whatever is in either."""

from __future__ import annotations

import re
from collections.abc import Sequence

WIDEST = 80
"""Characters that one gap holds; at least one."""
LONGEST = 20_000
"""Characters of a text; a longer one fills no form."""

_NO_FILLING = re.compile(r"[^\w .,'&()/-]")
"""What stands in no gap."""


def merged(parts: Sequence[str]) -> list[str]:
    """What stands between the gaps. Gaps side by side are one; those at an end leave "" there."""
    return [p for n, p in enumerate(parts) if p or n in (0, len(parts) - 1)]


def fills(parts: Sequence[str], text: str) -> bool:
    """`text` is `parts` in this order, with something in each gap between them and nothing around.

    Of the ends that a part may have, only the nearest before a place counts for what comes next: from
    there the gap is shortest, and what it holds is in all the wider ones too."""
    if len(text) > LONGEST or not text.startswith(parts[0]):
        return False
    if len(parts) == 1:
        return text == parts[0]
    barred = [m.start() for m in _NO_FILLING.finditer(text)]
    ends = [len(parts[0])]
    for part in parts[1:-1]:
        ends = [at + len(part) for at in _after(ends, _places(part, text, ends), barred)]
        if not ends:
            return False
    last = len(text) - len(parts[-1])
    return text.endswith(parts[-1]) and bool(_after(ends, [last], barred))


def _places(part: str, text: str, ends: Sequence[int]) -> list[int]:
    """All at which `part` stands and which a gap could reach from the first or the last of `ends`."""
    found = []
    at = text.find(part, ends[0] + 1)
    while 0 <= at <= ends[-1] + WIDEST:
        found.append(at)
        at = text.find(part, at + 1)
    return found


def _after(ends: Sequence[int], places: Sequence[int], barred: Sequence[int]) -> list[int]:
    """Places that one gap leads to from an end. All three ascend, and are gone through once."""
    reached, end, bar = [], 0, 0
    for at in places:
        while end + 1 < len(ends) and ends[end + 1] < at:
            end += 1
        while bar < len(barred) and barred[bar] < ends[end]:
            bar += 1
        free = bar == len(barred) or barred[bar] >= at
        if free and 1 <= at - ends[end] <= WIDEST:
            reached.append(at)
    return reached
