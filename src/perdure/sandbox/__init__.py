"""Sandbox: how commands run on the owner's machine, and how they are kept in hand.

Here belongs the supervision of commands: each runs below a small process of its own that outlives the
runtime, collects the output, keeps the time limit, and ends the whole process tree. What does not
belong here: what a command may be (guard), and how its outcome is told to a model (tools).

Wiring, one per process:

    commands = SupervisedCommands(P / "processes")      # starts nothing until the first command
    outcome = await commands.run("make test", key=key, cwd=workdir, timeout=120.0)
    commands.release()                                  # before a shutdown that is to leave them running
    await commands.close()

On disk, `processes/<id>/`: `spec` (JSON: what to run), `lock` (held by the supervisor while it lives),
`began` (its process id, then the command's), `output` (stdout and stderr as they arrived), `marks`
(which stream from which byte on: 8 bytes offset, big-endian, 1 byte stream), `exit` (JSON: how it ended).
"""

from .commands import SupervisedCommands
from .environment import boot_id, clean_environment
from .following import Outcome

__all__ = ["Outcome", "SupervisedCommands", "boot_id", "clean_environment"]
