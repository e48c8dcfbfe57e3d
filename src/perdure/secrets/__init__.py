"""Secrets: the owner's keys, sealed at rest, handed out for one host, place and tool at a time (S5).

Here belongs the vault with its bindings, the value that does not show itself, and the record of uses.
What does not belong here: sending a request (egress asks `Vault.find` last of all and puts the value
in), finding values where they must not be (leaks), and model providers' keys (models keeps those).

Reading order: value, bindings, vault, uses.
"""

from __future__ import annotations

from .bindings import Binding
from .uses import Use, Uses
from .value import SecretValue
from .vault import NotBound, Secret, Vault, name_of

__all__ = ["Binding", "NotBound", "Secret", "SecretValue", "Use", "Uses", "Vault", "name_of"]
