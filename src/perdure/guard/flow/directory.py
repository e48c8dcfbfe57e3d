"""Whom and what the owner has approved once and for all: the content of `trust.yaml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from . import forms
from .fold import disguise


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Keys in the form that `forms` gives them, with the place they stand at (`trust.yaml:3`)."""

    addresses: Mapping[str, str] = field(default_factory=dict)
    domains: Mapping[str, str] = field(default_factory=dict)
    """Of mail addresses: this very domain, none below it."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    accounts: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    """A file, or a folder and all in it."""
    contacts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Folded name to addresses and accounts, approved when the owner speaks of that name."""
    lists: Mapping[str, str] = field(default_factory=dict)
    """Tools: the people and places that their results list are approved as recipients."""
    people: Mapping[str, str] = field(default_factory=dict)
    """`SOURCE:SENDER` of messages, to the name of whom the owner knows by it. Approves no destination."""

    def address(self, known: str) -> str:
        """Where it is approved; empty: nowhere."""
        return self.addresses.get(known) or self.domains.get(known.rpartition("@")[2], "")

    def host(self, known: str) -> str:
        return self.hosts.get(known, "")

    def person(self, source: str, sender: str) -> str:
        """Whose message that is; empty: nobody's whom the owner knows."""
        kind = source.partition(":")[0]
        return self.people.get(canonical("people", f"{kind}:{sender}") or "", "")

    def whose(self, known: str) -> str:
        """Whose address or account that is; empty: of nobody whom the owner knows."""
        for sender, name in self.people.items():
            if sender.partition(":")[2] == known:
                return name
        return next((name for name, entries in self.contacts.items() if known in entries), "")

    def path(self, known: str) -> str:
        for path, where in self.paths.items():
            if known == path or known.startswith(path.removesuffix("/") + "/"):
                return where
        return ""


EMPTY = Directory()

KEYS = ("addresses", "domains", "hosts", "accounts", "paths", "contacts", "lists", "people")
NAMED = ("contacts", "people")
"""Keys under which names stand, with what belongs to each."""
_SENDER = re.compile(r"([a-z][a-z0-9_-]*):(\S(?:.{0,198}\S)?)")


def canonical(key: str, value: str) -> str | None:
    """An entry's form under this key; None: it is none."""
    if disguise(value):
        return None
    if key == "addresses":
        return forms.address(value) if "<" not in value else None
    if key == "domains":
        known = forms.host(value.removeprefix("@"))
        return known if known and "." in known else None
    if key == "hosts":
        at = forms.url(value) if "/" not in value else None
        return forms.host_of(at) if at else None
    if key == "accounts":
        return forms.account(value)
    if key == "paths":
        return forms.path(value) if value.startswith(("/", "~")) and value != "/" else None
    if key == "lists":
        return value if value.isidentifier() or value.replace("-", "_").isidentifier() else None
    if key == "people":
        found = _SENDER.fullmatch(value) if value.isprintable() else None
        if found is None:
            return None
        known = forms.address(found[2]) if "<" not in found[2] else None
        return f"{found[1]}:{known or found[2]}"
    return forms.address(value) or forms.account(value)
