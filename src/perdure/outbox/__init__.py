"""The outbox: answers on their way out of the machine, by channels that the owner named.

Here belongs how one attempt is made and what it came to, and the files of answers that have not
arrived. What does not belong here: when an attempt is due and how often (the kernel decides from the
session's log), and which messages want their answer sent (edges).

A channel is a command. It is run under supervision with a key of its own for each attempt, so after a
crash the attempt is joined, not repeated.
"""

from __future__ import annotations

from .channels import Channel
from .letters import Letter, Letters
from .sending import CommandOutbox

__all__ = ["Channel", "CommandOutbox", "Letter", "Letters"]
