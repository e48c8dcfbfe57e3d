"""Characters: the one form of a text in which it is compared, and what makes a text a disguise.

Two things are told apart. `fold` takes away differences that no person sees and no service heeds (case,
compatibility forms, invisible characters), for texts that are searched. A destination is never compared
after its look alone: `disguise` says when a value is written so that it looks like another, and such a value
is nobody's words.
"""

from __future__ import annotations

import unicodedata

_QUOTES = str.maketrans({
    "\u2018": "'", "\u2019": "'", "\u201b": "'", "\u02bc": "'", "\u0060": "'", "\u00b4": "'",
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u201f": '"', "\u00ab": '"', "\u00bb": '"',
    "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2212": "-",
})  # fmt: skip

_DRAWN_ALIKE = (
    "а=a в=b г=r е=e з=3 к=k м=m н=h о=o р=p с=c т=t у=y х=x ѕ=s і=i ї=i ј=j ԁ=d ԛ=q ԝ=w һ=h ь=b "
    "ӏ=l ց=g ո=n ս=u օ=o հ=h ա=w զ=q α=a β=b γ=y ε=e η=n ι=i κ=k ν=v ο=o ρ=p σ=o τ=t υ=u χ=x ω=w "
    "ϲ=c ϳ=j μ=u ᴀ=a ʙ=b ᴄ=c ᴅ=d ᴇ=e ɢ=g ʜ=h ɪ=i ᴊ=j ᴋ=k ʟ=l ᴍ=m ɴ=n ᴏ=o ᴘ=p ʀ=r ꜱ=s ᴛ=t ᴜ=u ᴠ=v "
    "ᴡ=w ʏ=y ᴢ=z ɑ=a ɡ=g ı=i ł=l ø=o đ=d ħ=h ß=ss æ=ae œ=oe"
)
_LIKE_LATIN = str.maketrans(dict(pair.split("=") for pair in _DRAWN_ALIKE.split()))
_ALIKE = str.maketrans("01|!5$", "oliiss")
"""Among plain letters and digits."""

_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")
"""Seen as nothing, without being called so by Unicode."""


def _invisible(char: str) -> bool:
    kind = unicodedata.category(char)
    if kind in ("Cf", "Co", "Cs", "Cn") or char in _BLANK:
        return True
    if kind == "Cc":
        return char not in "\t\n\r"
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


def clean(text: str) -> str:
    """Without characters that show nothing."""
    if text.isascii() and text.isprintable():
        return text
    gone = [c for c in set(text) if _invisible(c)]
    return text.translate({ord(c): None for c in gone}) if gone else text


def fold(text: str) -> str:
    """For searching: compatibility forms, case, quotes and runs of blanks made one. Idempotent."""
    if not text.isascii():
        for _ in range(4):  # a fold can uncover what another step folds again
            folded = unicodedata.normalize("NFKC", clean(text).translate(_QUOTES)).casefold()
            if folded == text:
                break
            text = folded
    else:
        text = clean(text).lower().replace("`", "'")
    return " ".join(text.split())


def skeleton(text: str) -> str:
    """What it looks like: texts that can be mistaken for each other have the same. Never an equality of
    destinations, only a reason to warn."""
    bare = unicodedata.normalize("NFKD", fold(text).translate(_LIKE_LATIN))
    bare = "".join(c for c in bare if not unicodedata.combining(c)).translate(_LIKE_LATIN)
    return bare.translate(_ALIKE).replace("rn", "m").replace("vv", "w").replace("cl", "d")


def _script(char: str) -> str:
    if char.isascii():
        return "LATIN" if char.isalpha() else ""
    if not char.isalpha():
        return ""
    name = unicodedata.name(char, "UNKNOWN").split(" ", 1)[0]
    return "CJK" if name in ("HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO") else name


def disguise(value: str) -> str:
    """How a value hides what it is; empty: it does not."""
    if value.isascii():
        return "" if value.isprintable() or clean(value) == value else "holds control characters"
    if clean(value) != value:
        return "holds invisible characters"
    if any(
        unicodedata.category(c) in ("Zl", "Zp") or (c.isspace() and not c.isascii()) for c in value
    ):
        return "holds unusual blanks"
    composed = unicodedata.normalize("NFC", value).translate(_QUOTES)
    if unicodedata.normalize("NFKC", composed) != composed:
        return "holds characters in disguise"
    for word in value.replace("@", " ").replace(".", " ").replace("/", " ").split():
        scripts = {s for c in word if (s := _script(c))}
        if len(scripts) > 1 and not scripts <= {"LATIN", "CJK"}:
            return "mixes alphabets within a word"
    return ""
