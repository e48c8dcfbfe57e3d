"""Editing replaces one exact passage, keeps a file's form, and is there whole or not at all."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.tools import files
from perdure.tools.files import ChangedMeanwhile, FileProblem, replace
from perdure.tools.matching import NoMatch, substitute

from .world import World


async def test_a_unique_passage_is_replaced(world: World) -> None:
    path = world.put("a.py", "def f():\n    return 1\n")
    result = await world("edit", path="a.py", old_string="return 1", new_string="return 2")
    assert result.status == "ok"
    assert path.read_text() == "def f():\n    return 2\n"
    assert "-    return 1\n+    return 2" in str(result.data["diff"])
    assert (result.data["line"], result.data["added"], result.data["removed"]) == (2, 1, 1)


async def test_a_passage_that_occurs_twice_is_refused_with_its_places(world: World) -> None:
    path = world.put("a", "x\ny\nx\n")
    result = await world("edit", path="a", old_string="x", new_string="z")
    assert result.status == "error"
    assert "2 times, at lines 1, 3" in result.text
    assert path.read_text() == "x\ny\nx\n"


async def test_all_occurrences_are_replaced_on_request(world: World) -> None:
    path = world.put("a", "x\ny\nx\n")
    await world("edit", path="a", old_string="x", new_string="xx", replace_all=True)
    assert path.read_text() == "xx\ny\nxx\n"


async def test_overlapping_occurrences_are_not_unique(world: World) -> None:
    world.put("a", "aaa")
    result = await world("edit", path="a", old_string="aa", new_string="b")
    assert "2 times" in result.text


@pytest.mark.parametrize(
    ("old", "hint"),
    [
        ("  return  foo(1)", "white space only"),
        ("RETURN FOO(1)", "upper and lower case only"),
        ("2\treturn foo(1)", "line numbers"),
        ("say “hi”", "quotes, dashes"),
        ("return foo(1, 2)", "Nearest:\n2\treturn foo(1)"),
        ("nothing at all like it, truly", "nor anything like it"),
    ],
)
async def test_a_passage_that_is_not_there_is_answered_with_what_comes_near(
    world: World, old: str, hint: str
) -> None:
    world.put("a", 'begin\nreturn foo(1)\nsay "hi"\n')
    result = await world("edit", path="a", old_string=old, new_string="x")
    assert result.status == "error"
    assert hint in result.text


async def test_the_nearest_candidates_of_a_long_passage_are_found(world: World) -> None:
    lines = [f"line number {i}" for i in range(3000)]
    world.put("a", "\n".join(lines))
    old = "line number 1500\nline number 1501 changed\nline number 1502"
    result = await world("edit", path="a", old_string=old, new_string="x")
    assert "1501\tline number 1500" in result.text


@pytest.mark.parametrize(
    "form",
    [("utf-8", b""), ("utf-8", b"\xef\xbb\xbf"), ("utf-16-le", b"\xff\xfe"),
     ("utf-16-be", b"\xfe\xff"), ("latin-1", b"")],
)  # fmt: skip
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
async def test_encoding_line_ends_and_a_missing_last_one_are_kept(
    world: World, form: tuple[str, bytes], newline: str, last: bool
) -> None:
    codec, mark = form
    text = newline.join(["größe", "two", "three"]) + (newline if last else "")
    path = world.put("a", mark + text.encode(codec))
    result = await world("edit", path="a", old_string="größe\ntwo", new_string="é\nzwei\ndrei")
    assert result.status == "ok", result.text
    wanted = newline.join(["é", "zwei", "drei", "three"]) + (newline if last else "")
    assert path.read_bytes() == mark + wanted.encode(codec)


async def test_mixed_line_ends_are_left_as_they_are(world: World) -> None:
    path = world.put("a", b"a\r\nb\nc\r\nd\n")
    await world("edit", path="a", old_string="b\nc", new_string="B\nC")
    assert path.read_bytes() == b"a\r\nB\nC\r\nd\n"


async def test_a_file_in_an_unknown_encoding_survives_to_the_byte(world: World) -> None:
    rest = bytes(b for b in range(1, 256) if b not in (10, 13))
    path = world.put("a", b"one\n" + rest)
    assert (await world("edit", path="a", old_string="one", new_string="two")).status == "ok"
    assert path.read_bytes() == b"two\n" + rest


async def test_a_character_the_encoding_lacks_is_refused(world: World) -> None:
    path = world.put("a", b"caf\xe9\n")
    result = await world("edit", path="a", old_string="caf", new_string="€")
    assert result.status == "error"
    assert "latin-1" in result.text
    assert path.read_bytes() == b"caf\xe9\n"


async def test_a_binary_is_not_edited(world: World) -> None:
    world.put("a", b"x\0y")
    result = await world("edit", path="a", old_string="x", new_string="y")
    assert result.status == "error"
    assert "no text" in result.text


async def test_mode_and_owner_are_kept(world: World) -> None:
    path = world.put("run.sh", "#!/bin/sh\n")
    path.chmod(0o4751)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
        path.chmod(0o4751)
    before = path.stat()
    await world("edit", path="run.sh", old_string="sh\n", new_string="bash\n")
    after = path.stat()
    assert stat.S_IMODE(after.st_mode) == 0o4751
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


async def test_extended_attributes_are_kept(world: World) -> None:
    path = world.put("a", "x")
    try:
        os.setxattr(path, "user.note", b"mine")
    except (OSError, AttributeError):
        pytest.skip("no extended attributes here")
    await world("edit", path="a", old_string="x", new_string="y")
    assert os.getxattr(path, "user.note") == b"mine"


async def test_a_link_stays_a_link(world: World) -> None:
    target = world.put("real/a", "x")
    world.path("link").symlink_to("real/a")
    await world("edit", path="link", old_string="x", new_string="y")
    assert world.path("link").is_symlink()
    assert target.read_text() == "y"


async def test_a_link_swapped_in_after_the_call_was_judged_is_not_followed(
    world: World, tmp_path: Path
) -> None:
    from perdure.kernel.events import CallId, ToolCall
    from perdure.tools import Prepared

    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_text("x")
    world.put("d/a", "x")
    for tool, more in (
        ("edit", {"old_string": "x", "new_string": "y"}),
        ("write", {"content": "y"}),
        ("read", {}),
    ):
        call = ToolCall(id=CallId("c"), name=tool, arguments={"path": "d/a", **more})
        prepared = world.bench.prepare(call)
        assert isinstance(prepared, Prepared)
        world.path("d").rename(world.path("moved"))
        world.path("d").symlink_to(outside)
        result = await prepared.run(key=tool, emit=world.output.append, resumed=False)
        assert result.status == "error", tool
        assert (outside / "a").read_text() == "x"
        world.path("d").unlink()
        world.path("moved").rename(world.path("d"))


async def test_a_read_only_file_is_refused(world: World) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anything")
    path = world.put("a", "x")
    path.chmod(0o444)
    result = await world("edit", path="a", old_string="x", new_string="y")
    assert "read-only" in result.text


async def test_a_writable_file_in_a_folder_that_takes_no_new_ones_is_changed_in_place(
    world: World,
) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    path = world.put("d/a", "long before\n")
    path.parent.chmod(0o555)
    try:
        result = await world("edit", path="d/a", old_string="long before", new_string="x")
        inode = path.stat().st_ino
        created = await world("write", path="d/b", content="x")
    finally:
        path.parent.chmod(0o755)
    assert (result.status, path.read_text(), path.stat().st_ino) == ("ok", "x\n", inode)
    assert created.status == "error"
    assert "permission denied" in created.text


async def test_old_and_new_alike_is_told(world: World) -> None:
    world.put("a", "x")
    result = await world("edit", path="a", old_string="x", new_string="x")
    assert result.status == "error"
    assert "the same" in result.text


async def test_concurrent_edits_all_take_effect(world: World) -> None:
    path = world.put("a", "".join(f"<{i}>\n" for i in range(40)))
    results = await asyncio.gather(
        *(world("edit", path="a", old_string=f"<{i}>", new_string=f"[{i}]") for i in range(40))
    )
    assert {r.status for r in results} == {"ok"}
    assert path.read_text() == "".join(f"[{i}]\n" for i in range(40))
    assert [p.name for p in world.workdir.iterdir()] == ["a"]


def test_a_foreign_change_between_reading_and_writing_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def change(old: bytes | None) -> bytes:
        path.write_text("foreign")
        return b"new"

    with pytest.raises(ChangedMeanwhile):
        replace(path, change, intent=tmp_path / "intent", resumed=False)
    assert path.read_text() == "foreign"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "intent"]


def test_a_reader_sees_the_old_or_the_new_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    versions = {bytes([65 + i]) * 100_000 for i in range(8)}
    path.write_bytes(b"A" * 100_000)
    done = threading.Event()
    torn: list[int] = []

    def watch() -> None:
        while not done.is_set():
            if path.read_bytes() not in versions:
                torn.append(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for i in range(40):
        new = bytes([65 + i % 8]) * 100_000
        replace(path, lambda _, new=new: new, intent=tmp_path / f"i{i}", resumed=False)
    done.set()
    watcher.join()
    assert not torn


class Crash(BaseException):
    """The process dies here."""


async def test_an_edit_cut_off_after_its_change_is_not_made_twice(world: World) -> None:
    path = world.put("a", "foo\n")
    arguments = {"path": "a", "old_string": "foo", "new_string": "foofoo"}
    first = await world.call("edit", dict(arguments), key="k")
    assert first.status == "ok"
    again = await world.call("edit", dict(arguments), key="k", resumed=True)
    assert again.status == "ok"
    assert path.read_text() == "foofoo\n"


async def test_an_edit_cut_off_before_its_change_is_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.put("a", "foo\n")
    arguments = {"path": "a", "old_string": "foo", "new_string": "foofoo"}

    def die(*args: object, **kwargs: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", die)
        with pytest.raises(Crash):
            await world.call("edit", dict(arguments), key="k")
    assert path.read_text() == "foo\n"
    assert (await world.call("edit", dict(arguments), key="k", resumed=True)).status == "ok"
    assert path.read_text() == "foofoo\n"


@pytest.mark.parametrize("tool", ["edit", "write"])
async def test_a_file_changed_by_others_after_a_crash_leaves_the_outcome_in_doubt(
    world: World, tool: str
) -> None:
    path = world.put("a", "foo\n")
    arguments = {
        "edit": {"path": "a", "old_string": "foo", "new_string": "bar"},
        "write": {"path": "a", "content": "bar"},
    }[tool]
    await world.call(tool, dict(arguments), key="k")
    path.write_text("foo, by somebody else\n")
    again = await world.call(tool, dict(arguments), key="k", resumed=True)
    assert again.status == "in_doubt"
    assert path.read_text() == "foo, by somebody else\n"


async def test_a_full_disk_leaves_the_old_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.put("a", "old")

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "write", full)
    result = await world("write", path="a", content="new")
    monkeypatch.undo()
    assert (result.status, "disk is full" in result.text) == ("error", True)
    assert path.read_text() == "old"
    assert [p.name for p in world.workdir.iterdir()] == ["a"]


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(FileProblem, match="folder"):
        replace(tmp_path / "d", lambda _: b"x", intent=tmp_path / "i", resumed=False)


async def test_a_new_file_is_made_with_its_folders(world: World) -> None:
    result = await world("write", path="x/y/z.txt", content="hi\n")
    assert result.data["created"] is True
    path = world.path("x/y/z.txt")
    assert path.read_text() == "hi\n"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


async def test_writing_over_a_file_keeps_its_form(world: World) -> None:
    path = world.put("a", "\ufeffa\r\nb\r\n".encode("utf-16-le"))
    await world("write", path="a", content="ä\nc\n")
    assert path.read_bytes() == "\ufeffä\r\nc\r\n".encode("utf-16-le")


async def test_a_part_of_the_path_that_is_a_file_is_told(world: World) -> None:
    world.put("a", "x")
    result = await world("write", path="a/b", content="y")
    assert result.status == "error"


async def test_a_lone_surrogate_is_survived(world: World) -> None:
    assert (await world("write", path="a", content="x\ud800y")).status == "ok"
    assert world.path("a").read_text() == "x?y"


@given(
    st.text(alphabet="ab\n", max_size=30),
    st.text(alphabet="ab\n", min_size=1, max_size=4),
    st.text(alphabet="cd\n", max_size=4),
)
def test_substitution_agrees_with_plain_replacement(text: str, old: str, new: str) -> None:
    places = sum(text.startswith(old, i) for i in range(len(text)))
    for crlf in (False, True):
        given_text = text.replace("\n", "\r\n") if crlf else text
        if places != 1:
            with pytest.raises(NoMatch):
                substitute(given_text, old, new, every=False)
        else:
            done = substitute(given_text, old, new, every=False).text
            wanted = text.replace(old, new, 1)
            if crlf and "\n" in text:
                wanted = wanted.replace("\n", "\r\n")
            assert done == wanted
        if places:
            every = substitute(given_text, old, new, every=True).text
            assert every.replace("\r\n", "\n") == text.replace(old, new)
