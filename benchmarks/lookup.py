"""The tool that every contestant has: trivial, in process, and it notes the CPU time at each call."""

from __future__ import annotations

import time

NAME = "lookup"
DESCRIPTION = "Look up an entry by its key."

marks: list[float] = []
"""CPU seconds of this process at each call."""


def lookup(key: str) -> str:
    """Look up an entry by its key."""
    marks.append(time.process_time())
    return (
        f"The entry {key} was written on a Tuesday by the clerk of the second office, reviewed twice, "
        "and filed under the letter that its key begins with; nothing in it has changed since then."
    )


SCHEMA = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": DESCRIPTION,
        "parameters": {
            "type": "object",
            "properties": {"key": {"type": "string"}},
            "required": ["key"],
        },
    },
}
