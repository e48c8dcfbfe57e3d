"""Why a request did not come back with an answer. Both are made for the model and the owner to read:
neither ever holds a header's value, a body, a query or a secret.

    PerdureError
    ├── Refused        it was not sent, or its answer is not handed over; `stage` says by what
    └── Unreachable    it was sent, or tried, and the other side failed
"""

from __future__ import annotations

from typing import Literal

from perdure.kernel.errors import PerdureError

Stage = Literal[
    "address", "policy", "headers", "leak", "resolve", "redirect", "secret", "answer", "proxy"
]


class Refused(PerdureError):
    """The request was refused."""

    code = "egress_refused"

    def __init__(self, message: str, *, stage: Stage, hint: str = "", brief: str = "") -> None:
        """`brief`: the same for whoever did not make the request, and must not hear its words: of those,
        `brief` and then `hint` too hold method and host alone. Empty: it cannot be said so."""
        super().__init__(message, hint=hint)
        self.stage: Stage = stage
        self.brief = brief
        self.about = ""
        """Method and host of the request, as far as it got."""


class Unreachable(PerdureError):
    """The other side could not be reached, or failed in mid-answer."""

    code = "egress_unreachable"
