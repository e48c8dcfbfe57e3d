"""How a command that is being read would run, and who takes what is read."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from .lexer import Redirection, Simple
from .model import How, Word

SIMPLE = frozenset(
    (
        "command",
        "declaration_command",
        "unset_command",
        "variable_assignment",
        "variable_assignments",
        "file_redirect",
        "herestring_redirect",
    )
)
"""Nodes that the lexer reads as a simple command."""


class Context(NamedTuple):
    """How the commands that are being read would run."""

    how: How = "direct"
    via: tuple[str, ...] = ()
    stdin: str = ""
    """Where they read from: empty (nothing), `pipe`, `file`, `text`."""
    given: str | None = None
    """The text they read, where it is known."""
    opened: tuple[Redirection, ...] = ()
    """Redirections of what stands around them."""


class Scene(Protocol):
    """Takes what is read."""

    def unclear(self, reason: str) -> None: ...

    def simple(self, found: Simple, context: Context) -> None: ...

    def function(self, name: str) -> None: ...

    def evaluated(self, names: set[str]) -> None:
        """Variables whose values arithmetic evaluates."""

    def given(self, name: str, value: Word | None) -> None:
        """A variable is set to a value; None: not known."""
