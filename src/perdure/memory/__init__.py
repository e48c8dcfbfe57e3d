"""Memory: what an agent keeps across sessions, in files that a person can read and edit.

Here belongs: reading MEMORY.md and the daily logs, within bounds, for the frozen part of a prompt.
Agents write these files with their ordinary tools. What does not belong here: deciding when a prompt
is built (context). Search over passages and reflection on daily logs will be ports of this package.
"""

from __future__ import annotations

from .files import MemoryFiles, Remembered

__all__ = ["MemoryFiles", "Remembered"]
