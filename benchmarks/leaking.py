"""The search for leaked secrets, over what agents send and read."""

from __future__ import annotations

import base64
import os
import random
import re
import string
from collections.abc import Callable
from pathlib import Path

from .meter import Facts, Span

MEGABYTE = 1_000_000
SECRETS = 20


async def scan(folder: str, times: int) -> Facts:
    """CPU milliseconds for a megabyte of source code, and of a picture in base64; with a vault of twenty
    secrets. `re`: the same formats by the regular expressions of the standard library."""
    from perdure.leaks import Leaks, Own
    from perdure.leaks.rules import RULES

    del folder
    dice = random.Random(1)
    letters = string.ascii_letters + string.digits
    own = tuple(
        Own(name=f"secret://s{n}", value="".join(dice.choices(letters, k=40)))
        for n in range(SECRETS)
    )
    leaks = Leaks(lambda: own)
    files = sorted(Path(os.__file__).parent.glob("*.py"))
    code = b"".join(f.read_bytes() for f in files)[:MEGABYTE]
    picture = base64.b64encode(dice.randbytes(MEGABYTE * 3 // 4))
    # `re` takes no flag in the middle of a pattern as RE2 does.
    formats = re.compile("|".join(rule.pattern.replace("(?i:", "(?:") for rule in RULES).encode())
    return {
        "code_ms": _least(lambda: leaks.scan(code), times) * MEGABYTE / len(code),
        "picture_ms": _least(lambda: leaks.scan(picture), times),
        "re_ms": _least(lambda: list(formats.finditer(code)), times) * MEGABYTE / len(code),
        "small_us": _least(lambda: leaks.scan(code[:1_000]), times * 100) * 1e3,
    }


def _least(work: Callable[[], object], times: int) -> float:
    """CPU milliseconds of the fastest run: what else the machine does only adds."""
    work()
    best = float("inf")
    for _ in range(times):
        span = Span()
        work()
        best = min(best, span.lap()[0] * 1e3)
    return best
