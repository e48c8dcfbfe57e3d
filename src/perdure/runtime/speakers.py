"""Who is speaking: the label of a message by where it came from and by whom (S3)."""

from __future__ import annotations

from collections.abc import Callable

from perdure.kernel.labels import OWNER, SELF, Label, Trust

OWN_SOURCES = frozenset(("api", "terminal"))
"""Where nobody gets in who does not act for the owner."""
OWN_SENDERS = frozenset(("", "owner", "terminal"))
RUNTIME = frozenset(("settled",))
"""Sources of messages that the runtime words itself, from an answer of the owner's."""
DETAIL = 80
"""Characters of a name that somebody gave himself."""


def speaker(
    source: str, sender: str, person: Callable[[str, str], str] = lambda source, sender: ""
) -> Label:
    """Whoever is neither known to be the owner nor, by `person`, somebody he knows is a third party."""
    if source in RUNTIME:
        return SELF
    if source in OWN_SOURCES and sender in OWN_SENDERS:
        return OWNER
    name = "".join(c for c in sender[:DETAIL] if c.isprintable())
    detail = f"{source}:{name}" if name else source
    trust: Trust = "known" if sender and person(source, sender) else "third_party"
    return Label(trust=trust, secrecy=SELF.secrecy, origins=(detail,))
