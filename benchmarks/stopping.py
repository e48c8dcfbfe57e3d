"""Stop latency (D11): from the request to the last process gone, for trees that do not want to go."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .meter import Facts

if TYPE_CHECKING:
    from perdure.sandbox import SupervisedCommands

TREES: dict[str, str] = {
    "plain": "touch up; exec sleep {mark}",
    "daemons": "(setsid sleep {mark} &); (setsid sh -c 'sleep {mark} & sleep {mark}' &); touch up; "
    "sleep {mark}",
    "ignores_term": "trap '' TERM HUP INT; sleep {mark} & touch up; sleep {mark}",
    "stopped": "sleep {mark} & kill -STOP $!; touch up; kill -STOP $$; sleep {mark}",
    "everything": "trap '' TERM; (setsid sleep {mark} &); sleep {mark} & kill -STOP $!; touch up; "
    "sleep {mark}",
    "hundred": "trap '' TERM; for i in $(seq 100); do (setsid sleep {mark} &); done; touch up; sleep {mark}",
    "forks_on": "trap '' TERM; touch up; while :; do (setsid sleep {mark} &); sleep 0.02; done",
    "supervisor_stopped": "(setsid sleep {mark} &); kill -STOP $PPID; touch up; sleep {mark}",
}
"""What runs when it is stopped. `{mark}` is a number of seconds by which its processes are found; `up`
is there once the tree is."""


def _alive(mark: str) -> bool:
    from perdure.sandbox.supervision.processes import pids, stat_of

    wanted = f"sleep\0{mark}\0".encode()
    for pid in pids():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if line == wanted and (stat := stat_of(pid)) is not None and stat[0] not in "ZX":
            return True
    return False


async def _time(mark: str, stop: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Seconds from the request until it is answered, and until the last process is gone."""
    gone = 0.0

    def look() -> None:
        nonlocal gone
        while _alive(mark):
            time.sleep(0.002)
        gone = time.perf_counter()

    began = time.perf_counter()
    looking = threading.Thread(target=look)
    looking.start()
    await stop()
    answered = time.perf_counter()
    await asyncio.to_thread(looking.join)
    return answered - began, gone - began


async def _foreground(
    commands: SupervisedCommands, command: str, mark: str, folder: Path
) -> tuple[float, float]:
    task = asyncio.create_task(commands.run(command, key=mark, cwd=folder, timeout=60.0))
    await _up(folder)

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    return await _time(mark, stop)


async def _background(
    commands: SupervisedCommands, command: str, mark: str, folder: Path
) -> tuple[float, float]:
    process = await commands.background.start("s_bench", command, key=mark, cwd=folder)
    await _up(folder)
    return await _time(mark, lambda: commands.background.stop(process))


async def _up(folder: Path) -> None:
    while not (folder / "up").exists():
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)


async def stopping(*, rounds: int = 5) -> Facts:
    """Milliseconds: `<tree>_ms`, the median of running commands and background processes; `worst_ms`;
    `answer_ms`, the longest that whoever asked had to wait."""
    from perdure.sandbox import SupervisedCommands

    facts: Facts = {}
    worst = answer = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        commands = SupervisedCommands(Path(scratch) / "processes")
        for name, tree in TREES.items():
            took = []
            for n in range(rounds):
                for kind, run in enumerate((_foreground, _background)):
                    folder = Path(scratch) / f"{name}-{n}-{kind}"
                    folder.mkdir()
                    mark = f"{7300 + len(facts)}.{os.getpid()}{n}{kind}"
                    answered, gone = await run(commands, tree.replace("{mark}", mark), mark, folder)
                    took.append(gone)
                    worst, answer = max(worst, gone), max(answer, answered)
            facts[f"{name}_ms"] = round(statistics.median(took) * 1000, 1)
        await commands.background.stop_all("s_bench")
        await commands.close()
    return facts | {"worst_ms": round(worst * 1000, 1), "answer_ms": round(answer * 1000, 1)}
