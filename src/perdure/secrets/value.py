"""A value that does not show itself."""

from __future__ import annotations

import hmac
from typing import Final


class SecretValue:
    """Shows its name wherever it is printed, logged or formatted; the value only through `reveal`."""

    __slots__ = ("_value", "name")

    def __init__(self, name: str, value: str) -> None:
        self.name: Final = name
        self._value: Final = value

    def reveal(self) -> str:
        """The value. Call it where it is put into a request, and keep it nowhere."""
        return self._value

    def __repr__(self) -> str:
        return f"<secret://{self.name}>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretValue):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self.name)

    def __reduce__(self) -> str:
        raise TypeError("a secret's value cannot be pickled or copied")
