"""What a checkpoint costs on a folder of 10,000 files: the first, one with nothing changed, one with a
single file changed; and what a bare walk over the folder costs, and git for the same job."""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .meter import Facts

IGNORE = "*.log\nbuild/\n/dist\n*.o\n!keep.o\ndocs/_build/\n"
SETTLE = 2.2
"""Seconds after which the stat cache trusts a file's times."""


def checkpoints(*, files: int = 10_000, repeats: int = 7) -> Facts:
    """Milliseconds, medians; `cpu` is this process's, `wall` what a turn waits."""
    from perdure.checkpoints import Checkpoints
    from perdure.kernel.events import SessionId, TurnId
    from perdure.storage import SystemClock, TimeIds

    root = Path(tempfile.mkdtemp(prefix="perdure-bench-"))
    try:
        work = root / "work"
        _fill(work, files)
        store = Checkpoints(root / "checkpoints", SystemClock(), TimeIds())
        turns = iter(range(1_000_000))

        def take() -> None:
            number = next(turns)
            store.take(SessionId("s_bench"), work, turn=TurnId(f"t_{number}"), seq=number)

        time.sleep(SETTLE)
        first = _timed(take)
        still = [_timed(take) for _ in range(repeats)]
        changed = []
        for number in range(repeats):
            (work / "p7" / "m7.py").write_text(f"changed {number}\n")
            changed.append(_timed(take))
        walks = [_timed(lambda: _walk(work)) for _ in range(repeats)]
        size = sum(p.stat().st_size for p in (root / "checkpoints").rglob("*") if p.is_file())
        facts: Facts = {
            "files": files,
            "first_cpu_ms": first[0],
            "first_wall_ms": first[1],
            "unchanged_cpu_ms": statistics.median(cpu for cpu, _ in still),
            "unchanged_wall_ms": statistics.median(wall for _, wall in still),
            "one_changed_cpu_ms": statistics.median(cpu for cpu, _ in changed),
            "one_changed_wall_ms": statistics.median(wall for _, wall in changed),
            "walk_cpu_ms": statistics.median(cpu for cpu, _ in walks),
            "store_mb": size / 1e6,
        }
        if shutil.which("git"):
            facts["git_one_changed_cpu_ms"], facts["git_one_changed_wall_ms"] = _git(
                root, work, repeats
            )
        return facts
    finally:
        shutil.rmtree(root)


def _fill(work: Path, files: int) -> None:
    for number in range(files):
        folder = work / f"p{number // 100}"
        if number % 100 == 0:
            folder.mkdir(parents=True)
        (folder / f"m{number % 100}.py").write_text(f"x = {number}\n" * 50)
    (work / ".gitignore").write_text(IGNORE)


def _timed(do: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall-clock milliseconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    do()
    return (time.process_time() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3


def _walk(folder: Path) -> int:
    """The floor: every entry's status, and nothing else."""
    count = 0
    with os.scandir(folder) as items:
        for item in items:
            count += item.stat(follow_symlinks=False).st_size
            if item.is_dir(follow_symlinks=False):
                count += _walk(Path(item.path))
    return count


def _git(root: Path, work: Path, repeats: int) -> tuple[float, float]:
    """A repository beside the folder, as others keep checkpoints: add everything, write the tree."""
    environment = {"PATH": os.environ["PATH"], "GIT_DIR": str(root / "git"), "HOME": "/nonexistent"}

    def git(*words: str) -> None:
        command = ["git", "-C", str(work), "--work-tree", str(work), *words]
        subprocess.run(command, env=environment, check=True, capture_output=True)

    git("init", "-q")
    git("add", "-A")
    found = []
    for number in range(repeats):
        (work / "p7" / "m7.py").write_text(f"git {number}\n")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        git("add", "-A")
        git("write-tree")
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found.append((cpu * 1e3, wall * 1e3))
    return statistics.median(c for c, _ in found), statistics.median(w for _, w in found)


if __name__ == "__main__":
    for name, value in checkpoints().items():
        print(f"{name:28} {value:10.1f}")
