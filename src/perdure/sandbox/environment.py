"""What a command inherits: an allow-list, so that no credential in our environment reaches it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ALLOWED = frozenset(
    (
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "TERM",
        "TMPDIR",
        "TZ",
        "LANG",
        "LANGUAGE",
        "COLORTERM",
    )
)
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def clean_environment(source: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that commands may see."""
    kept = {
        k: v for k, v in source.items() if (k in ALLOWED or k.startswith("LC_")) and "\0" not in v
    }
    # A relative entry would let a file planted in the working directory stand in for a program.
    path = [p for p in kept.get("PATH", "").split(os.pathsep) if p.startswith("/")]
    kept["PATH"] = os.pathsep.join(path) or DEFAULT_PATH
    return kept


@functools.cache
def boot_id() -> str:
    """Identifies this run of the machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        pass
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        except (OSError, subprocess.SubprocessError):
            return ""
        return done.stdout.strip()
    return ""
