"""How much of large bodies is held at a time: many callers together must not fill the memory."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Scope

from .problems import Refusal

SMALL = 64 * 1024
"""Bytes of a body that count for nothing, so that a full server can still be told to stop."""
_SHARE = "perdure.share"


class Intake:
    """Bytes that the bodies under way may take together."""

    def __init__(self, total: int) -> None:
        self._left = total

    def take(self, size: int) -> bool:
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        self._left += size


class Share:
    """What one request has taken."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._size = 0

    def covers(self, size: int) -> bool:
        """Take what is needed for a body of `size` bytes; False: there is no room."""
        more = size - SMALL - self._size
        if more <= 0:
            return True
        if not self._intake.take(more):
            return False
        self._size += more
        return True

    def free(self) -> None:
        self._intake.give_back(self._size)
        self._size = 0


def share_of(request: Request) -> Share:
    """Of this request; it is freed when the request has been answered, if not before."""
    share: Share = request.scope.setdefault("state", {}).setdefault(
        _SHARE, Share(request.app.state.intake)
    )
    return share


def free(scope: Scope) -> None:
    """The request's body is no longer held."""
    share = scope.get("state", {}).get(_SHARE)
    if share is not None:
        share.free()


def no_room() -> Refusal:
    return Refusal(
        503,
        "busy",
        "The server is taking in as many large bodies as it can hold.",
        hint="Send it again in a moment.",
        headers={"Retry-After": "2"},
    )
