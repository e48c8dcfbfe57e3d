"""What no command may see, wherever a folder that it may see holds it."""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
# ruff: noqa: PTH114, PTH116
from __future__ import annotations

import functools
import os
import stat
import time
from collections.abc import Iterator, Sequence

from perdure.credentials import CREDENTIALS, SYSTEM, of_owner

FRESH = 60.0
"""Seconds for which the look at /etc holds."""
STEADY = 2_000_000_000
"""Nanoseconds since a folder's last change, from which on its stamp tells of the next one: more than the
coarsest clock of a file system."""
DEPTH = 4
"""Folders deep below /etc."""


def of_home(home: str, shown: Sequence[str]) -> Iterator[str]:
    """Credentials that lie in what is shown."""
    links = _links(home)
    for name in CREDENTIALS:
        path = f"{home}/{name}"
        if path in links:
            path = os.path.realpath(path)
        if any(path.startswith(f"{folder}/") or path == folder for folder in shown):
            yield path


def hides(path: str, home: str) -> bool:
    """Is this, or a folder that it lies in, hidden wherever it would be seen? `path` is a real one."""
    if not path.startswith("/"):
        return False
    folder = home.rstrip("/")
    if path.startswith(f"{folder}/") and of_owner(path[len(folder) + 1 :]):
        return True
    if any(within(path, hidden) for hidden in _led(folder)):
        return True
    if path.startswith(("/etc/", "/opt/")):
        return any(within(path, hidden) for hidden in (*SYSTEM, *of_system()))
    return False


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


Stamp = tuple[int, int, int, int] | None
_PARENTS = sorted(
    {name[:at] for name in CREDENTIALS for at in (0, *(i for i, c in enumerate(name) if c == "/"))}
)
_known: dict[str, tuple[tuple[Stamp, ...], frozenset[str]]] = {}


def _links(home: str) -> frozenset[str]:
    """Those of a home folder that are links or lie beyond one; looked for again when a folder on the way to
    one has changed. A folder that changed just now may change again without its stamp telling: that is not
    remembered."""
    stamps = tuple(_stamps(home))
    stamped, links = _known.get(home, ((), frozenset()))
    if stamped == stamps:
        return links
    real = os.path.realpath(home or "/").rstrip("/")
    beyond = {p for p in _PARENTS if p and os.path.realpath(f"{home}/{p}") != f"{real}/{p}"}
    links = frozenset(
        f"{home}/{name}"
        for name in CREDENTIALS
        if name.rpartition("/")[0] in beyond or os.path.islink(f"{home}/{name}")
    )
    if max((max(s[2:]) for s in stamps if s), default=0) < time.time_ns() - STEADY:
        _known[home] = stamps, links
    else:
        _known.pop(home, None)
    return links


def _stamps(home: str) -> Iterator[Stamp]:
    absent: tuple[str, ...] = ()
    for parent in _PARENTS:  # an outer one comes before what is in it
        if parent.startswith(absent):
            continue
        try:
            seen = os.stat(f"{home}/{parent}")
        except OSError:
            absent = (*absent, f"{parent}/")
            yield None
        else:
            yield seen.st_dev, seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns


def _led(home: str) -> Iterator[str]:
    """Where those of a home folder lead that are links."""
    return (os.path.realpath(path) for path in _links(home))


def of_system() -> tuple[str, ...]:
    """Files and folders of /etc that are not everybody's: root could read them without any power."""
    return _private(int(time.monotonic() / FRESH)) if os.geteuid() == 0 else ()


@functools.lru_cache(maxsize=1)
def _private(_: int) -> tuple[str, ...]:
    found = [p for p in SYSTEM if os.path.lexists(p) and not os.path.islink(p)]
    return tuple(dict.fromkeys([*found, *_closed("/etc", DEPTH), *_closed("/opt", 1)]))


def _closed(folder: str, depth: int) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        try:
            seen = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        mode = seen.st_mode
        if stat.S_ISLNK(mode) or (stat.S_ISREG(mode) and not seen.st_size):
            continue
        if not mode & stat.S_IROTH:
            yield entry.path
        elif stat.S_ISDIR(mode) and depth > 1:
            yield from _closed(entry.path, depth - 1)
