"""The owner's own code at fixed points of a turn.

Here belongs: how hooks are declared (`hook`, `block`, `rewrite`, `again`), found in files, run with a
time-out where they can hurt nobody, and what each point lets them see and change. What does not belong
here: when the points come (the kernel), what the owner permits (the guard), and hooks themselves.

A hook file needs nothing else than this package:

    from perdure.hooks import HookEvent, block, hook

    @hook("before_tool", tools=("bash",), fail="closed")
    async def no_force_push(event):
        if "push --force" in event.value.arguments.get("command", ""):
            return block("Nobody force-pushes here.")

Reading order for a newcomer: declare, points, load, hookset, runner, side, command.
"""

from __future__ import annotations

from .command import CommandHook
from .declare import Answer, HookEvent, again, block, hook, rewrite
from .hookset import HookSet
from .runner import HookRunner

__all__ = [
    "Answer",
    "CommandHook",
    "HookEvent",
    "HookRunner",
    "HookSet",
    "again",
    "block",
    "hook",
    "rewrite",
]
