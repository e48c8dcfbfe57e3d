"""Played in a namespace of mounts of its own: an owner who mounts and unmounts a folder between commands."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from perdure.sandbox.supervision.processes import stat_of

from .containing import Inside
from .runtimes import until


async def main(folder: str, backend: str) -> None:
    inside = Inside(Path(folder), backend)  # type: ignore[arg-type]
    vault = inside.work / "vault"
    vault.mkdir()

    async def stands_by() -> list[int]:
        await inside.says("true")
        # The last of what is mounted beforehand: they are apart for good.
        await until(lambda: inside.standing_by("/dev/shm " if backend == "launcher" else ""))
        return inside.standing_by()

    def names() -> list[str]:
        return sorted(path.name for path in vault.iterdir())

    def mount() -> None:
        subprocess.run(["mount", "-t", "tmpfs", "none", vault], check=True)

    def unmount() -> None:
        subprocess.run(["umount", vault], check=True)

    mount()
    (vault / "secret").write_text("unlocked")
    held = await stands_by()
    unmount()
    assert not names()
    assert await inside.says("ls vault; grep -c /vault /proc/self/mounts || true") == "0"
    await until(lambda: not any(stat_of(pid) for pid in held))

    await stands_by()
    mount()
    (vault / "new").write_text("new")
    assert await inside.says("ls vault; echo written > vault/kept") == "new"
    assert names() == ["kept", "new"]

    held = await stands_by()
    unmount()
    assert not names(), "it was written below what is mounted there"
    # Without any command: what nobody needs any more keeps nothing open.
    await until(lambda: not any(stat_of(pid) for pid in held))
    await inside.commands.close()


asyncio.run(main(*sys.argv[1:]))
