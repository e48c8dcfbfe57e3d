"""Labels: where data came from, how far it is trusted, and who may see it (S2 to S4).

A label only rises: whatever holds several things has the join of their labels. What carries no label
at all counts as `UNKNOWN`, the worst that may still be shown to the model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Trust = Literal["owner", "self", "known", "third_party"]
"""Who decided what it says. `owner`: the owner's own words. `self`: this runtime, or files the owner
keeps. `known`: people the owner has named. `third_party`: anybody."""
Secrecy = Literal["public", "private", "secret"]

TRUST: tuple[Trust, ...] = ("owner", "self", "known", "third_party")
SECRECY: tuple[Secrecy, ...] = ("public", "private", "secret")
ORIGINS_KEPT = 16


class Label(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    trust: Trust = "third_party"
    secrecy: Secrecy = "private"
    origins: tuple[str, ...] = ()
    """Sources, `kind:detail`, e.g. `web:example.org`, `mail`, `file:notes.md`; at most ORIGINS_KEPT."""

    @property
    def tainted(self) -> bool:
        """Holds what somebody else than the owner has written."""
        return self.trust in ("known", "third_party")

    @property
    def words(self) -> str:
        """For people, e.g. `third party (web:example.org), private`."""
        trust = self.trust.replace("_", " ")
        where = f" ({', '.join(self.origins)})" if self.origins else ""
        return f"{trust}{where}, {self.secrecy}"

    def join(self, other: Label) -> Label:
        """The label of something that holds both."""
        if self is other or self == other:
            return self
        origins = self.origins + tuple(o for o in other.origins if o not in self.origins)
        joined = Label(
            trust=TRUST[max(TRUST.index(self.trust), TRUST.index(other.trust))],
            secrecy=SECRECY[max(SECRECY.index(self.secrecy), SECRECY.index(other.secrecy))],
            origins=origins[:ORIGINS_KEPT],
        )
        return self if joined == self else joined


def join(labels: Iterable[Label]) -> Label:
    """The join of many; that of none is the least label."""
    whole = LEAST
    for label in labels:
        whole = whole.join(label)
    return whole


LEAST = Label(trust="owner", secrecy="public")
OWNER = Label(trust="owner", secrecy="private")
"""What the owner says."""
SELF = Label(trust="self", secrecy="private")
"""The owner's files, and what the runtime itself says of them."""
SELF_PUBLIC = Label(trust="self", secrecy="public")
UNKNOWN = Label()
