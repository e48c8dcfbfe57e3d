"""The rehearsal model: what answers when no language model is connected.

By rules it understands plain requests (list, read, find, write, edit, run, tidy, remember …) and drives
the real tools, so that everything of Perdure can be tried without a key. It says what it is, says only
what it saw in results, and keeps no state: each reply is computed from the prompt, so it goes on after
a restart as a language model would.

Here belongs what it understands and how it carries that out. What does not belong here: tools, policy
and files of its own; it has no more rights than any model.

Reading order: view (what it sees), plan (how a request becomes steps), rules (what it understands),
then files, tidy, memory, recall and talk, each with the rules of its subject.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import RehearsalModel

__all__ = ["RehearsalModel"]


def __getattr__(name: str) -> object:
    if name == "RehearsalModel":
        from .model import RehearsalModel

        return RehearsalModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
