"""One critical value: has somebody entitled to named it?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from . import days, forms
from .directory import Directory
from .fold import disguise, fold
from .seen import Seen, Thing, ending_off
from .words import Words, whole

_SHORTEST_NAME = 4
_LONG_ENOUGH = 8


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A value in its call."""

    tool: str
    origin: str
    """Of the acting tool: what its service's other tools listed are things of the same house."""
    sink: str
    """Kind of the sink."""
    kind: str
    value: str
    fetch: bool
    """The call carries nothing but where to read."""


@dataclass(slots=True, kw_only=True)
class Judge:
    words: Words
    seen: Seen
    created: dict[tuple[str, str], str]
    """Origin and id to the tool that created it in this session."""
    authored: Callable[[str], bool]
    """Has the model written this URL itself before it read it anywhere?"""
    told: Mapping[str, str]
    """URLs in messages of people whom the owner knows, and who that was."""
    directory: Directory

    def named(self, ask: Ask) -> str:
        """Who named it, in plain words; empty: nobody who may."""
        if disguise(ask.value):
            return ""
        match ask.kind:
            case "recipient":
                return self._recipient(ask)
            case "account":
                return self._account(ask.value) or self._listed(ask)
            case "url":
                return self._url(ask)
            case "host":
                return self._host(ask.value)
            case "path":
                return _said(self.words.path(ask.value)) or self._path(ask.value)
            case "amount":
                return self._amount(ask)
            case "identifier":
                return _said(self.words.identifier(ask.value)) or self._thing(ask)
            case "command":
                return _said(self.words.command(ask.value))
            case "time":
                return self._time(ask.value)
            case "query":
                return self._query(ask.value)
            case _:
                return _said(self.words.text(ask.value))

    def _recipient(self, ask: Ask) -> str:
        value = ask.value.strip()
        if "@" in value.removeprefix("@"):
            known = forms.address(value)
            return self._address(known) if known else ""
        if "://" in value or value.lower().startswith("www."):
            return self._url(ask)
        return self._account(value) or self._listed(ask) or self._contact(fold(value))

    def _address(self, known: str) -> str:
        return (
            _said(self.words.addresses.get(known))
            or self.directory.address(known)
            or self._contact(known)
        )

    def _account(self, value: str) -> str:
        known = forms.account(value.removeprefix("+"))
        if known is not None:
            return (
                _said(self.words.accounts.get(known))
                or self.directory.accounts.get(known, "")
                or self._contact(known)
            )
        return _said(self.words.name(value))

    def _contact(self, known: str) -> str:
        """Of somebody whom the owner called by name, by the owner's own address book."""
        for name, entries in self.directory.contacts.items():
            if known in entries and (said := self.words.name(name)):
                return f"{name} in trust.yaml, whom you named (message {said})"
        for things in self.seen.things.values():
            own = [t for t in things if t.own and t.name]
            holders = [t for t in own if known in t.leaves]
            # Two people of one name are nobody in particular.
            if holders and all(known in t.leaves for t in own):
                said = self.words.name(holders[0].name)
                if said and len(holders[0].name) >= _SHORTEST_NAME:
                    return f"{holders[0].name} in your own records, whom you named (message {said})"
        return ""

    def _listed(self, ask: Ask) -> str:
        """People and places among which the owner said that any may be written to."""
        if ask.sink not in ("send", "publish", "share"):
            return ""
        wanted = fold(ask.value)
        for tool, where in self.directory.lists.items():
            if (tool, wanted) in self.seen.listed:
                return f"listed by {tool} ({where})"
        return ""

    def _url(self, ask: Ask) -> str:
        known = forms.url(ask.value)
        if known is None:
            return ""
        for said, number in self.words.urls.items():
            if forms.same_url(known, said):
                return _said(number)
        name = forms.host_of(known)
        if where := self.directory.host(name):
            return where
        if not ask.fetch or self.authored(known):
            return ""
        if known in self.told:
            return f"written by {self.told[known]}, whom you know"
        for result in self.seen.holding_url(known, ask.value):
            if not result.origin:
                continue  # a file, a command, a reader: the model itself may have composed it there
            if result.search:
                return f"found by {result.tool}"
            if name in self.words.hosts and f"web:{name}" in result.label.origins:
                return f"a link on {name}, which you named (message {self.words.hosts[name]})"
            trust = result.label.trust
            if trust in ("owner", "self", "known"):
                return f"written by people you know (result of {result.tool})"
        return ""

    def _host(self, value: str) -> str:
        found = forms.url(value)
        if found is None or "/" in value:
            return ""
        name = forms.host_of(found)
        return _said(self.words.hosts.get(name)) or self.directory.host(name)

    def _path(self, value: str) -> str:
        known = forms.path(value)
        return self.directory.path(known) if known else ""

    def _amount(self, ask: Ask) -> str:
        known = forms.amount(ask.value)
        if known is None:
            return ""
        if known in self.words.amounts:
            return _said(self.words.amounts[known])
        for thing in self._house(ask.origin):
            if not ask.origin or not thing.asked:
                continue  # what the model may have had written down proves nothing
            if known in thing.amounts and (name := self._spoken_of(thing)):
                return f"the amount of {name}, which you spoke of"
        return ""

    def _spoken_of(self, thing: Thing) -> str:
        """By its name, a word of it, or whole texts in it such as an account."""
        for leaf in thing.leaves:
            if len(leaf) >= 8 and forms.account(leaf) in self.words.accounts:
                return leaf
        for word in [thing.name, *thing.name.split()]:
            if len(word) >= _SHORTEST_NAME and word.isalpha() and self.words.name(word):
                return thing.name
        return ""

    def _thing(self, ask: Ask) -> str:
        """An object made in this session, or the only one of a name that the owner said."""
        # What was made here can be used, but not be made away with: that hides what was done.
        if ask.sink != "delete" and (tool := self.created.get((ask.origin, ask.value))):
            return f"made in this session by {tool}"
        for thing in self._house(ask.origin):
            if ask.value not in thing.ids or not thing.asked or not ask.origin:
                continue
            alike = self.seen.things[ending_off(thing.name)]
            said = self.words.title(thing.name)
            if said is not None:
                alike = [t for t in alike if t.name == thing.name]
            else:
                said = self.words.title(ending_off(thing.name))
            # The only one of its name: of two, nobody knows which was meant.
            if said and all(ask.value in t.ids for t in alike if t.origin == ask.origin):
                return f"{thing.name}, which you named (message {said})"
            if ask.sink == "write" and (said := self._begun(ask, thing)):
                return f"{thing.name}, which you spoke of (message {said})"
        return ""

    def _begun(self, ask: Ask, thing: Thing) -> int | None:
        """Of what stays the owner's, the first words of a name will do, where only one begins so."""
        words = ending_off(thing.name).split()
        for count in range(len(words) - 1, 1, -1):
            first = " ".join(words[:count])
            if len(first) >= _LONG_ENOUGH and (said := self.words.title(first)):
                alike = (t for t in self._house(ask.origin) if f"{t.name} ".startswith(f"{first} "))
                return said if all(ask.value in t.ids for t in alike) else None
        return None

    def _house(self, origin: str) -> Iterable[Thing]:
        return (t for things in self.seen.things.values() for t in things if t.origin == origin)

    def _time(self, value: str) -> str:
        folded = fold(value).replace("t", " ", 1) if value[10:11] in "Tt" else fold(value)
        found = days.days(folded)
        numbers = []
        for day in found:
            said = [n for known, n in self.words.days.items() if days.same_day(day, known)]
            if not said:
                return ""
            numbers.append(min(said))
        if not found:
            clock = days.times(folded)
            if not clock:
                return _said(self.words.text(value))
            numbers = [self.words.times.get(t, 0) for t in clock]
        return _said(min(numbers)) if all(numbers) else ""

    def _query(self, value: str) -> str:
        """What a search engine is told. Words that the owner used, or that stand in nothing private."""
        if said := self.words.text(value):
            return _said(said)
        tokens = fold(value).split()
        if len(value) > 200 or len(tokens) > 24:
            return ""
        for token in tokens:
            token = token.strip(".,;:!?()'\"")
            if (len(token) < 4 and token.isalpha()) or not token:
                continue
            if any(whole(token, s.folded) for s in self.words.said):
                continue
            private = (r for r in self.seen.results if r.label.secrecy != "public")
            if len(token) > 20 or not token.isalpha() or any(token in r.folded for r in private):
                return ""
        return "ordinary words, nothing private"


def _said(number: int | None) -> str:
    return f"you wrote it (message {number})" if number else ""
