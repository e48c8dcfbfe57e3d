"""Programs outside of the system's folders that commands may run: what PATH leads to."""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
# ruff: noqa: PTH110, PTH112, PTH113, PTH118, PTH120, PTH123
from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/run/current-system",
    "/snap/bin",
    "/var/lib/dpkg",
    "/var/lib/ca-certificates",
)
"""Shown to every command, where they are, and never writable."""
AT_HOME = (
    ".local/bin",
    ".local/lib",
    ".local/pipx",
    ".local/share/pipx",
    ".local/share/uv",
    ".local/share/mise",
    ".local/share/fnm",
    ".local/share/pnpm",
    ".cargo/bin",
    ".rustup",
    ".pyenv",
    ".rbenv",
    ".nvm",
    ".fnm",
    ".nodenv",
    ".volta",
    ".asdf",
    ".sdkman",
    ".jenv",
    ".bun/bin",
    ".deno/bin",
    ".ghcup",
    ".juliaup",
    ".dotnet",
    "go/bin",
    "miniconda3",
    "anaconda3",
    "miniforge3",
)
"""Below the home folder."""
GIT = (".gitconfig", ".config/git/config", ".config/git/ignore", ".config/git/attributes")
_TELLTALE = re.compile(
    rb"token|passw|secret|extraheader|oauth|://[^\s/@]+:[^\s/@]+@", re.IGNORECASE
)
FRESH = 20.0


def toolchains(path: str, home: Path) -> tuple[str, ...]:
    """Folders and files to be shown besides the system's; real paths."""
    return _found(path, str(home), int(time.monotonic() / FRESH))


@functools.lru_cache(maxsize=8)
def _found(path: str, home: str, _: int) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name in AT_HOME:
        _add(found, os.path.join(home, name), home)
    for name in GIT:
        file = os.path.join(home, name)
        if os.path.isfile(file) and not _tells(file):
            _add(found, file, home)
    for entry in path.split(os.pathsep):
        if os.path.isdir(entry):
            for folder in _of_entry(os.path.realpath(entry), home):
                _add(found, folder, home)
    return tuple(found)


def _add(found: dict[str, None], path: str, home: str) -> None:
    real = os.path.realpath(path)
    if not os.path.exists(real) or any(_within(real, f) for f in (*SYSTEM, *found)):
        return
    # Nothing that would show the home folder, or all of the machine, with it.
    if real == "/" or _within(home, real):
        return
    found[real] = None


def _of_entry(folder: str, home: str) -> Iterator[str]:
    """What the programs in a folder of PATH need: the tree they were installed as."""
    above = os.path.dirname(folder)
    settings = os.path.join(above, "pyvenv.cfg")
    if os.path.isfile(settings):  # a virtualenv, and the Python it was made of
        yield above
        for base in _bases(settings):
            yield from _of_entry(os.path.realpath(base), home)
    elif os.path.isdir(os.path.join(above, "lib")) and above != home:
        yield above
    else:
        yield folder


def _bases(settings: str) -> Iterator[str]:
    try:
        with open(settings, encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition("=")
                if key.strip() == "home" and os.path.isdir(value.strip()):
                    yield value.strip()
    except OSError:
        return


def _tells(file: str) -> bool:
    """Does it look as if it held a credential?"""
    try:
        with open(file, "rb") as opened:
            return _TELLTALE.search(opened.read(1 << 20)) is not None
    except OSError:
        return True


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
