"""A critical value of a call, who named it, and what an approval of it would vouch for."""

from __future__ import annotations

import re

from perdure.kernel.events import Json, Source

from . import forms
from .ledger import Ledger, strings

SHOWN = 200
"""Characters of a value that a question shows."""
_NOUNS = {
    "recipient": "the recipient", "url": "the URL", "host": "the host", "path": "the path",
    "amount": "the amount", "account": "the account", "identifier": "the object", "command": "the command",
    "time": "the time", "query": "the search", "text": "the text",
}  # fmt: skip
VOUCHED = "you vouched for it"
_MADE_UP = "the model made it up"


class Judged:
    """A critical value, and who named it."""

    __slots__ = ("_ledger", "_origin", "by", "kind", "path", "token", "value")

    def __init__(
        self, path: str, kind: str, value: str, token: str, by: str, ledger: Ledger
    ) -> None:
        self.path, self.kind, self.value, self.token, self.by = path, kind, value, token, by
        self._ledger, self._origin = ledger, None

    _origin: str | None

    @property
    def origin(self) -> str:
        """Looked for only when a person is to read it."""
        if self._origin is None:
            where = self._ledger.seen.where
            found = (place for form in forms.spellings(self.value) if (place := where(form)))
            self._origin = self.by or next(found, _MADE_UP)
        return self._origin

    @property
    def made_up(self) -> bool:
        return self.origin == _MADE_UP

    @property
    def whence(self) -> str:
        if self.made_up:
            return "stands nowhere in what you wrote: the model made it up"
        return f"comes {self.origin}, not from you"

    @property
    def noun(self) -> str:
        return "the address" if "@" in self.value else _NOUNS.get(self.kind, "the value")

    @property
    def shown(self) -> str:
        return cut(self.value)

    @property
    def source(self) -> Source:
        return Source(
            argument=self.path, value=cut(self.value), origin=self.origin, endorsed=bool(self.by)
        )


def vouching(tool: str, path: str, kind: str, value: str) -> str:
    """What an approval of a value vouches for: an address is one wherever it is used; a number or a word only
    in this argument of this tool."""
    if kind in ("recipient", "url", "host", "account", "path"):
        return value.strip()
    return f"{tool} {path.split('[')[0]}: {value.strip()}"


def publishing(destination: str) -> str:
    return f"publish to {destination}"


def unsplit(value: str, kind: str, arguments: dict[str, Json]) -> str:
    """The whole text that a value was split from, unless that is a list of addresses: a strange name with a
    comma in it is vouched for as one, and its pieces are nobody's."""
    if kind != "recipient":
        return value
    given = [text for text in strings(arguments) if value in text]
    if any(text.strip() == value for text in given):
        return value
    for text in given:
        parts = (p.strip() for p in re.split(r"[,;\r\n]", text))
        if any(part and forms.address(part) is None for part in parts):
            return text
    return value


def only_listed(j: Judged) -> bool:
    return not j.by or j.by.startswith("listed by ")


def cut(text: str) -> str:
    plain = forms.visible(text)
    return plain if len(plain) <= SHOWN else plain[: SHOWN - 1] + "…"
