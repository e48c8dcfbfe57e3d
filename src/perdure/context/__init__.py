"""Context: folds a session's records into what its model will see, and keeps that within the window.

Here belongs: the items of the prompt and how records become them, the byte-stable prefix (C1), the
volatile tail, clearing of old results, compaction (C3), and the report of what a call contained (C5).
What does not belong here: any provider's wire format (models), reading an agent's files (agents) or
its memory (memory); they reach the prefix through the small protocols in `prefix`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .budget import ContextBudget
    from .prefix import AgentPrefix, PrefixParts, PrefixSource
    from .report import context_report
    from .session import Artifacts, SessionContext

__all__ = [
    "AgentPrefix",
    "Artifacts",
    "ContextBudget",
    "PrefixParts",
    "PrefixSource",
    "SessionContext",
    "context_report",
]

_HOMES = {
    "AgentPrefix": "prefix",
    "Artifacts": "session",
    "ContextBudget": "budget",
    "PrefixParts": "prefix",
    "PrefixSource": "prefix",
    "SessionContext": "session",
    "context_report": "report",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
