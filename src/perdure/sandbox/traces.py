"""What commands that ran, or run, have left behind tells when they could touch a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

SLACK = 15_000_000
"""Nanoseconds: files' times come from a coarser clock than ours."""


def ran_at(processes: Path, when: int, file: Path) -> bool:
    """Did a command run at that moment (Unix time, nanoseconds) before whose eyes this file was hidden?
    Who is not contained at all does not count. Of those only whose result is not on record yet, or that
    run in the background. Blocking; what cannot be told is a yes."""
    names = {json.dumps(os.fspath(path))[1:-1].encode() for path in (file, _real(file))}
    try:
        specs = [*processes.glob("*/spec"), *processes.glob("*/*/spec")]
    except OSError:
        return True
    return any(_between(spec, when) and _shows(spec, names) for spec in specs)


def _between(spec: Path, when: int) -> bool:
    try:
        began = spec.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    except OSError:
        return True
    if when < began - SLACK:
        return False
    try:
        return when <= (spec.parent / "exit").stat().st_mtime_ns + SLACK
    except OSError:
        return True  # it runs still, or nobody knows when it ended


def _shows(spec: Path, names: set[bytes]) -> bool:
    try:
        data = spec.read_bytes()
        said = json.loads(data)
        if said.get("inode") != spec.parent.stat().st_ino:
            return False  # a copy, as in a restored workspace: it ran elsewhere
        return said["plan"] is not None and any(name in data for name in names)
    except FileNotFoundError:
        return False
    except (OSError, ValueError, LookupError, TypeError):
        return True


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
