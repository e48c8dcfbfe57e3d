"""What the launcher process is started with: an isolated interpreter, which finds no package by itself.

The folder above stands as a package that has run no code of its own, so that nothing but what is named is
loaded, and nothing in the environment or the working folder can stand in for it. With `try` as its argument
it contains one command.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

if __name__ == "__main__":
    above = ModuleType("sandbox")
    above.__path__ = [str(Path(__file__).resolve().parent.parent)]
    sys.modules["sandbox"] = above
    __package__ = "sandbox.supervision"

    from .launching import attempt, launch

    if sys.argv[1:] == ["try"]:
        attempt()
    else:
        launch()
