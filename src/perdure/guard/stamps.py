"""Is a file still the one that was read? Told by its times, its size and which file it is."""

from __future__ import annotations

import os

Stamp = tuple[int, ...]


def stamp_of(path: str | os.PathLike[str]) -> Stamp:
    """Empty: there is no such file. Several of these stand before every call."""
    try:
        seen = os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        return ()
    except OSError as error:
        return (error.errno or -1,)
    return seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino
