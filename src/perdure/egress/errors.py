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

    def __init__(self, message: str, *, stage: Stage, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.stage: Stage = stage


class Unreachable(PerdureError):
    """The other side could not be reached, or failed in mid-answer."""

    code = "egress_unreachable"
