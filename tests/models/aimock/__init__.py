"""aimock, a model server that nobody here wrote (npm @copilotkit/aimock), on a port of its own.

It is found in `tests/counterparts/node_modules` (`npm ci` there), or in the `node_modules` folder that
PERDURE_NODE_MODULES names. Where it is not installed the tests that need it are skipped, but on CI they
fail: there it has to be.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

SCRIPT = Path("@copilotkit/aimock/dist/cli.js")
START_SECONDS = 30.0


def program() -> list[str] | None:
    """How to start it; None where it is not installed."""
    named = os.environ.get("PERDURE_NODE_MODULES")
    beside = Path(__file__).parents[2] / "counterparts" / "node_modules"
    script = (Path(named) if named else beside) / SCRIPT
    node = shutil.which("node")
    return [node, str(script)] if node and script.is_file() else None


def needs_aimock() -> None:
    """Skip the test, visibly, where aimock is not installed."""
    if program() is None:
        how = "aimock is not installed: `npm ci` in tests/counterparts"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(how)
        pytest.skip(how)


class Aimock:
    """A running server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def journal(self) -> list[dict[str, Any]]:
        """Every request it was sent, oldest first."""
        with urlopen(f"{self.url}/v1/_requests") as answer:
            entries: list[dict[str, Any]] = json.load(answer)
        return entries

    def assert_paired(self) -> None:
        """In every request each tool call has exactly one result (D3). aimock itself does not mind;
        its journal shows every protocol's messages in one form."""
        for entry in self.journal():
            messages = entry["body"]["messages"]
            made = [c["id"] for m in messages for c in m.get("tool_calls") or ()]
            given = [m["tool_call_id"] for m in messages if m["role"] == "tool"]
            assert made == given


@contextmanager
def aimock(folder: Path, fixtures: Sequence[dict[str, Any]]) -> Iterator[Aimock]:
    """Serve these fixtures, written into `folder`, until the block ends."""
    needs_aimock()
    command = program()
    assert command is not None
    (folder / "turns.json").write_text(json.dumps({"fixtures": list(fixtures)}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *command,
                *("-p", str(port), "-f", str(folder / "turns.json")),
                *("--strict", "--journal-max", "0"),
            ],
            env={**os.environ, "AIMOCK_STRICT_TURN_INDEX": "1"},
            stdout=log,
            stderr=log,
        )
        try:
            end = time.monotonic() + START_SECONDS
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > end:
                        raise RuntimeError((folder / "log").read_text()) from None
                    time.sleep(0.05)
            yield Aimock(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait()
