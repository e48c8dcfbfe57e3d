"""Where a program's name leads."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

SYSTEM = (
    "/bin",
    "/sbin",
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/opt/homebrew/bin",
    "/opt/homebrew/sbin",
    "/opt/local/bin",
    "/snap/bin",
    "/run/current-system/sw/bin",
    "/nix/var/nix/profiles/default/bin",
)
"""A bare name that is found here first means what everybody means by it."""


def locate(name: str, search: str, folders: Sequence[str]) -> tuple[str, str]:
    """The program that would run now, and why its name does not vouch for it. Looks at the disk."""
    if "/" in name:
        paths = [os.path.normpath(os.path.join(folder, name)) for folder in folders]  # noqa: PTH118
        found = next((p for p in paths if _runs(p)), paths[0] if paths else name)
        if os.path.dirname(found) in SYSTEM and name.startswith("/"):  # noqa: PTH120
            return found, ""
        return found, f"{name} is given by its path"
    for folder in search.split(os.pathsep):
        if not folder.startswith("/"):
            # The working directory, or below it: whoever writes there decides.
            for base in folders:
                path = os.path.normpath(os.path.join(base, folder, name))  # noqa: PTH118
                if _runs(path):
                    return path, f"{name} is {path}, which PATH finds from the working directory"
            continue
        path = f"{folder.rstrip('/')}/{name}"
        if _runs(path):
            if folder.rstrip("/") in SYSTEM:
                return path, ""
            return path, f"{name} is {path}, outside the system's folders"
    return "", f"there is no program {name}"


def _runs(path: str) -> bool:
    if not os.access(path, os.X_OK):
        return False
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except (OSError, ValueError):
        return False
