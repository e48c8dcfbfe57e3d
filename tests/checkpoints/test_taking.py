"""What a checkpoint holds, what it leaves out, and what it costs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perdure.checkpoints import cache, scan
from perdure.checkpoints.objects import Batch, Objects
from perdure.kernel.errors import InvalidInput, NotFound, StorageError
from perdure.kernel.events import SessionId, TurnId

from .world import S, World, content


def test_a_turn_has_one_checkpoint_however_often_it_is_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write("a", "1")
    first = world.store.take(S, world.work, turn=TurnId("t_1"), seq=4)
    world.write("a", "2")
    again = world.store.take(S, world.work, turn=TurnId("t_1"), seq=4)
    assert again == first
    assert (first.turn, first.seq, first.files, first.bytes, first.skipped) == ("t_1", 4, 1, 1, 0)
    assert world.store.list(S) == [first]
    record = world.root / S / f"{first.id}.json"
    assert record.stat().st_mode & 0o777 == 0o600


def test_contents_are_stored_once_for_all_sessions(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write("a", "same")
    world.write("deep/b", "same")
    one = world.take()
    held = world.objects()
    assert len(held) == 3  # the content, and two folders
    two = world.take(SessionId("s_2"))
    assert (two.tree, two.new_bytes) == (one.tree, 0)
    assert world.objects() == held


def test_an_unchanged_file_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    monkeypatch.setattr(cache, "TICK", 0)
    for number in range(20):
        world.write(f"f{number}", str(number))
    time.sleep(0.02)  # older than the file system's clock can confuse
    first = world.take()
    read: list[int] = []
    real = Batch.put_file

    def counting(self: Batch, source: int, *rest: object) -> tuple[str, int]:
        read.append(source)
        return real(self, source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Batch, "put_file", counting)
    assert world.take().tree == first.tree
    assert read == []
    world.write("f3", "x")
    second = world.take()
    assert len(read) == 1
    assert second.tree != first.tree


def test_a_status_younger_than_a_tick_of_the_clock_is_not_believed(tmp_path: Path) -> None:
    """A second change within that tick would leave size, times and inode as they are."""
    believed = cache.StatCache(tmp_path / "none", keep=False).settled
    now = time.time_ns()
    assert not believed((1, 1, now, 1))
    assert not believed((1, 1, now - 1_900_000_000, 1))
    assert not believed((1, 1, now + 10**12, 1))  # the clock was set back
    assert believed((1, now, now - 2_100_000_000, 1))


def test_what_a_killed_process_left_in_the_store_goes_with_the_next_checkpoint(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    litter = world.root / "objects" / "drafts" / "x"
    litter.mkdir(parents=True)
    (litter / "1").write_text("half")
    world.take()
    assert not litter.exists()


def test_the_runtimes_own_folder_is_never_taken(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write(".perdure/sessions/s_1/events.jsonl", "secret talk")
    world.write("sub/.perdure/policy.yaml", "mode: auto")
    taken = world.take()
    assert (taken.files, taken.skipped) == (0, 0)
    assert b"policy" not in b"".join(
        (world.root / "objects" / n[:2] / n[2:]).read_bytes() for n in world.objects()
    )


SECRETS = [
    ".env", ".env.local", "prod.env", "server.pem", "tls.key", "id_rsa", "id_ed25519", ".netrc",
    ".npmrc", ".pypirc", ".git-credentials", "credentials.json", "client_secret_1.json", ".pgpass",
    "keys.p12", "vault.kdbx", "secrets.yaml", ".ssh/config", ".aws/config", ".gnupg/ring",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_left_out_and_said(tmp_path: Path, name: str) -> None:
    world = World(tmp_path)
    world.write(name, "hunter2-hunter2")
    taken = world.take()
    assert (taken.files, taken.skipped) == (0, 1)
    [left] = taken.left_out
    assert (left.path, left.why) == (name.split("/")[0], "secret")
    stored = b"".join(
        (world.root / "objects" / n[:2] / n[2:]).read_bytes() for n in world.objects()
    )
    assert b"hunter2" not in stored


@pytest.mark.parametrize("name", [".env.example", "environment.py", "id_rsa.pub", "secrets.py"])
def test_what_only_sounds_like_a_secret_is_taken(tmp_path: Path, name: str) -> None:
    world = World(tmp_path)
    world.write(name, "x")
    assert world.take().skipped == 0


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA",
        "\n-----BEGIN PRIVATE KEY-----\nAAAA",
        "# created: today\nAGE-SECRET-KEY-1QQQ",
    ],
)
def test_a_private_key_is_known_by_its_content_under_any_name(tmp_path: Path, text: str) -> None:
    world = World(tmp_path)
    world.write("notes.txt", text)
    for _ in range(2):
        taken = world.take()
        assert [(left.path, left.why) for left in taken.left_out] == [("notes.txt", "secret")]
    assert len(world.objects()) == 1


def test_limits_leave_out_and_say_what(tmp_path: Path) -> None:
    world = World(tmp_path, file_bytes=100, bytes=250)
    world.write("a-large", "x" * 101)
    for name in ("b", "c", "d"):
        world.write(name, name * 100)
    taken = world.take()
    assert {(left.path, left.why) for left in taken.left_out} == {
        ("a-large", "large"),
        ("d", "full"),
    }
    assert (taken.files, taken.bytes, taken.skipped) == (2, 200, 2)


def test_too_many_files_are_left_out(tmp_path: Path) -> None:
    world = World(tmp_path, files=3)
    for name in "abcde":
        world.write(name, name)
    taken = world.take()
    assert (taken.files, taken.skipped) == (3, 2)
    assert {left.why for left in taken.left_out} == {"many"}


def test_a_disk_that_is_nearly_full_is_left_alone(tmp_path: Path) -> None:
    world = World(tmp_path, spare_bytes=1 << 62)
    world.write("a", "1")
    assert [left.why for left in world.take().left_out] == ["full"]


def test_a_checkpoint_that_takes_too_long_is_finished_by_the_next(tmp_path: Path) -> None:
    world = World(tmp_path, seconds=5)
    for name in "abcd":
        world.write(name, name)

    def slow() -> None:
        world.clock.passed += 6

    assert {left.why for left in world.take(stop=slow).left_out} == {"late"}
    assert world.take().skipped == 0


def test_links_are_kept_as_links_and_never_followed(tmp_path: Path) -> None:
    world = World(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("not yours")
    (world.work / "out").symlink_to(outside)
    (world.work / "broken").symlink_to("nowhere")
    taken = world.take()
    assert (taken.files, taken.skipped) == (0, 0)
    assert len(world.objects()) == 1


def test_pipes_and_sockets_are_left_out_without_being_opened(tmp_path: Path) -> None:
    world = World(tmp_path)
    os.mkfifo(world.work / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(world.work)
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        taken = world.take()
    assert {(left.path, left.why) for left in taken.left_out} == {
        ("pipe", "special"),
        ("socket", "special"),
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write("a", "1", mode=0)
    (world.work / "shut").mkdir(mode=0)
    taken = world.take()
    assert {(left.path, left.why) for left in taken.left_out} == {
        ("a", "unreadable"),
        ("shut", "unreadable"),
    }


def test_a_folder_as_deep_as_can_be_does_not_break_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    at = world.work
    for _ in range(scan.DEEPEST + 20):
        at = at / "d"
        at.mkdir()
    assert [left.why for left in world.take().left_out] == ["deep"]


def test_names_that_are_no_text_are_kept(tmp_path: Path) -> None:
    world = World(tmp_path)
    name = os.fsdecode(b"caf\xe9 \xf0\x9f\x98\x80 \xff")
    try:
        (world.work / name).write_text("x")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    (world.work / "link").symlink_to(name)
    before = content(world.work)
    taken = world.take()
    (world.work / name).unlink()
    (world.work / "link").unlink()
    changes = world.store.changes(S, taken.id)
    assert "caf\\xe9 😀 \\xff" in {change.path for change in changes.changes}
    world.store.restore(S, taken.id, seq=9)
    assert content(world.work) == before


def test_ignored_things_are_not_counted_as_left_out(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write(".gitignore", "*.log\nbuild/\n")
    world.write("a.log", "x")
    world.write("build/out", "x")
    world.write("node_modules/m/index.js", "x")
    world.write(".git/config", "x")
    taken = world.take()
    assert (taken.files, taken.skipped) == (1, 0)


def test_perdureignore_stands_above_gitignore_and_the_defaults(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write(".gitignore", "*.log\n")
    world.write(".perdureignore", "!a.log\n!node_modules/\n*.iso\n")
    world.write("a.log", "x")
    world.write("b.log", "x")
    world.write("big.iso", "x")
    world.write("node_modules/m.js", "x")
    assert world.take().files == 4  # both ignore files, a.log, m.js


def test_a_part_of_a_repository_heeds_the_rules_above_it(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("*.tmp\n/work/private/\n")
    world = World(tmp_path)
    world.write("a.tmp", "x")
    world.write("private/x", "x")
    world.write("b", "x")
    assert world.take().files == 1


def test_a_stopped_turn_ends_the_work_and_leaves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(50):
        world.write(f"d{number}/f", str(number))
    calls = iter(range(1000))

    def stop() -> None:
        if next(calls) > 20:
            raise KeyError("stopped")

    with pytest.raises(KeyError):
        world.take(stop=stop)
    assert world.store.list(S) == []
    assert list((world.root / "objects" / "drafts").iterdir()) == []
    assert world.take().files == 50


def test_a_folder_that_is_gone_is_a_clear_error(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.work.rmdir()
    with pytest.raises(StorageError, match="working folder"):
        world.take()


@pytest.mark.parametrize("bad", ["../x", "", "objects/..", "a/b", ".hidden", "X"])
def test_an_id_cannot_leave_the_store(tmp_path: Path, bad: str) -> None:
    world = World(tmp_path)
    with pytest.raises(InvalidInput):
        world.store.list(SessionId(bad))
    with pytest.raises(InvalidInput):
        world.store.get(S, bad)


def test_an_unknown_checkpoint_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="c_9"):
        World(tmp_path).store.get(S, "c_9")


def test_copy_on_write_is_used_where_the_file_system_has_it(tmp_path: Path) -> None:
    """With a stand-in for the system call; the next test has the real one where there is one."""
    shared: list[int] = []

    def clone(source: int, target: int) -> bool:
        shared.append(target)
        size = os.fstat(source).st_size
        os.pwrite(target, os.pread(source, size, 0), 0)
        return True

    objects = Objects(tmp_path / "objects", clone)
    data = os.urandom(600_000)
    (tmp_path / "f").write_bytes(data)
    batch = objects.batch()
    with (tmp_path / "f").open("rb") as file:
        name, size = batch.put_file(file.fileno(), len(data), lambda: None)
    batch.settle()
    assert (size, len(shared)) == (600_000, 1)
    assert objects.read(name) == data


def test_copy_on_write_on_a_file_system_that_has_it(tmp_path: Path) -> None:
    image, mount = tmp_path / "image", tmp_path / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(400 << 20)
    for command in (
        ["mkfs.xfs", "-q", "-m", "reflink=1", str(image)],
        ["mount", "-o", "loop", str(image), str(mount)],
    ):
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip(f"this machine cannot do: {command[0]}")
    try:
        world = World(mount)
        world.write("big", os.urandom(8 << 20))
        before = os.statvfs(mount)
        taken = world.take()
        after = os.statvfs(mount)
        assert (before.f_bavail - after.f_bavail) * after.f_frsize < 2 << 20
        world.write("big", "small")
        world.store.restore(S, taken.id, seq=2)
        assert (world.work / "big").stat().st_size == 8 << 20
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_importing_the_package_costs_next_to_nothing() -> None:
    code = (
        "import sys, perdure.checkpoints; print(sorted(m for m in sys.modules if 'perdure.' in m))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "['perdure.checkpoints']"
