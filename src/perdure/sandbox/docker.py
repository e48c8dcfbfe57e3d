"""The docker backend: each command in a container of its own, thrown away afterwards."""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .containment import Confines, Unavailable
from .walls.plan import Plan, Step

if TYPE_CHECKING:
    from .planning import View

ASKING = 10.0
"""Seconds."""
PASSED = ("HOME", "TMPDIR", "LANG", "TERM", "TZ", "PWD", "PERDURE_PROCESS")
"""Of the environment; PATH is the image's own."""


def reachable(program: str) -> str:
    """Why its daemon cannot be used; empty when it can. Blocking."""
    asking = [program, "version", "--format", "{{.Server.Version}}"]
    try:
        done = subprocess.run(asking, capture_output=True, text=True, timeout=ASKING, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return f"docker does not answer: {error}"
    said = done.stderr.strip().splitlines()
    return (
        ""
        if done.returncode == 0
        else f"docker does not answer: {said[-1] if said else 'no reason given'}"
    )


def wrapped(
    plan: Plan,
    view: View,
    steps: Sequence[Step],
    private: Path,
    script: Path | None,
    confines: Confines,
) -> tuple[list[str], list[str]]:
    """What to put before a command, and what to run after it. Raises Unavailable."""
    from .planning import SCRIPT

    program, limits = plan["program"], plan["limits"]
    if plan["network"] == "open":
        network = "bridge"
    else:
        network = "none"
        plan["proxy"] = ""
    name = f"perdure-{secrets.token_hex(8)}"
    args = [program, "run", "--rm", "--interactive", "--init", "--name", name]
    args += ["--network", network, "--read-only", "--cap-drop", "ALL"]
    args += ["--security-opt", "no-new-privileges", "--ipc", "private"]
    args += ["--user", f"{os.getuid()}:{os.getgid()}", "--tmpfs", "/run"]
    if limits["processes"]:
        args += ["--pids-limit", str(limits["processes"])]
    if limits["memory"]:
        args += ["--memory", str(limits["memory"]), "--memory-swap", str(limits["memory"])]
    if limits["file_size"]:
        args += ["--ulimit", f"fsize={limits['file_size']}"]
    mounts = [(f"{private}/home", view.home, ""), (f"{private}/tmp", "/tmp", "")]
    mounts += [(folder, folder, "") for folder in view.write]
    mounts += [(folder, folder, ",readonly") for folder in view.read]
    if script:
        mounts.append((os.path.realpath(script), SCRIPT, ",readonly"))
    for source, place, how in mounts:
        args += ["--mount", f"type=bind,source={_plain(source)},target={_plain(place)}{how}"]
    for kind, path in steps:
        if not any(path.startswith(f"{folder}/") for folder in (*view.write, *view.read)):
            continue
        if kind == "hide" and Path(path).is_dir():
            args += ["--mount", f"type=tmpfs,target={_plain(path)},tmpfs-size=4096"]
        elif kind == "hide":
            args += ["--mount", f"type=bind,source=/dev/null,target={_plain(path)},readonly"]
        else:
            how = ",readonly" if kind == "keep" else ""
            args += ["--mount", f"type=bind,source={_plain(path)},target={_plain(path)}{how}"]
    for variable in PASSED:
        args += ["--env", variable]
    args += ["--workdir", view.write[0], confines.image]
    return args, [program, "rm", "--force", name]


def _plain(path: str) -> str:
    if "," in path or '"' in path:
        raise Unavailable(f"the docker backend cannot show {path}: its name has a comma or a quote")
    return path
