"""Searches texts for patterns, in a process that may be killed when one takes for ever.

Runs as a script of its own. Each line of its input is JSON `[pattern, text]`, each line of its output
`1`, `0`, or `?` for a pattern that is none. It ends with its input, or when nobody asks any more.
"""

from __future__ import annotations

import json
import os
import re
import select
import sys

IDLE = 60
"""Seconds without a question after which it ends."""
MOST_CPU = 30
"""Seconds of computing: if the one who asks was killed, nobody else ends a search without end."""


def main() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU, MOST_CPU))
    pending = b""
    while select.select([0], [], [], IDLE)[0] and (data := os.read(0, 1 << 20)):
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            sys.stdout.write(f"{_answer(line)}\n")
            sys.stdout.flush()


def _answer(line: bytes) -> str:
    try:
        pattern, text = json.loads(line)
        return "1" if re.search(pattern, text, re.MULTILINE) else "0"
    except (re.error, ValueError, OverflowError, RecursionError):
        return "?"


if __name__ == "__main__":
    main()
