"""Encryption with age (age-encryption.org/v1), as little of it as a store of secrets needs."""

from __future__ import annotations

import pyrage  # type: ignore[import-untyped]


def new_identity() -> str:
    """A fresh X25519 identity: one line, `AGE-SECRET-KEY-1…`."""
    return str(pyrage.x25519.Identity.generate())


def seal(data: bytes, identity: str) -> bytes:
    """Encrypt so that only `identity` opens it. Raises ValueError when it is no identity."""
    sealed: bytes = pyrage.encrypt(data, [_read(identity).to_public()])
    return sealed


def unseal(sealed: bytes, identity: str) -> bytes:
    """Raises ValueError when it is damaged, or was sealed for another identity."""
    try:
        data: bytes = pyrage.decrypt(sealed, [_read(identity)])
    except pyrage.DecryptError as error:
        raise ValueError(str(error)) from error
    return data


def _read(identity: str) -> pyrage.x25519.Identity:
    try:
        return pyrage.x25519.Identity.from_str(identity)
    except pyrage.IdentityError as error:
        raise ValueError("no age identity") from error
