"""The environment the peers live in: made once, with the pinned versions, apart from Perdure's own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent.parent
SECONDS = 900


@dataclass(frozen=True, kw_only=True)
class Peers:
    python: Path
    versions: dict[str, str] = field(default_factory=dict)
    """Driver → the version of what it drives."""
    missing: dict[str, str] = field(default_factory=dict)
    """Driver → why it is skipped."""


def wanted() -> dict[str, list[str]]:
    lines = (HERE / "peers.txt").read_text().splitlines()
    rows = (line.split(":", 1) for line in lines if line.strip() and not line.startswith("#"))
    return {name: needs.split() for name, needs in rows}


def install(folder: Path) -> Peers:
    """Make the environment if it is not there, and say what it has."""
    python = folder / "bin" / "python"
    peers = Peers(python=python)
    if not python.exists():
        made = _run([sys.executable, "-m", "venv", str(folder)])
        if made:
            peers.missing.update(dict.fromkeys(wanted(), made))
            return peers
    for name, needs in wanted().items():
        stamp = folder / f".{name}"
        text = " ".join(needs)
        if not stamp.exists() or stamp.read_text() != text:
            print(f"Installing {text} …", file=sys.stderr)
            options = ["-q", "--no-input", "--disable-pip-version-check", "--prefer-binary"]
            lock = ["-c", str(HERE / "peers.lock")]
            problem = _run([str(python), "-m", "pip", "install", *options, *lock, *needs])
            if problem:
                peers.missing[name] = problem
                continue
            stamp.write_text(text)
        peers.versions[name] = needs[0].rpartition("==")[2]
    return peers


def _run(argv: list[str]) -> str:
    """Empty when it went well, else the last thing it said."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "it could not be installed in time"
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return ""
    said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return "it could not be installed: " + (said or done.stderr.splitlines() or ["?"])[-1][:200]
