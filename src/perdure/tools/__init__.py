"""Tools: what an agent can do on its owner's machine.

Here belongs the `Tool` base class, the core tools (read, write, edit, bash, process, extract), the
registry that also loads the owner's own tools, in Python or WebAssembly (`Toolbox`), the bench that
turns a model's call into a checked, runnable one and labels its result (`Bench`), and the threads for
tools that may block (`Isolation`). What does not belong here: whether a call may run (guard), how a
command is supervised (sandbox), where artifacts and the labels of files are kept (storage). They meet
this package through the protocols in `seams`.

Wiring, one toolbox per agent and one bench per session:

    toolbox = Toolbox(folders=[P / "tools", P / "agents" / name / "tools"])
    bench = Bench(toolbox, session=id, workdir=Path(workdir), artifacts=store, commands=commands,
                  scratch=P / "processes")
    gate = PolicyGate(bench, ...)          # perdure.guard: the only way to run what the bench prepares
    toolbox.schemas()                      # for the prompt's prefix; also picks up changed tool files
"""

from perdure.kernel.events import Image, Text, ToolResult

from .base import CriticalKind, Effect, Sink, Tool, ToolContext, Touch, failed, ok, resolve
from .bench import Bench
from .isolation import Isolation
from .prepared import Prepared
from .seams import Answer, Artifacts, CommandOutcome, Commands
from .toolbox import CORE_TOOLS, Toolbox, ToolFileError

__all__ = [
    "CORE_TOOLS",
    "Answer",
    "Artifacts",
    "Bench",
    "CommandOutcome",
    "Commands",
    "CriticalKind",
    "Effect",
    "Image",
    "Isolation",
    "Prepared",
    "Sink",
    "Text",
    "Tool",
    "ToolContext",
    "ToolFileError",
    "ToolResult",
    "Toolbox",
    "Touch",
    "failed",
    "ok",
    "resolve",
]
