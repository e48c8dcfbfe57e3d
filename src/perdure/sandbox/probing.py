"""Trying the attacks: an arena is made, and each is run in it as the command of a tool would be."""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from perdure.kernel.errors import PerdureError

from .attacks import ATTACKS, FILE_SIZE, MEMORY, NOT_TRIED, PROCESSES, Attack
from .commands import SupervisedCommands
from .containment import Confines, Containment, Unavailable
from .means import Means

LONGEST = 30.0
"""Seconds for one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    attack: Attack
    outcome: Literal["held", "broken", "untried"]
    said: str = ""


def arena(folder: Path) -> Path:
    """A working folder with what is to be kept from commands, beside a secret. The working folder."""
    work = folder / "work"
    (work / ".perdure").mkdir(parents=True)
    (work / ".perdure/policy.yaml").write_text("mode: ask\n")
    (work / "perdure.yaml").write_text("server: {token: secret}\n")
    (folder / "outside").mkdir()
    (folder / "outside/secret").write_text("secret\n")
    if shutil.which("git"):
        subprocess.run(["git", "init", "-q", work], check=False, capture_output=True, timeout=10)
    (work / ".git/hooks").mkdir(parents=True, exist_ok=True)
    (work / ".git/config").touch()
    return work


async def attack_all(
    confines: Confines, *, chosen: Callable[[Means], None] = lambda _: None
) -> AsyncIterator[Result]:
    """`chosen` is told what contains them. Raises Unavailable, at the first, when nothing contains
    commands, or nothing is to."""
    if confines.backend == "none":
        raise Unavailable("there is nothing to be tested: `sandbox.backend` is none")
    confines = dataclasses.replace(
        confines, memory=MEMORY, processes=PROCESSES, file_size=FILE_SIZE, network="none"
    )
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="perdure-arena-"))
        place = Path(os.path.realpath(folder))
        work = arena(place)
        door = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = door.getsockname()[1]
        if hasattr(socket, "AF_UNIX") and os.path.exists("/proc"):  # noqa: PTH110
            abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
            abstract.bind(f"\0perdure-{port}")
            abstract.listen()
        commands = SupervisedCommands(place / "state/processes")
        inside = commands.within(
            lambda: Containment(
                session="arena",
                workdir=work,
                control=(work / ".perdure", work / "perdure.yaml"),
                confines=confines,
            )
        )
        try:
            means = commands.choice.means(confines)
            chosen(means)
            for number, attack in enumerate(ATTACKS):
                if attack.only and means.name not in attack.only:
                    text = f"not promised by {means.name}"
                    yield Result(attack=attack, outcome="untried", said=text)
                    continue
                if attack.language == "python" and shutil.which("python3") is None:
                    yield Result(attack=attack, outcome="untried", said="there is no python3")
                    continue
                try:
                    outcome = await inside.run(
                        attack.argv(str(place), port), key=f"{number}", cwd=work, timeout=LONGEST
                    )
                except (PerdureError, OSError) as error:
                    yield Result(attack=attack, outcome="untried", said=str(error))
                    continue
                said = outcome.output.read_text("utf-8", "replace").strip()[-300:]
                if outcome.state != "exited":
                    said = f"{outcome.state} {outcome.error} {said}".strip()
                match outcome.exit_code:
                    case 0:
                        yield Result(attack=attack, outcome="held", said=said)
                    case 1 if "Traceback" not in said and not said.startswith("bwrap: "):
                        yield Result(attack=attack, outcome="broken", said=said)
                    case code:
                        text = said if code == NOT_TRIED else f"exit code {code}: {said}"
                        yield Result(attack=attack, outcome="untried", said=text)
        finally:
            await commands.close()
