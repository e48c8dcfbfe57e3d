"""A real process on a real disk, killed with SIGKILL while it commits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from perdure.kernel.events import SessionId

from .help import store_in

WRITER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.conformance.session_log import record
from perdure.kernel.errors import Conflict
from perdure.storage import Committer, SessionStore, SystemClock
async def write(store, name):
    try:
        opened = await store.create(name)
    except Conflict:
        opened = await store.open(name)
    while True:
        seq = opened.log.last + 1
        opened.log.append([record(seq, "x" * (seq * 37 % 5000)), record(seq + 1)])
        await opened.log.commit()
        print(name, seq + 1, flush=True)
async def main():
    store = SessionStore(Path(sys.argv[1]), Committer(), SystemClock())
    await asyncio.gather(*[write(store, f"s_{n}") for n in range(3)])
asyncio.run(main())
"""


def killed_after(root: Path, lines: int) -> dict[str, int]:
    """What the writer said was stored before it was killed: the last record by session."""
    here = Path(__file__).parents[2]
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), str(here)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    told = [writer.stdout.readline() for _ in range(lines)]
    writer.kill()
    rest, _ = writer.communicate()
    said: dict[str, int] = {}
    for line in [*told, *rest.splitlines(keepends=True)]:
        if line.endswith("\n"):
            name, _, seq = line.partition(" ")
            said[name] = int(seq)
    return said


async def test_what_a_killed_process_said_was_stored_is_there_every_time(tmp_path: Path) -> None:
    root = tmp_path / "P"
    for lines in (1, 4, 50):
        said = killed_after(root, lines)
        with store_in(root) as store:
            for name, seq in said.items():
                session = await store.open(SessionId(name))
                assert session.log.last >= seq and session.log.damage is None
                found = [r.seq for r in session.log.read()]
                assert found == list(range(1, session.log.last + 1))
                await session.log.close()
                assert store.verify(SessionId(name)).ok
