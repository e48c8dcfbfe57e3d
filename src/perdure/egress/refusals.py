"""What the commands of a session were refused, for whoever reads their results: the model and its owner.

A session's proxy cannot tell which of its commands asks. What a third party has said to one of them, that
one can ask for: so of a request method and host alone are told, never what else it says, and what is told
has the label of all that the session's commands had read and heard by then.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from perdure.kernel.labels import LEAST, UNKNOWN, Label, join

from .errors import Refused, Stage

KEPT = 32
"""Of one session, the newest."""
TOLD = 5
"""At once."""
CHARS = 400
_OWNER = ("In perdure.yaml:", "The owner can allow it in perdure.yaml:")
WORDS: Mapping[Stage, str] = {
    "address": "its address is none that requests are sent to",
    "policy": "it is not one that may be sent",
    "headers": "its headers or its query hold what a caller may not set",
    "leak": "it holds what looks like a secret, or could not be searched for one",
    "resolve": "its host leads to no place that may be reached",
    "redirect": "it was redirected to where it may not go",
    "secret": "a secret that it names cannot be put in",
    "answer": "its answer is not one that is handed over",
    "proxy": "it is not one that the proxy takes",
}
"""Where nothing more can be said without the words of the request."""


@dataclass(slots=True)
class Refusals:
    """For every thread."""

    running: Callable[[str], Label | None] = lambda session: None
    """Of all that the commands of a session which run now have read and heard. None: none is known to."""
    _kept: dict[str, deque[tuple[int, str, Label]]] = field(default_factory=dict)
    _risen: dict[str, Label] = field(default_factory=dict)
    """By session. It does not fall when a command ends: one of its requests may still be looked at."""
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, session: str, error: Refused) -> None:
        text = (
            f"{error.brief} {error.hint}".replace(*_OWNER).strip()
            if error.brief
            else f"{error.about or 'A request'}: {WORDS[error.stage]}."
        )
        clean = "".join(c if c.isprintable() else " " for c in text)[:CHARS]
        label = self.heard(session)
        with self._lock:
            self._count += 1
            kept = self._kept.setdefault(session, deque(maxlen=KEPT))
            kept.append((self._count, clean, label))

    def heard(self, session: str) -> Label:
        """What its commands are refused from now on can be the words of whoever they have heard so far."""
        running = self.running(session)
        with self._lock:
            label = self._risen.get(session, LEAST)
            if running is None:  # nobody knows whose request it is
                return label.join(UNKNOWN)
            label = label.join(running)
            if label.tainted or label.secrecy == "secret":
                self._risen[session] = label
            return label

    def forget(self, session: str) -> None:
        with self._lock:
            self._kept.pop(session, None)
            self._risen.pop(session, None)

    def mark(self, session: str) -> int:
        self.heard(session)
        return self._count

    def since(self, session: str, mark: int) -> tuple[Sequence[str], Label]:
        with self._lock:
            found = [kept for kept in self._kept.get(session, ()) if kept[0] > mark]
        once = list(dict.fromkeys(text for _, text, _ in found))
        more = [f"and {len(once) - TOLD} more: perdure egress log"] if len(once) > TOLD else []
        return [*once[:TOLD], *more], join(label for _, _, label in found)

    def of(self, session: str) -> SessionRefusals:
        return SessionRefusals(self, session)


@dataclass(frozen=True, slots=True)
class SessionRefusals:
    """Implements tools.seams.Refusals."""

    _all: Refusals
    _session: str

    def mark(self) -> int:
        return self._all.mark(self._session)

    def since(self, mark: int) -> tuple[Sequence[str], Label]:
        return self._all.since(self._session, mark)
