"""A backup is whole, consistent and small, and a workspace made from it is the same."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure import backup
from perdure.backup import records, sources
from perdure.backup.records import File, Manifest, encode
from perdure.checkpoints import Checkpoints
from perdure.kernel import events as e
from perdure.kernel.errors import Conflict, NotFound, StorageError
from perdure.kernel.labels import OWNER, Label
from perdure.runtime import open_runtime
from perdure.storage import Committer, FileLabels, RealDisk, SessionStore, SystemClock, TimeIds

from ..conformance.session_log import record
from ..runtime.house import call, house, say, until, workspace
from .test_depots import bucket, depot
from .world import S, fill, tree

__all__ = ["bucket", "depot"]


async def test_a_restored_workspace_is_the_one_that_was_backed_up(
    tmp_path: Path, depot: backup.Depot
) -> None:
    root, target = tmp_path / "w", tmp_path / "restored"
    await fill(root)
    made = backup.create(root, depot)
    assert made.manifest.problems == ()
    assert [(s.id, s.records, s.busy) for s in made.manifest.sessions] == [(S, 3, False)]
    assert backup.check(depot).ok
    done = backup.restore(depot, target)
    assert done.name == made.name
    before, after = tree(root), tree(target)
    left = {path for path in before if path not in after}
    assert after.items() <= before.items()
    assert left == {
        ".perdure/run/server.json",
        ".perdure/processes/p1/output",
        ".perdure/index.sqlite",
        ".perdure/sessions/s_1/lock",
        ".perdure/checkpoints/lock",
        ".perdure/checkpoints/folders.lock",
        "work/f",
    } | {path for path in before if "objects/seen/" in path}
    for path in after:
        assert (target / path).stat().st_mode == (root / path).stat().st_mode, path
    checkpoints = Checkpoints(target / ".perdure" / "checkpoints", SystemClock(), TimeIds())
    [taken] = checkpoints.list(S)
    (root / "work" / "f").unlink()
    checkpoints.restore(S, taken.id, seq=4)
    assert (root / "work" / "f").read_text() == "in a checkpoint"


async def test_only_what_is_new_is_stored(tmp_path: Path) -> None:
    root, depot = tmp_path / "w", backup.FolderDepot(tmp_path / "d")
    await fill(root)
    first = backup.create(root, depot)
    again = backup.create(root, depot)
    assert (again.new_pieces, again.manifest.files) == (0, first.manifest.files)
    (root / ".perdure" / "agents" / "default" / "SOUL.md").write_text("new soul")
    assert backup.create(root, depot).new_pieces == 1
    assert len(backup.check(depot).backups) >= 2


async def test_a_log_that_grew_shares_its_first_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.backup.making.PIECE", 1000)
    root, depot = tmp_path / "w", backup.FolderDepot(tmp_path / "d")
    await fill(root)
    committer = Committer(RealDisk())
    store = SessionStore(root / ".perdure", committer, SystemClock())
    log = f".perdure/sessions/{S}/events.jsonl"
    pieces: list[tuple[str, ...]] = []
    for begin in (4, 40):
        opened = await store.open(S)
        opened.log.append([record(seq, "x" * 100) for seq in range(begin, begin + 36)])
        await opened.log.commit()
        await opened.log.close()
        made = backup.create(root, depot)
        pieces += [file.pieces for file in made.manifest.files if file.path == log]
    committer.close()
    short, long = pieces
    assert len(short) > 4 and long[: len(short) - 1] == short[:-1]
    assert backup.check(depot).ok


async def test_content_that_is_known_by_its_name_is_not_read_again(tmp_path: Path) -> None:
    root, depot = tmp_path / "w", backup.FolderDepot(tmp_path / "d")
    await fill(root)
    backup.create(root, depot)
    [artifact] = (root / ".perdure" / "sessions" / S / "artifacts").iterdir()
    artifact.chmod(0o600)
    artifact.write_bytes(b"damaged since")
    backup.create(root, depot)
    assert backup.check(depot).ok
    backup.restore(depot, tmp_path / "r")
    restored = tmp_path / "r" / artifact.relative_to(root)
    assert restored.read_bytes() == b"a long output"


async def test_a_backup_while_sessions_write_is_a_whole_prefix_of_each(tmp_path: Path) -> None:
    """Backups of a workspace that is written to all the time: each is consistent in itself."""
    root, depot = tmp_path / "w", backup.FolderDepot(tmp_path / "d")
    await fill(root)
    committer = Committer(RealDisk())
    store = SessionStore(root / ".perdure", committer, SystemClock())
    stop = False

    async def write(name: e.SessionId) -> None:
        opened = await store.create(name)
        seq = 0
        while not stop:
            artifact = opened.artifacts.put(os.urandom(50), ".bin")
            result = e.ToolResult(artifact=artifact)
            event = e.ToolFinished(call=e.CallId("c"), tool="bash", result=result)
            seq += 1
            opened.log.append([e.Record(seq=seq, at=SystemClock().now(), event=event)])
            await opened.log.commit()
        await opened.log.close()

    writers = [asyncio.create_task(write(e.SessionId(f"s_w{n}"))) for n in range(3)]
    made = [await asyncio.to_thread(backup.create, root, depot) for _ in range(4)]
    stop = True
    await asyncio.gather(*writers)
    committer.close()
    report = backup.check(depot)
    assert report.ok, report.problems
    for number, one in enumerate(made):
        target = tmp_path / f"r{number}"
        backup.restore(depot, target, one.name)
        inner = Committer(RealDisk())
        copies = SessionStore(target / ".perdure", inner, SystemClock())
        for session in one.manifest.sessions:
            found = copies.verify(session.id)  # with every artifact that its log names
            assert found.ok and found.records == session.records, found.problems
        inner.close()
    counts = [sum(s.records for s in one.manifest.sessions) for one in made]
    assert counts == sorted(counts) and counts[-1] > counts[0]


async def test_a_torn_tail_is_not_copied(tmp_path: Path) -> None:
    root, depot = tmp_path / "w", backup.FolderDepot(tmp_path / "d")
    await fill(root)
    log = root / ".perdure" / "sessions" / S / "events.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"sum":"0123')
    made = backup.create(root, depot)
    assert made.manifest.sessions[0].records == 3
    backup.restore(depot, tmp_path / "r")
    assert (tmp_path / "r" / log.relative_to(root)).read_bytes() == whole


async def test_a_damaged_log_is_copied_as_it_is_and_said(tmp_path: Path) -> None:
    root, depot = tmp_path / "w", backup.FolderDepot(tmp_path / "d")
    await fill(root)
    log = root / ".perdure" / "sessions" / S / "events.jsonl"
    broken = log.read_bytes().replace(b"hello", b"jello")
    log.write_bytes(broken)
    made = backup.create(root, depot)
    assert "damaged at line 2" in made.manifest.problems[0]
    report = backup.check(depot)
    assert report.ok and "damaged" in report.backups[0][1].sessions[0].damage
    backup.restore(depot, tmp_path / "r")
    assert (tmp_path / "r" / log.relative_to(root)).read_bytes() == broken


async def test_keys_are_copied_encrypted_and_what_opens_them_is_not(tmp_path: Path) -> None:
    root, depot = tmp_path / "w", backup.FolderDepot(tmp_path / "d")
    await fill(root)
    config = tmp_path / "config"
    config.mkdir()
    (config / "credentials.age").write_bytes(b"age-encryption.org/v1 ...")
    (config / "identity.txt").write_text("AGE-SECRET-KEY-1")
    backup.create(root, depot, credentials=config / "credentials.age")
    done = backup.restore(depot, tmp_path / "r")
    assert done.credentials is not None
    assert done.credentials.read_bytes() == b"age-encryption.org/v1 ..."
    assert done.credentials.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "r" / ".perdure" / "secrets.age").exists()
    assert not any(b"AGE-SECRET-KEY" in data for data in tree(tmp_path / "d").values())


async def test_labels_of_files_are_copied_whole_while_they_are_written(tmp_path: Path) -> None:
    root, target = tmp_path / "w", tmp_path / "restored"
    await fill(root)
    others = Label(trust="third_party", origins=("web:x",))
    labels = FileLabels(root / ".perdure" / "labels.sqlite")
    labels.mark(root / "page.md", others)  # in the log beside the database, and nowhere else
    depot = backup.FolderDepot(tmp_path / "d")
    assert backup.create(root, depot).manifest.problems == ()
    backup.restore(depot, target)
    assert not (target / ".perdure" / "labels.sqlite-wal").exists()
    assert FileLabels(target / ".perdure" / "labels.sqlite").of(root / "page.md").tainted


async def test_every_flipped_byte_and_every_missing_piece_is_found(tmp_path: Path) -> None:
    root, where = tmp_path / "w", tmp_path / "d"
    await fill(root)
    depot = backup.FolderDepot(where)
    backup.create(root, depot)
    for path in list(tree(where)):
        file = where / path
        data = file.read_bytes()
        if data:
            middle = len(data) // 2
            file.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
            assert not backup.check(depot).ok, path
            with pytest.raises(StorageError):
                backup.restore(depot, tmp_path / "r")
            shutil.rmtree(tmp_path / "r", ignore_errors=True)
        file.unlink()
        try:
            assert not backup.check(depot).ok, path
        except NotFound:
            assert path.startswith("backups/")
        file.write_bytes(data)
    assert backup.check(depot).ok


async def test_a_backup_that_was_cut_off_is_no_backup_and_helps_the_next(tmp_path: Path) -> None:
    root, depot = tmp_path / "w", backup.FolderDepot(tmp_path / "d")
    await fill(root)

    class Full(backup.FolderDepot):
        left = 5

        def write(self, key: str, data: bytes) -> None:
            self.left -= 1
            if self.left < 0:
                raise StorageError("no space")
            super().write(key, data)

    with pytest.raises(StorageError, match="no space"):
        backup.create(root, Full(tmp_path / "d"))
    with pytest.raises(NotFound, match="no backup"):
        backup.check(depot)
    first = len(list(depot.names("objects/")))
    assert first == 5
    whole = backup.create(root, depot)
    assert whole.new_pieces == len(list(depot.names("objects/"))) - 5
    assert backup.check(depot).ok


async def test_a_restore_needs_an_empty_folder_and_leaves_a_workspace_only_at_its_end(
    tmp_path: Path,
) -> None:
    root, depot = tmp_path / "w", backup.FolderDepot(tmp_path / "d")
    await fill(root)
    made = backup.create(root, depot)
    with pytest.raises(Conflict, match="not empty"):
        backup.restore(depot, root)
    with pytest.raises(NotFound, match=made.name):
        backup.restore(depot, tmp_path / "r", "20260101T000000Z-0123456789abcdef")
    victim = next(f for f in made.manifest.files if f.path.endswith("MEMORY.md")).pieces[0]
    (tmp_path / "d" / records.object_key(victim)).unlink()
    with pytest.raises(StorageError, match=r"MEMORY\.md is missing"):
        backup.restore(depot, tmp_path / "r")
    assert not (tmp_path / "r" / "perdure.yaml").exists()


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "a//x", "./x", ""])
def test_a_manifest_cannot_write_outside_the_target(tmp_path: Path, path: str) -> None:
    depot = backup.FolderDepot(tmp_path / "d")
    bad = File(path=path, mode=0o644, size=0, pieces=())
    name, data = encode(
        Manifest(created=SystemClock().now(), version="0", workspace="/", files=(bad,))
    )
    depot.write(f"backups/{name}.json", data)
    with pytest.raises(StorageError, match="unsafe"):
        backup.restore(depot, tmp_path / "in" / "r")
    assert not (tmp_path / "in" / "x").exists() and not Path("/x").exists()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    depot = backup.FolderDepot(tmp_path / "d")
    new = Manifest(format=2, created=SystemClock().now(), version="9", workspace="/", files=())
    name, data = encode(new)
    depot.write(f"backups/{name}.json", data)
    with pytest.raises(StorageError, match="newer Perdure"):
        backup.restore(depot, tmp_path / "r")


def test_what_is_no_workspace_is_not_backed_up(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"perdure\.yaml"):
        backup.create(tmp_path, backup.FolderDepot(tmp_path / "d"))


async def test_nothing_a_checkpoint_needs_goes_while_it_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, depot = tmp_path / "w", backup.FolderDepot(tmp_path / "d")
    await fill(root)
    checkpoints = Checkpoints(root / ".perdure" / "checkpoints", SystemClock(), TimeIds())
    collected: list[Any] = []
    real = sources._checkpoints

    def meddling(folder: Path) -> Any:
        for thing in real(folder):
            if not collected:
                thread = threading.Thread(
                    target=lambda: collected.append(checkpoints.forget(S) or "tried")
                )
                thread.start()
                thread.join()
            yield thing

    monkeypatch.setattr(sources, "_checkpoints", meddling)
    made = backup.create(root, depot)
    names = {file.path for file in made.manifest.files}
    assert collected == ["tried"]
    assert any("/objects/" in name for name in names)


async def test_in_a_restored_workspace_a_command_that_was_running_is_in_doubt(
    tmp_path: Path,
) -> None:
    """D4 for copies: what the first workspace did is not silently done again by the second."""
    root, target = tmp_path / "w", tmp_path / "r"
    depot = backup.FolderDepot(tmp_path / "d")
    marker = root / "effects"  # commands reach nothing beyond the workspace
    command = "echo x >> effects; while [ ! -e go ]; do sleep 0.02; done"
    plan = (say("", call("c1", "bash", command=command)), say("done"))
    async with house(root, plan) as runtime:
        session = (await runtime.create_session()).id
        await runtime.submit(session, (e.Text(text="go"),))
        await until(lambda: marker.exists() and marker.read_text())
        made = await asyncio.to_thread(backup.create, root, depot)
        assert [s.busy for s in made.manifest.sessions] == [True]
        (root / "go").touch()
    await asyncio.to_thread(backup.restore, depot, target)
    async with house(target, plan) as second:
        view = await second.session(session)
        assert view.status == "held" and "comes from a backup" in view.error
        await second.resume(session)
        async with asyncio.timeout(20):
            while (await second.session(session)).status == "running":
                await asyncio.sleep(0.01)
        finished = [
            r.event
            for r in await second.records(session, limit=1000)
            if isinstance(r.event, e.ToolFinished)
        ]
    assert marker.read_text() == "x\n"
    assert not (target / "effects").exists()
    [result] = finished
    assert result.result.status == "in_doubt"


@pytest.mark.parametrize("source", ["process", "schedule:x"])
async def test_what_had_work_left_waits_in_a_restored_workspace_for_a_person(
    tmp_path: Path, source: str
) -> None:
    """What was answered and sent since the backup must not be done again by itself."""
    root, target = tmp_path / "w", tmp_path / "r"
    depot = backup.FolderDepot(tmp_path / "d")
    workspace(root)
    with (root / "perdure.yaml").open("a") as file:
        file.write("outbox: {desk: {command: 'cat >> sent'}}\n")
    gone = asyncio.Event()

    async def never() -> Any:
        await gone.wait()

    async with house(root, (never,)) as runtime:
        session = (await runtime.create_session()).id
        await runtime.submit(session, (e.Text(text="go"),), deliver="desk")
        await until(lambda: runtime._rooms.get(session).running)  # type: ignore[union-attr]
        await asyncio.to_thread(backup.create, root, depot)
    done = await asyncio.to_thread(backup.restore, depot, target)
    assert done.waiting == (session,)
    async with house(target, (say("answered"),)) as second:
        text = (e.Text(text="a process ended"),)
        # Its words may count as the owner's; he is not there all the same.
        accepted = await second.submit(session, text, source=source, key="1", label=OWNER)
        assert "comes from a backup" in accepted.held
        assert (await second.session(session)).status == "held"
    async with house(target, (say("answered"),)) as again:  # and not at the next start either
        assert (await again.session(session)).status == "held"
        assert not (target / "sent").exists()
        await again.resume(session)
        await until(
            lambda: (target / "sent").exists() and "answered" in (target / "sent").read_text()
        )
    async with house(target, (say("answered"),)) as third:
        assert (await third.session(session)).status != "held"


def test_tokens_that_were_handed_out_do_not_come_back_to_life(tmp_path: Path) -> None:
    from perdure.server.tokens import FILE, TokenStore

    root, depot = tmp_path / "w", backup.FolderDepot(tmp_path / "d")
    workspace(root)
    TokenStore(root / ".perdure" / FILE).create("phone", ("chat",))
    backup.create(root, depot)
    assert backup.restore(depot, tmp_path / "r").tokens
    assert TokenStore(tmp_path / "r/.perdure" / FILE).list() == ()
    assert not backup.restore(depot, tmp_path / "all", tokens=True).tokens
    [kept] = TokenStore(tmp_path / "all/.perdure" / FILE).list()
    assert kept.name == "phone" and backup.check(depot).ok


async def test_a_restored_workspace_runs(tmp_path: Path) -> None:
    root, target = tmp_path / "w", tmp_path / "r"
    depot = backup.FolderDepot(tmp_path / "d")
    async with house(root, (say("first answer"),)) as runtime:
        session = (await runtime.create_session()).id
        accepted = await runtime.submit(session, (e.Text(text="hi"),))
        await runtime.wait(session, accepted.message, 20)
        backup.create(root, depot)
    backup.restore(depot, target)
    runtime = await open_runtime(target)
    try:
        [view] = await runtime.sessions()
        assert (view.id, view.turns) == (session, 1)
    finally:
        await runtime.close()


def test_the_manifest_is_plain_json(tmp_path: Path) -> None:
    manifest = Manifest(created=SystemClock().now(), version="0", workspace="/", files=())
    _, data = encode(manifest)
    assert msgspec.json.decode(data)["format"] == 1
