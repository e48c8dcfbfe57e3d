"""Which files a command of the owner's configuration names."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

_SEPARATORS = re.compile(r"[\s;&|()<>'\"`=]+")
MAX_WORDS = 200


def files_named(command: str, folder: Path) -> frozenset[str]:
    """Resolved paths of the files that a shell command run in `folder` may mean. One that is not there
    yet counts if it looks like a path: whoever puts it there decides what runs."""
    words = [w for w in _SEPARATORS.split(command) if w and "\0" not in w][:MAX_WORDS]
    bases = [os.fspath(folder)]
    for before, word in itertools.pairwise(words):
        if before in ("cd", "pushd", "-C"):
            bases.append(os.path.join(folder, os.path.expanduser(word)))  # noqa: PTH111, PTH118
    found = set()
    for word in words:
        for base in bases:
            path = os.path.realpath(os.path.join(base, os.path.expanduser(word)))  # noqa: PTH111, PTH118
            is_file = os.path.isfile(path)  # noqa: PTH113
            if is_file or ("/" in word and not os.path.isdir(path)):  # noqa: PTH112
                found.add(path)
    return frozenset(found)
