"""Where the installation's own secrets stand in some data, in any of their forms.

A form is looked for by a key, eight characters from the middle of it, so that its shorter pieces share it.
All keys are searched at once, in data without capitals; only where one stands are the forms compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import re2  # type: ignore[import-untyped]

from .forms import SHORTEST, Own, forms

KEY = SHORTEST
MOST_KEYS = 4_000
"""In one expression: what is compiled of more would not fit into the memory that is given to it."""
MEMORY = 64 << 20

_FOLDED = bytes(range(256)).lower().translate(bytes.maketrans(b"-_", b"+/"))
"""Capitals are small letters, and the two alphabets of base64 are one."""


class Form(NamedTuple):
    text: bytes
    at: int
    """Where its key stands in it."""
    secret: Own
    name: str


class Known:
    """Thread-safe."""

    def __init__(self, own: Sequence[Own]) -> None:
        texts: dict[bytes, tuple[Own, str]] = {}
        for secret in own:
            for text, name in forms(secret.value).items():
                texts.setdefault(text, (secret, name))
        self._forms: dict[bytes, list[Form]] = {}
        # The longest first: its pieces then find their key in place.
        for text in sorted(texts, key=len, reverse=True):
            folded = text.translate(_FOLDED)
            at = self._place(folded)
            secret, name = texts[text]
            key = folded[at : at + KEY]
            self._forms.setdefault(key, []).append(Form(text, at, secret, name))
        keys = sorted(self._forms)
        self._searches = [_any_of(keys[n : n + MOST_KEYS]) for n in range(0, len(keys), MOST_KEYS)]

    def find(self, data: bytes) -> Iterator[tuple[int, int, Own, str]]:
        """Start, end, secret and form, each place once, in no order."""
        if not self._searches:
            return
        folded = data.translate(_FOLDED)
        places: set[int] = set()
        for search in self._searches:
            for match in search.finditer(folded):
                # One that begins within this one is passed over by the search.
                places.update(range(match.start(), match.end()))
        for place in places:
            for form in self._forms.get(folded[place : place + KEY], ()):
                start = place - form.at
                if start >= 0 and data.startswith(form.text, start):
                    yield start, start + len(form.text), form.secret, form.name

    def _place(self, folded: bytes) -> int:
        """Where to take the key: where there is one already, else the most various one of the middle."""
        places = range(len(folded) - KEY + 1)
        middle = len(places) // 2
        for at in places:
            if folded[at : at + KEY] in self._forms:
                return at
        near = range(max(0, middle - KEY), min(len(places), middle + KEY))
        return max(near, key=lambda at: (len(set(folded[at : at + KEY])), -abs(at - middle)))


def _any_of(keys: Sequence[bytes]) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(b"|".join(map(re2.escape, keys)), options)
