"""A label in plain words: `private data from notes.md, plus text from web:example.org`."""

from __future__ import annotations

from perdure.kernel.labels import Label

FOREIGN = frozenset(("web", "mail", "mcp", "webhook", "gateway", "group", "agent", "api", "token"))
"""Kinds of origins where others write; the rest is the owner's own."""
NAMED = 5
"""Origins that are named one by one."""


def data_words(label: Label) -> str:
    """What data of this label is, for its owner."""
    own = [_name(o) for o in label.origins if not _foreign(o)]
    foreign = [o for o in label.origins if _foreign(o)]
    text = {"public": "public data", "private": "private data", "secret": "SECRET data"}[
        label.secrecy
    ]
    if own:
        text += f" from {_listed(own)}"
    if foreign:
        return f"{text}, plus text from {_listed(foreign)}"
    return f"{text}, plus text that others wrote" if label.tainted else text


def _foreign(origin: str) -> bool:
    return origin.partition(":")[0] in FOREIGN


def _name(origin: str) -> str:
    """Files by their name alone, others as they are."""
    kind, colon, detail = origin.partition(":")
    return detail if colon and detail and kind == "file" else origin


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED
    shown = names[:NAMED] + ([f"{more} more"] if more > 0 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
