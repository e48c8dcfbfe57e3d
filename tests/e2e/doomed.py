"""A real server whose process is killed by SIGKILL at the nth write or sync of its disk.

Run as a script: doomed.py WORKSPACE N KIND, KIND being `write`, `sync` or `after` (right after a sync).
Everything but that disk is what `perdure serve` runs.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from perdure.agents import open_workspace
from perdure.runtime import open_runtime
from perdure.server import ServerSettings, serve
from perdure.storage import RealDisk


class DoomedDisk(RealDisk):
    def __init__(self, left: int, kind: str) -> None:
        super().__init__()
        self._left, self._kind = left, kind

    def _count(self, kind: str) -> None:
        if kind == self._kind:
            self._left -= 1
            if self._left <= 0:
                die()

    def write(self, handle: int, data: bytes) -> None:
        if self._kind == "write" and self._left == 1:
            super().write(handle, data[: len(data) // 2])  # torn
        self._count("write")
        super().write(handle, data)

    def sync(self, handle: int) -> None:
        self._count("sync")
        super().sync(handle)
        self._count("after")

    def sync_path(self, path: Path) -> None:
        self._count("sync")
        super().sync_path(path)
        self._count("after")


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit  # not reached


def main() -> None:
    root, left, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    workspace = open_workspace(root)
    disk = DoomedDisk(left, kind)
    serve(
        lambda: open_runtime(workspace, disk=disk),
        ServerSettings(),
        run=workspace.private / "run",
    )


if __name__ == "__main__":
    main()
