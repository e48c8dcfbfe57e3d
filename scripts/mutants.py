"""Does every line that upholds a guarantee have a test that fails without it?

`tests/durability/mutants.yaml` lists such lines. One at a time is removed, in a copy of the tree, and
the tests that are named for it are run there: they must fail. A mutant that they let live means that a
test is missing. The tree itself is never touched.

    python scripts/mutants.py [--jobs N] [WORD ...]     only those whose number, guarantee or file has WORD
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests" / "durability" / "mutants.yaml"
NEEDED = ("src", "tests", "scripts", "docs", "pyproject.toml", "README.md", "Makefile")
SECONDS = 240.0
"""A mutant whose tests take longer counts as killed: it hangs."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    number: int
    guarantee: str
    file: str
    remove: str
    """Stands exactly once in the file."""
    put: str
    tests: tuple[str, ...]

    @property
    def label(self) -> str:
        line = self.remove.strip().splitlines()[0]
        return f"{self.number:3} {self.guarantee:4} {self.file.removeprefix('src/perdure/')}: {line[:70]}"

    def problem(self, root: Path) -> str:
        """Why it cannot be applied."""
        path = root / self.file
        if not path.is_file():
            return "the file is gone"
        count = path.read_text().count(self.remove)
        return "" if count == 1 else f"its text stands there {count} times"


def read() -> list[Mutant]:
    found = []
    for number, entry in enumerate(yaml.safe_load(LIST.read_text()), 1):
        entry = dict(entry)
        tests = entry["test"] if isinstance(entry["test"], list) else [entry["test"]]
        found.append(
            Mutant(
                number=number,
                guarantee=entry["guarantee"],
                file=entry["file"],
                remove=entry["remove"],
                put=entry.get("put", ""),
                tests=tuple(tests),
            )
        )
    return found


def copy_tree(place: Path) -> Path:
    tree = place / "tree"
    tree.mkdir()
    skip = shutil.ignore_patterns("__pycache__", "node_modules", ".hypothesis")
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=skip)
        elif source.exists():
            shutil.copy2(source, tree / name)
    return tree


def run_tests(tree: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """pytest's exit code; -1 when it took too long."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_PROFILE": "default",
    }
    command = [
        sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider",
        "--timeout", "45", "-m", "not slow", *tests,
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        out, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return -1, "it took too long"
    return process.returncode, out


def judge(tree: Path, mutant: Mutant) -> str:
    """Empty when the tests noticed; else what is wrong."""
    path = tree / mutant.file
    whole = path.read_text()
    path.write_text(whole.replace(mutant.remove, mutant.put))
    try:
        code, out = run_tests(tree, mutant.tests)
    finally:
        path.write_text(whole)
    if code in (1, -1):
        return ""
    if code == 0:
        return "SURVIVED: " + " ".join(mutant.tests)
    return f"pytest ended with {code}: {out[-600:]}"


def work(todo: queue.SimpleQueue[Mutant], results: dict[int, str], lock: threading.Lock) -> None:
    with tempfile.TemporaryDirectory(prefix="perdure-mutants-") as place:
        tree = copy_tree(Path(place))
        while True:
            try:
                mutant = todo.get_nowait()
            except queue.Empty:
                return
            began = time.monotonic()
            found = judge(tree, mutant)
            with lock:
                results[mutant.number] = found
                took = time.monotonic() - began
                print(f"{'  ' if not found else '✗ '}{mutant.label}  ({took:.0f} s)", flush=True)
                if found:
                    print(f"      {found}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("words", nargs="*")
    options: Any = parser.parse_args()

    mutants = read()
    if options.words:
        mutants = [
            m
            for m in mutants
            if any(w in (str(m.number), m.guarantee) or w in m.file for w in options.words)
        ]
    broken = [(m, why) for m in mutants if (why := m.problem(ROOT))]
    for mutant, why in broken:
        print(f"✗ {mutant.label}\n      {why}: bring {LIST.relative_to(ROOT)} up to date")
    mutants = [m for m in mutants if not m.problem(ROOT)]

    tests = tuple(dict.fromkeys(t for m in mutants for t in m.tests))
    print(f"{len(mutants)} mutants; first, {len(tests)} tests as they are ...", flush=True)
    with tempfile.TemporaryDirectory(prefix="perdure-mutants-") as place:
        code, out = run_tests(copy_tree(Path(place)), tests)
    if code != 0:
        print(out[-3000:])
        print("The tests fail already without a mutant.")
        return 1

    todo: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
    for mutant in mutants:
        todo.put(mutant)
    results: dict[int, str] = {}
    lock = threading.Lock()
    threads = [
        threading.Thread(target=work, args=(todo, results, lock)) for _ in range(options.jobs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    survivors = [n for n, found in results.items() if found]
    print(
        f"{len(results) - len(survivors)} of {len(results)} mutants were noticed"
        + (f"; survivors: {', '.join(map(str, sorted(survivors)))}" if survivors else "")
        + (f"; {len(broken)} could not be applied" if broken else "")
    )
    return 1 if survivors or broken else 0


if __name__ == "__main__":
    sys.exit(main())
