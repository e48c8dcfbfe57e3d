"""Whom and what the owner has approved once and for all: the content of `trust.yaml`."""

from __future__ import annotations

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

    def address(self, known: str) -> str:
        """Where it is approved; empty: nowhere."""
        return self.addresses.get(known) or self.domains.get(known.rpartition("@")[2], "")

    def host(self, known: str) -> str:
        return self.hosts.get(known, "")

    def path(self, known: str) -> str:
        for path, where in self.paths.items():
            if known == path or known.startswith(path.removesuffix("/") + "/"):
                return where
        return ""


EMPTY = Directory()

KEYS = ("addresses", "domains", "hosts", "accounts", "paths", "contacts", "lists")


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
        found = forms.url(value) if "/" not in value else None
        return forms.host_of(found) if found else None
    if key == "accounts":
        return forms.account(value)
    if key == "paths":
        return forms.path(value) if value.startswith(("/", "~")) and value != "/" else None
    if key == "lists":
        return value if value.isidentifier() or value.replace("-", "_").isidentifier() else None
    return forms.address(value) or forms.account(value)
