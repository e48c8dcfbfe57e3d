"""Where a program's name leads."""

from __future__ import annotations

import functools
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
    for folder, relative, system in _searched(search):
        if relative:
            # The working directory, or below it: whoever writes there decides.
            for base in folders:
                path = os.path.normpath(os.path.join(base, folder, name))  # noqa: PTH118
                if _runs(path):
                    return path, f"{name} is {path}, which PATH finds from the working directory"
            continue
        path = f"{folder}/{name}"
        if _runs(path):
            return path, "" if system else f"{name} is {path}, outside the system's folders"
    return "", f"there is no program {name}"


_last: dict[tuple[str, str, tuple[str, ...]], str] = {}
"""Where a program was found the last time: it is looked for there first."""
_LAST_KEPT = 64


def there_is(name: str, search: str, folders: Sequence[str]) -> bool:
    """Would this name run any program now? Looks at the disk."""
    key = (name, search, tuple(folders))
    if (known := _last.get(key)) is not None and _runs(known):
        return True
    found, _ = locate(name, search, folders)
    if found:
        if len(_last) >= _LAST_KEPT:
            _last.clear()
        _last[key] = found
    return bool(found)


@functools.lru_cache(8)
def _searched(search: str) -> tuple[tuple[str, bool, bool], ...]:
    """The folders of a PATH without a slash at the end, whether each is relative, and the system's."""
    found = []
    for folder in search.split(os.pathsep):
        relative = not folder.startswith("/")
        bare = folder.rstrip("/")
        found.append((folder if relative else bare, relative, bare in SYSTEM))
    return tuple(found)


def _runs(path: str) -> bool:
    if not os.access(path, os.X_OK):
        return False
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except (OSError, ValueError):
        return False
