"""Days and times of day, as people and tools write them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

Day = tuple[int | None, int, int]
"""Year (None: not said), month, day."""

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar", "february feb februar", "march mar märz", "april apr", "may mai",
            "june jun juni", "july jul juli", "august aug", "september sep sept", "october oct oktober okt",
            "november nov", "december dec dezember dez",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DAYS = re.compile(
    rf"""(?<![\w.-])(?:
      (?P<y>\d{{4}})-(?P<m>\d{{1,2}})-(?P<d>\d{{1,2}})(?![\d-])
    | (?P<dd>\d{{1,2}})(?:st|nd|rd|th|\.)?\ (?:of\ )?(?P<mm>{_MONTH})\b\.?(?:,?\ (?P<yy>\d{{4}})\b)?
    | (?P<mn>{_MONTH})\b\.?\ (?:the\ )?(?P<dn>\d{{1,2}})(?:st|nd|rd|th)?\b(?!:)(?:,?\ (?P<yn>\d{{4}})\b)?
    | (?P<a>\d{{1,2}})(?P<sep>[./])(?P<b>\d{{1,2}})(?P=sep)(?P<yb>\d{{4}})(?!\d)
    )""",
    re.VERBOSE,
)
_UNTIL = re.compile(
    r"\ ?(?:-|to|until|till|through|and|bis)\ (?:the\ )?(\d{1,2})(?:st|nd|rd|th)?\b(?![:.]\d)"
)
_TIMES = re.compile(r"(?<![\w:.])(\d{1,2}):(\d{2})(?::\d{2})?\s?(am|pm|a\.m\.|p\.m\.)?(?![\w:])")
_HOURS = re.compile(r"(?<![\w:.])(\d{1,2})\s?(am|pm|a\.m\.|p\.m\.)(?!\w)")


def without(folded: str) -> str:
    """Days and times taken out, so that their digits are not taken for amounts."""
    for pattern in (_DAYS, _TIMES, _HOURS):
        folded = pattern.sub(" \0 ", folded)
    return folded


def days(folded: str, at: datetime | None = None) -> set[Day]:
    """`at`: when it was written, for `today` and weekdays."""
    found: set[Day] = set()
    for m in _DAYS.finditer(folded):
        if m["y"]:
            read = [(int(m["y"]), int(m["m"]), int(m["d"]))]
        elif m["a"]:
            first, second, year = int(m["a"]), int(m["b"]), int(m["yb"])
            read = [(year, second, first)]
            if m["sep"] == "/":
                read.append((year, first, second))
        else:
            year_said = m["yy"] or m["yn"]
            month = _MONTHS[m["mm"] or m["mn"]]
            day: Day = (int(year_said) if year_said else None, month, int(m["dd"] or m["dn"]))
            found |= {day} if _possible(day) else set()
            if (rest := _UNTIL.match(folded, m.end())) and _possible(
                until := (day[0], month, int(rest[1]))
            ):
                found.add(until)
            continue
        found |= {d for d in read if _possible(d)}
    return found | (_relative(folded, at) if at is not None else set())


def _relative(folded: str, at: datetime) -> set[Day]:
    words = set(re.findall(r"[a-z]+", folded))
    ahead = {d for d, name in enumerate(("today", "tomorrow")) if name in words}
    ahead |= {0} if "tonight" in words else set()
    for number, name in enumerate(_WEEKDAYS):
        if name in words:
            ahead.add((number - at.weekday() - 1) % 7 + 1)
    return {(d.year, d.month, d.day) for n in ahead for d in (at + timedelta(days=n),)}


def _possible(day: Day) -> bool:
    return 1 <= day[1] <= 12 and 1 <= day[2] <= 31


def same_day(value: Day, known: Day) -> bool:
    return value[1:] == known[1:] and (value[0] == known[0] or known[0] is None)


def times(folded: str) -> set[tuple[int, int]]:
    found = set()
    for m in _TIMES.finditer(folded):
        found.add((_hour(int(m[1]), m[3]), int(m[2])))
    for m in _HOURS.finditer(folded):
        found.add((_hour(int(m[1]), m[2]), 0))
    return found


def _hour(hour: int, half: str | None) -> int:
    if half and half[0] == "p" and hour < 12:
        return hour + 12
    return 0 if half and half[0] == "a" and hour == 12 else hour
