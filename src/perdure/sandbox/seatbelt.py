"""The profile for macOS' sandbox-exec: everything is refused but what is named."""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .walls.plan import PROXY_PORT, Step

if TYPE_CHECKING:
    from .planning import View

SYSTEM = (
    "/bin",
    "/sbin",
    "/usr",
    "/System",
    "/Library/Apple",
    "/Library/Developer",
    "/Library/Frameworks",
    "/opt/homebrew",
    "/opt/local",
    "/private/etc",
    "/private/var/select",
    "/private/var/db/timezone",
    "/private/var/db/dyld",
    "/dev",
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/tty", "/dev/dtracehelper", "/dev/ptmx")

HEAD = """(version 1)
(deny default)
(allow process-fork)
(allow process-exec)
(allow signal (target same-sandbox))
(allow sysctl-read)
(allow mach-lookup (global-name "com.apple.system.opendirectoryd.libinfo"))
(allow ipc-posix-shm)
(allow file-read-metadata)
(allow file-read* (literal "/"))
(allow file-ioctl (regex #"^/dev/tty"))
(allow file-read* file-write* (regex #"^/dev/ttys[0-9]+$"))
"""


def profile(
    view: View,
    steps: Sequence[Step],
    private: Path,
    network: Literal["none", "proxy", "open"],
    script: Path | None,
) -> str:
    """Later rules win over earlier ones: so what is kept or hidden comes last."""
    lines = [HEAD.rstrip()]
    for folder in (*SYSTEM, *view.tools, *view.read):
        lines.append(f"(allow file-read* (subpath {_quoted(folder)}))")
    for folder in (*view.write, f"{private}/tmp", f"{private}/home"):
        lines.append(f"(allow file-read* file-write* (subpath {_quoted(folder)}))")
    for device in DEVICES:
        lines.append(f"(allow file-read* file-write* (literal {_quoted(device)}))")
    for kind, path in steps:
        if kind == "hide":
            lines.append(f"(deny file-read* file-write* (subpath {_quoted(path)}))")
        elif kind == "keep":
            lines.append(f"(deny file-write* (subpath {_quoted(path)}))")
        else:  # renamed, it would take along what it holds
            lines.append(f"(deny file-write-unlink (literal {_quoted(path)}))")
    if script:
        lines.append(f"(allow file-read* (literal {_quoted(os.path.realpath(script))}))")
    if network == "open":
        lines.append("(allow network*)")
    elif network == "proxy":
        lines.append(f'(allow network-outbound (remote ip "localhost:{PROXY_PORT}"))')
    return "\n".join(lines) + "\n"


def _quoted(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
