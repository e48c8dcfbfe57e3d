"""How long an answer may be: what the model's settings say, or less where a budget has room for less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ByLimit(Generic[T]):
    """A piece of the request that names the limit, built again only when the limit changes."""

    __slots__ = ("_build", "_built", "_limit", "_own")

    def __init__(self, own: int | None, build: Callable[[int | None], T]) -> None:
        """`own`: the model's setting, in tokens."""
        self._own, self._build = own, build
        self._limit = own
        self._built = build(own)

    def of(self, most: int | None) -> T:
        """For an answer of at most so many tokens; None: as the settings say."""
        limit = self._own if most is None else most if self._own is None else min(most, self._own)
        if limit != self._limit:
            self._limit, self._built = limit, self._build(limit)
        return self._built
