"""Which commands would a shell line run?

Here belongs reading shell text: its grammar (tree-sitter-bash, every piece of whose answer is checked
against the text), the words of each command, the programs that run others, and where programs are found.
What does not belong here: rules and decisions (guard.rules, guard.policy), running anything, binding the
content of scripts to an approval (guard.scripts).

    parsed = parse("timeout 5 git status | sort > out", workdir=Path("/home/ann/work"))
    parsed.unknown          # () : understood; else reasons to ask
    parsed.commands         # timeout (transparent), git status (via timeout), sort (opens /…/out)

`parse` never raises. What bash would run is in `commands`, or `unknown` says that it may not be.
"""

from .model import HOLE, Command, How, Parsed, Word
from .parsing import parse

__all__ = ["HOLE", "Command", "How", "Parsed", "Word", "parse"]
