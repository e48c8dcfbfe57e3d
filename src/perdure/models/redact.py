"""Credentials are taken out of what a failed call says, in one place: where its error leaves the adapter.

Servers and proxies quote the key they were sent: plain, as part of an address, inside of an encoded
header, or with invisible characters in it so that it can be wrapped.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from urllib.parse import quote

from perdure.kernel.errors import ModelError

from .spec import ModelSpec

SHORTEST = 6
"""Characters; anything shorter would be found in ordinary words."""
MARK = "[key]"

_INVISIBLE = "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
_TOKEN = re.compile(r"[^\s\"'<>…]+")
_SENSITIVE = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)


class Redactor:
    """Knows the credentials of one call. Made when a call failed, for it costs more than a call may."""

    def __init__(self, spec: ModelSpec, key: str) -> None:
        secrets = [key]
        for name, value in spec.headers.items():
            if _SENSITIVE.search(name):
                secrets += [value, value.rpartition(" ")[2]]
        self._forms = sorted(
            {form for secret in secrets for form in _forms(secret.strip())}, key=len, reverse=True
        )
        gap = f"{_INVISIBLE}*"
        shapes = (gap.join(map(re.escape, form)) for form in self._forms)
        # An escaped address is written in either case.
        self._pattern = re.compile("|".join(shapes), re.IGNORECASE) if self._forms else None

    def text(self, text: str) -> str:
        if self._pattern is None or not text:
            return text
        first, *rest = self._pattern.sub(MARK, text).split(MARK)
        return self._cut(MARK.join((first, *map(self._after, rest))))

    def error(self, error: ModelError) -> ModelError:
        """The same error, without them."""
        error.message = self.text(error.message)
        error.hint = self.text(error.hint)
        error.partial = self.text(error.partial)
        error.args = (error.message, *error.args[1:])
        return error

    def _after(self, text: str) -> str:
        """What stands behind a mark may be the rest of a key whose beginning looked like one."""
        token = _TOKEN.match(text)
        plain = re.sub(_INVISIBLE, "", token.group()).lower() if token else ""
        for form in map(str.lower, self._forms):
            for start in range(1, len(form) - 3):
                end = form[start:]
                if plain.startswith(end):
                    return plain[len(end) :] + text[len(token.group()) if token else 0 :]
                if text.endswith("…") and len(plain) > 3 and end.startswith(plain):
                    return "…"
        return text

    def _cut(self, text: str) -> str:
        """A message that was shortened may end inside of one."""
        if not text.endswith("…"):
            return text
        plain = re.sub(_INVISIBLE, "", text[:-1])
        for form in self._forms:
            for size in range(len(form) - 1, SHORTEST - 1, -1):
                if plain.lower().endswith(form[:size].lower()):
                    return f"{plain[:-size]}{MARK}…"
        return text


def _forms(secret: str) -> Iterable[str]:
    if len(secret) < SHORTEST:
        return
    yield secret
    yield quote(secret, safe="")
    yield secret.replace("/", "\\/")
    raw = secret.encode(errors="replace")
    for shift in range(3):
        # What stands before it shifts its bits; the characters at the ends hold its neighbours' too.
        inside = b64encode(b"\0" * shift + raw).decode().rstrip("=")
        inside = inside[(0, 2, 3)[shift] : len(inside) - (1 if (shift + len(raw)) % 3 else 0)]
        if len(inside) >= SHORTEST:
            yield inside
            yield inside.replace("+", "-").replace("/", "_")
            yield quote(inside, safe="")
