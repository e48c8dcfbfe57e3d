"""Sandbox: how commands run on the owner's machine, and how they are kept in hand.

Here belongs the supervision of commands: each runs below a small process of its own that outlives the
runtime, collects the output, keeps the time limit, and ends the whole process tree. And here belong the
walls: what a command of a tool sees and can do, made out of what the kernel offers. What does not belong
here: what a command may be (guard), and how its outcome is told to a model (tools).

Wiring, one per process:

    commands = SupervisedCommands(P / "processes")      # starts nothing until the first command
    outcome = await commands.run("make test", key=key, cwd=workdir, timeout=120.0)   # the owner's own code
    inside = commands.within(lambda: Containment(session=…, workdir=…))   # for tools: the same, contained
    commands.release()                                  # before a shutdown that is to leave them running
    await commands.close()

    watch = ProcessWatch(commands.background, notify)   # tells sessions of their background processes
    await watch.start()                                 # after the workspace was opened
    await watch.close()                                 # before `commands.close`
    await commands.background.stop_all(session)         # when a session is deleted

On disk, `processes/<id>/`, of a background process `processes/<session>/<id>/`: `spec` (JSON: what to
run), `lock` (held by the supervisor while it lives), `began` (its process id, then the command's),
`output` (stdout and stderr as they arrived), `marks` (which stream from which byte on: 8 bytes offset,
big-endian, 1 byte stream), `exit` (JSON: how it ended), `problem` (a link whose target is the errno for
which a supervisor could not begin).
`processes/<session>/.private/`: the session's own /tmp and home, as its commands see them.
`run/sandbox.json`: what contains commands here, with the evidence. What background processes have
besides: see `background`.
"""

from .background import Background
from .commands import SupervisedCommands
from .contained import Contained
from .containment import Confines, Containment, Unavailable, home_of
from .environment import boot_id, clean_environment
from .following import Outcome
from .hidden import hides
from .records import Process
from .traces import ran_at
from .watch import ProcessWatch

__all__ = [
    "Background",
    "Confines",
    "Contained",
    "Containment",
    "Outcome",
    "Process",
    "ProcessWatch",
    "SupervisedCommands",
    "Unavailable",
    "boot_id",
    "clean_environment",
    "hides",
    "home_of",
    "ran_at",
]
