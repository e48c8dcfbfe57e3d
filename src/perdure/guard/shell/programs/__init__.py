"""What programs make of their arguments: which run others, which run code, which write files.

Here belongs what is known about particular programs. A program that is not known here is taken to do with
its arguments what a rule's author thinks it does.
"""

from __future__ import annotations

import re

from ..scene import Handler
from . import builtins, shells
from .code import HANDLERS as CODE
from .files import HANDLERS as FILES
from .git import HANDLERS as GIT
from .wrappers import HANDLERS as WRAPPERS

_PROGRAMS: dict[str, Handler] = {
    **CODE,
    **FILES,
    **GIT,
    **WRAPPERS,
    **shells.HANDLERS,
}
_VERSIONED = re.compile(r"([a-zA-Z]+(?:-[a-zA-Z]+)*?)-?\d[\d.]*\Z")


def handler(program: str, *, shell: bool) -> tuple[Handler | None, bool]:
    """What judges a command's arguments, and whether the shell itself does the work. `shell`: a shell
    looks the name up, so that builtins count."""
    if shell and program in builtins.HANDLERS:
        return builtins.HANDLERS[program], True
    name = program.rpartition("/")[2]
    found = _PROGRAMS.get(name)
    if found is None and (m := _VERSIONED.match(name)):
        found = _PROGRAMS.get(m[1])
    if found is None and re.match(r"ld(-linux|-musl|64)?[\w.-]*\.so", name):
        found = _PROGRAMS["ld.so"]
    return found, False
