"""The way in: a line's commands, read once per text, with their programs looked up each time."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path

from .context import Context
from .lookup import locate, there_is
from .model import Parsed
from .scene import Scene


def parse(command: str, *, workdir: Path, search: str | None = None) -> Parsed:
    """The commands of a line that bash would run in `workdir`, `search` being its PATH (None: this
    process's). Never raises. Looks at the disk to find programs, never for anything else."""
    read, called = _read(command, os.fspath(workdir))
    found = os.environ.get("PATH", os.defpath) if search is None else search
    if not there_is("bash", found, read.folders):
        # Then it is sh that reads the line.
        read, called = _read(command, os.fspath(workdir), bash=False)
    commands = []
    for place, one in enumerate(read.commands):
        name = one.words[0].text
        if one.builtin or not name:
            commands.append(one)
            continue
        program, foreign = locate(name, found, read.folders)
        if place in called and not program:
            commands.append(dataclasses.replace(one, builtin=True, transparent=True))
        else:
            commands.append(one.located(program, foreign))
    return Parsed(
        text=read.text,
        commands=tuple(commands),
        unknown=read.unknown,
        folders=read.folders,
        steers=read.steers,
    )


@functools.lru_cache(256)
def _read(text: str, workdir: str, *, bash: bool = True) -> tuple[Parsed, frozenset[int]]:
    """All that does not depend on the disk."""
    scene = Scene(workdir, bash)
    try:
        scene.script(text, Context(), dialect="bash" if bash else "sh")
        scene.finish()
    except (
        Exception
    ) as error:  # the text is anybody's: whatever is wrong with it, it is not understood
        scene.unclear(f"it cannot be read ({type(error).__name__})")
    read = Parsed(
        text=text,
        commands=tuple(scene.commands),
        unknown=tuple(scene.unknown),
        folders=tuple(scene.folders),
        steers=tuple(scene.steers),
    )
    return read, frozenset(scene.called)
