"""What the commands of a session were refused, for whoever reads their results: the model and its owner."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from .errors import Refused

KEPT = 32
"""Of one session, the newest."""
TOLD = 5
"""At once."""
CHARS = 400
_OWNER = ("In perdure.yaml:", "The owner can allow it in perdure.yaml:")


@dataclass(slots=True)
class Refusals:
    """On the event loop."""

    _kept: dict[str, deque[tuple[int, str]]] = field(default_factory=dict)
    _count: int = 0

    def add(self, session: str, error: Refused) -> None:
        self._count += 1
        text = f"{error.message} {error.hint}".replace(*_OWNER).strip()
        clean = "".join(c if c.isprintable() else " " for c in text)[:CHARS]
        self._kept.setdefault(session, deque(maxlen=KEPT)).append((self._count, clean))

    def forget(self, session: str) -> None:
        self._kept.pop(session, None)

    def of(self, session: str) -> SessionRefusals:
        return SessionRefusals(self, session)


@dataclass(frozen=True, slots=True)
class SessionRefusals:
    """Implements tools.base.Refusals."""

    _all: Refusals
    _session: str

    def mark(self) -> int:
        return self._all._count

    def since(self, mark: int) -> Sequence[str]:
        found = [text for count, text in self._all._kept.get(self._session, ()) if count > mark]
        once = list(dict.fromkeys(found))
        more = [f"and {len(once) - TOLD} more: perdure egress log"] if len(once) > TOLD else []
        return [*once[:TOLD], *more]
