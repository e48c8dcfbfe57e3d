"""Resolve the dependencies into requirements*.lock, for every platform.

With hashes, and without the address of the registry they came from.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = "# Made by `make lock` from pyproject.toml.\n"
COMMON = (
    *("--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate"),
    *("--no-header", "--no-emit-index-url", "--no-emit-find-links", "--quiet", "--upgrade"),
)


def compile_lock(name: str, *options: str, source: str = "pyproject.toml") -> None:
    target = ROOT / name
    command = [sys.executable, "-m", "uv", "pip", "compile", source, *COMMON, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    target.write_text(HEAD.replace("pyproject.toml", source) + done.stdout)
    print(f"{name}: {done.stdout.count('==')} packages")


if __name__ == "__main__":
    compile_lock("requirements.lock", "--group", "build")
    compile_lock("requirements-dev.lock", "--group", "build", "--group", "dev")
    compile_lock("requirements-dojo.lock", "--no-deps", source="tests/dojo/requirements.in")
