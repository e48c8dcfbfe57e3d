"""The owner's words: what was said, found again as whole values, never as a piece of something longer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import msgspec

from . import days, forms, gaps
from .fold import clean, fold

MOST = 200_000
"""Characters of one message that are looked at."""
MOST_PARTS = 8
"""Pieces that the gaps of a form may leave."""
MOST_WORDS = 500
"""Words that are held against a form with letters for numbers."""
DICTATED = 20_000
"""Those that may be dictated."""

_URLS = re.compile(
    r"(?<![\w@.])(?:[a-z][a-z0-9+.-]{0,20}://|www\.)[^\s<>\"`{}|\\^]+", re.IGNORECASE
)
_ADDRESSES = re.compile(
    r"(?<![\w@/.!#$%&+^~-])[\w.!#$%&+^~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}(?![@\w])"
)
_BARE = re.compile(
    r"(?<![\w@./:-])(?:[^\W_](?:[\w-]*[^\W_])?\.)+"
    r"[^\W\d_]{2,24}(?::\d{1,5})?(?:[/?][^\s<>\"`{}|\\^]*)?(?![\w@-])"
)
_FILE = re.compile(
    r"\.(?:txt|md|pdf|docx?|xlsx?|pptx?|[ct]sv|jsonl?|ya?ml|toml|xml|html?|log|py|[jt]s|rs|go|[ch]|cpp|cc|java"
    r"|rb|pl|ps|so|mk|sh|zip|tar|gz|png|jpe?g|gif|svg|webp|mp[34]|mo[vd]|eml|ics|od[tsp]|rtf|tex|ini|cfg|conf"
    r"|sql|db)\Z",
    re.IGNORECASE,
)
"""A file's name is no host's, though a few of these are."""
_IP = re.compile(
    r"(?<![\w@./:-])(?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5})?(?:[/?][^\s<>\"`]*)?(?![\w@-])"
)
_ACCOUNTS = re.compile(r"(?<![\w-])[A-Za-z0-9]{6,40}(?![\w-])")
_GROUPED = re.compile(
    r"(?<![\w-])(?:[A-Za-z]{2}\d{2}|\d{3,5})(?:[ -](?:[A-Z]{4}(?![\w])|[A-Z]{0,8}\d[A-Z\d]{0,11}))++(?![\w-])"
)
_NUMBERS = re.compile(r"(?<![\w.,:/#%@\\-])\d+(?:[ .,'\u00a0\u202f’]\d+)*(?=(.?.?.?.?))")
_CURRENCY = re.compile(r"(?:usd|eur|gbp|chf|jpy|k[rc]|pln|€|\$|£|¥)(?!\w)", re.IGNORECASE)
_QUOTED = re.compile(r"(?<!\w)(['\"])(?! )(.{1,1500}?)(?<! )\1(?!\w)")
_FENCED = re.compile(r"```[^\n]*\n(.*?)```", re.DOTALL)
_TICKED = re.compile(r"`([^`\n]+)`")
_HOLE = re.compile(r"\{[^{}]{0,60}\}|<[^<>]{1,60}>")
_BLANKS = re.compile(r"[^\S\n\r\t ]")
_LETTER = re.compile(r"\b[knx]\b")
_WORDS = re.compile(r"\w+")
_CUES = re.compile(
    r"(?:\b(?:ids?|number|no|nr|nummer|file|event|item|ticket|issue|order|row|message)[ .:]*|#)\Z"
)
_EVERYDAY = (
    "a about all also am an and any are as at be been but by can could did do does for from get had has have "
    "he her here hey hi him his how i if in into is it its just let like make me my no not of on one or our "
    "out please she should so some than thanks that the their them then there these they this those to too "
    "up us was we were what when where which who why will with would yes you your der die das ein eine und "
    "ist ich mir mich bitte von zu mit auf den dem für le la les un une et de du des à pour el los y en"
)
_COMMON = frozenset(_EVERYDAY.split())
"""Words that are in every message: nobody is named by them."""

_RUN_ON = re.compile(
    r"((?:https?://|www\.)?[a-z0-9.-]+\.(?:com|org|net|edu|gov|io|eu|de|uk|fr|ch|at))\.[A-Z][a-z]*\Z"
)
"""A sentence that goes on without a blank: `www.example.com.Then`."""
_DELETING = re.compile(
    r"\b(?:delet|remov|cancel|eras|trash|discard|drop|wipe|purg|clear|clean|get rid|throw|uninvit|kick|unshar"
    r"|revok|lösch|entfern|absag|storn|wegwerf|supprim|effac|annul|elimin|borr|cancell|rimuov|apag|verwijder|usuń)"
)
"""Words by which something is to go. In other languages, deleting asks."""
_JOINTS = "-.@/\\'"
_END = ".,;:!?)]}'\"»”’*_"


class Said(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    """Of the owner's messages, from 1."""
    folded: str
    bare: str
    """`folded`, with addresses and URLs taken out."""
    plain: str
    """`bare`, with hyphens and underscores as blanks, as names are said."""
    lines: frozenset[str]
    """Whole lines and quoted pieces, to the letter, for commands."""
    dictated: tuple[str, ...]
    """Passages that are to be used as they are: in quotes, after a colon, in a block. Folded."""


@dataclass(slots=True)
class Words:
    said: list[Said] = field(default_factory=list)
    addresses: dict[str, int] = field(default_factory=dict)
    urls: dict[str, int] = field(default_factory=dict)
    hosts: dict[str, int] = field(default_factory=dict)
    accounts: dict[str, int] = field(default_factory=dict)
    amounts: dict[Decimal, int] = field(default_factory=dict)
    days: dict[days.Day, int] = field(default_factory=dict)
    times: dict[tuple[int, int], int] = field(default_factory=dict)

    def hear(self, text: str, at: datetime | None = None, number: int = 0) -> None:
        """One more message of the owner's. `number`: which, where not all are heard."""
        number = number or len(self.said) + 1
        text = _BLANKS.sub(" ", clean(unicodedata.normalize("NFC", text[:MOST])))
        rest = text
        for found in urls_in(text):
            rest = rest.replace(found, " \0 ")
            if (known := forms.url(found)) is not None:
                self.urls.setdefault(known, number)
                self.hosts.setdefault(forms.host_of(known), number)
        for m in _ADDRESSES.finditer(rest):
            if (known := forms.address(m[0])) is not None:
                self.addresses.setdefault(known, number)
        rest = _ADDRESSES.sub(" \0 ", rest)
        for known in _accounts(rest):
            self.accounts.setdefault(known, number)
        numbers = fold(_GROUPED.sub(_hidden, rest))
        folded, bare = fold(text), fold(rest)
        for day in days.days(bare, at):
            self.days.setdefault(day, number)
        for time in days.times(bare):
            self.times.setdefault(time, number)
        for value in _amounts(numbers):
            self.amounts.setdefault(value, number)
        self.said.append(
            Said(
                number=number, folded=folded, bare=bare, plain=plain(bare),
                lines=frozenset(_lines(text)), dictated=tuple(_dictated(text)),
            )
        )  # fmt: skip

    def name(self, value: str) -> int | None:
        """Message in which somebody or something is called exactly so."""
        wanted = fold(value).lstrip("#@").strip()
        if len(wanted) < 2 or wanted in _COMMON or not _WORDS.search(wanted):
            return None
        if wanted.isdigit() and len(wanted) < 6:
            return None
        return next((s.number for s in self.said if whole(wanted, s.bare)), None)

    def title(self, name: str) -> int | None:
        """Message that holds the name of a file or an event, as `plain` gives it."""
        if len(name) < 4 or name in _COMMON or name.isdigit():
            return None
        return next((s.number for s in self.said if whole(name, s.plain)), None)

    def text(self, value: str) -> int | None:
        """Message that holds these very words in a row, or a form with gaps into which they fit."""
        wanted = fold(value).strip(_END + " ")
        if not _WORDS.search(wanted) or wanted in _COMMON:
            return None
        for said in self.said:
            if whole(wanted, said.folded) or any(fits(p, wanted) for p in said.dictated):
                return said.number
        return None

    def identifier(self, value: str) -> int | None:
        """Message that holds this very token. A short number is one only if it is called one."""
        wanted = fold(value)
        if not wanted or " " in wanted or wanted in _COMMON:
            return None
        if wanted.isdigit() and len(wanted) < 6:
            for said in self.said:
                for at in _places(wanted, said.bare):
                    around = said.bare[at - 1 : at] + said.bare[at + len(wanted) :][:1]
                    if _CUES.search(said.bare[:at]) or around in ("''", '""'):
                        return said.number
            return None
        return next((s.number for s in self.said if whole(wanted, s.bare)), None)

    def path(self, value: str) -> int | None:
        wanted = forms.path(value)
        if wanted is None or wanted in ("/", "."):
            return None
        wanted = fold(wanted).removesuffix("/")
        return next(
            (s.number for s in self.said if whole(wanted, s.folded, joints="-.@/\\~")), None
        )

    def command(self, value: str) -> int | None:
        wanted = " ".join(value.split())
        return next((s.number for s in self.said if wanted and wanted in s.lines), None)

    def dictated(self, value: str) -> int | None:
        """Message with a passage that holds all of this text."""
        wanted = fold(value)
        for said in self.said:
            if any(fits(passage, wanted) for passage in said.dictated):
                return said.number
        return None


def plain(folded: str) -> str:
    return " ".join(folded.replace("-", " ").replace("_", " ").split())


def urls_in(text: str) -> list[str]:
    """As they stand, longest first."""
    found: list[str] = []
    if "." not in text and "://" not in text:
        return found
    for pattern in (_URLS, _BARE, _IP):
        if pattern is _URLS and "://" not in text and "www." not in text.lower():
            continue
        for m in pattern.finditer(text):
            one = m[0].rstrip(_END)
            if run_on := _RUN_ON.match(one):
                one = run_on[1]
            if pattern is _BARE and "/" not in one and _FILE.search(one):
                continue
            if one.count("(") > one.count(")") and m[0][len(one) :].startswith(")"):
                one += ")"
            found.append(one)
    return sorted(set(found), key=len, reverse=True)


def deleting(text: str) -> bool:
    """Does this ask for something to go?"""
    return _DELETING.search(fold(text)) is not None


def addresses_in(text: str) -> Iterator[str]:
    return (m[0] for m in _ADDRESSES.finditer(text)) if "@" in text else iter(())


def accounts_in(text: str) -> set[str]:
    return set(_accounts(text))


def whole(wanted: str, text: str, *, joints: str = _JOINTS) -> bool:
    """`wanted` stands in `text`, and is not a piece of a longer word, name or path."""
    return wanted in text and any(True for _ in _places(wanted, text, joints))


def _places(wanted: str, text: str, joints: str = _JOINTS) -> Iterator[int]:
    at = text.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        if not _joined(text[:at][-2:][::-1], joints) and not _joined(
            text[end : end + 2], joints.replace("'", "")
        ):
            yield at
        at = text.find(wanted, at + 1)


def _joined(beside: str, joints: str) -> bool:
    """`beside`: the two characters next to a place, the nearer first."""
    if not beside:
        return False
    near, far = beside[0], beside[1:]
    if near.isalnum() or near == "_":
        return True
    if near in "@/\\" and near in joints:
        # `@bob` and `#general` are ways to name; `x@bob` and `a/bob` are something else.
        return near != "@" or bool(far.strip())
    return near in joints and bool(far) and (far.isalnum() or far in "._-@/")


def fits(passage: str, wanted: str) -> bool:
    """All of `wanted` is from this passage, but for gaps that the owner left: `{name}`, or a letter by itself
    where a number belongs (`the k-th`). Both folded."""
    if wanted in passage and _WORDS.search(wanted) and whole(wanted, passage):
        return True
    if ("{" in passage or "<" in passage) and _HOLE.search(passage):
        parts = gaps.merged(_HOLE.split(passage.rstrip(".,;:!? ")))
        if len(parts) > MOST_PARTS or sum(c.isalnum() for p in parts for c in p) < 3:
            return False
        return gaps.fills(parts, wanted) and all(url in passage for url in urls_in(wanted))
    if not _LETTER.search(passage) or not any(c.isdigit() for c in wanted):
        return False
    mine, theirs = _WORDS.findall(wanted), _WORDS.findall(passage)
    if not 2 <= len(mine) <= min(len(theirs), MOST_WORDS):
        return False
    return (
        any(
            all(_stands_for(t, m) for m, t in zip(mine, theirs[at:], strict=False))
            for at in range(len(theirs) - len(mine) + 1)
        )
        and sum(m.isdigit() for m in mine) <= len(mine) // 2
    )


def _stands_for(said: str, used: str) -> bool:
    return said == used or (len(said) == 1 and said in "knx" and used.isdigit() and len(used) <= 3)


def _hidden(found: re.Match[str]) -> str:
    """The digits of an account are no amounts."""
    return " \0 " if _long(found[0]) else found[0]


def _long(group: str) -> bool:
    return sum(c.isalnum() for c in group) >= 8


def _accounts(text: str) -> Iterator[str]:
    for pattern in (_ACCOUNTS, _GROUPED):
        for m in pattern.finditer(text):
            if (known := forms.account(m[0])) is not None and (pattern is _ACCOUNTS or _long(m[0])):
                yield known


def _amounts(folded: str) -> Iterator[Decimal]:
    for m in _NUMBERS.finditer(days.without(folded)):
        after = m[1].lstrip()
        if after[:1] == "%" or (m[1][:1] in ("%", "/", ":") and m[1][1:2].isdigit()):
            continue
        if m[1][:1].isalnum() and not _CURRENCY.match(m[1]):
            continue
        whole_number = forms.written(m[0])
        for piece in [m[0]] if whole_number is not None else m[0].split():
            if (value := forms.written(piece.strip(",.' "))) is not None:
                yield value


def _lines(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        plain = " ".join(line.split())
        if plain:
            yield plain
            yield plain.removeprefix("$ ")
            before, colon, after = plain.partition(": ")
            if colon and before:
                yield after
    for m in _TICKED.finditer(text):
        yield " ".join(m[1].split())


def _dictated(text: str) -> Iterator[str]:
    text = text[:DICTATED]
    for m in _FENCED.finditer(text):
        yield fold(m[1])
    paragraphs = re.split(r"\n\s*\n", text)
    for n, paragraph in enumerate(paragraphs):
        whole_paragraph = fold(paragraph)
        for m in _QUOTED.finditer(whole_paragraph):
            yield m[2]
        for line in paragraph.split("\n"):
            at = line.find(": ")
            if at > 0 and len(line) > at + 2:
                yield fold(line[at + 2 :])
        first, colon, rest = paragraph.partition(":\n")
        if colon and first and rest.strip():
            yield fold(rest)
        if paragraph.rstrip().endswith(":") and n + 1 < len(paragraphs):
            yield fold(paragraphs[n + 1])
