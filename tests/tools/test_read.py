"""Reading shows numbered lines and pages, and refuses clearly what is no text."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from perdure.kernel.events import Image
from perdure.tools.pages import window

from .world import World


async def test_lines_are_numbered(world: World) -> None:
    world.put("a.txt", "one\ntwo\r\n\nfour")
    result = await world("read", path="a.txt")
    assert result.text == "1\tone\n2\ttwo\n3\t\n4\tfour"
    assert result.data["total"] == 4


async def test_a_long_file_is_paged_to_its_end(world: World) -> None:
    world.put("a.txt", "".join(f"line {i}\n" for i in range(1, 5001)))
    seen: list[str] = []
    offset = 1
    while True:
        result = await world("read", path="a.txt", offset=offset)
        lines = [line for line in result.text.split("\n") if "\t" in line]
        seen += [line.split("\t")[1] for line in lines]
        if "go on with offset=" not in result.text:
            break
        offset = int(result.text.rsplit("offset=", 1)[1].rstrip("]"))
    assert seen == [f"line {i}" for i in range(1, 5001)]


async def test_a_page_respects_the_limit_of_a_result(world: World) -> None:
    world.put("a.txt", "x" * 100 + "\n" + ("y" * 90 + "\n") * 1000)
    bench = world.open(max_result_chars=2_000)
    result = await world.call("read", {"path": "a.txt"}, bench=bench)
    assert len(result.text) < 2_500
    assert "of 1,001; go on with offset=" in result.text


async def test_an_offset_beyond_the_end_tells_the_length(world: World) -> None:
    world.put("a.txt", "one\n")
    result = await world("read", path="a.txt", offset=9)
    assert result.status == "error"
    assert "has 1 lines" in result.text


async def test_an_empty_file_is_said_to_be_empty(world: World) -> None:
    world.put("a.txt", "")
    assert (await world("read", path="a.txt")).text == "a.txt is empty."


async def test_a_very_long_line_is_cut(world: World) -> None:
    world.put("a.json", "é" * 1_000_000)
    result = await world("read", path="a.json")
    assert result.status == "ok"
    assert len(result.text) < 2_200
    assert "line cut" in result.text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("\ufeffä\nb\n".encode(), "1\tä\n2\tb"),
        ("\ufeffä\r\nb".encode("utf-16-le"), "1\tä\n2\tb\n[utf-16-le with byte order mark]"),
        ("\ufeffä\nb".encode("utf-16-be"), "1\tä\n2\tb\n[utf-16-be with byte order mark]"),
        ("ä\nb".encode("latin-1"), "1\tä\n2\tb\n[not UTF-8, shown as Latin-1]"),
    ],
)
async def test_encodings_are_recognised(world: World, data: bytes, text: str) -> None:
    world.put("a.txt", data)
    assert (await world("read", path="a.txt")).text == text


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"\x7fELF\0\0", "ELF"),
        (b"%PDF-1.7\0", "PDF"),
        (b"a\0b", "binary"),
        (b"PK\x03\x04\0", "ZIP"),
    ],
)
async def test_a_binary_is_refused_and_named(world: World, data: bytes, word: str) -> None:
    world.put("a", data)
    result = await world("read", path="a")
    assert result.status == "error"
    assert word in result.text


async def test_an_image_is_handed_over_as_an_image(world: World) -> None:
    data = b"\x89PNG\r\n\x1a\n" + b"\0" * 50
    world.put("a.bin", data)
    result = await world("read", path="a.bin")
    image = result.parts[1]
    assert isinstance(image, Image)
    assert image.media_type == "image/png"
    assert world.artifacts.path(image.artifact).read_bytes() == data


async def test_an_image_too_large_to_look_at_is_refused(world: World) -> None:
    world.put("a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * (5 << 20))
    result = await world("read", path="a.png")
    assert result.status == "error"
    assert "smaller copy" in result.text


async def test_a_folder_is_listed(world: World) -> None:
    world.put("d/b.txt", "xx")
    world.path("d/c").mkdir()
    world.path("d/l").symlink_to("nowhere")
    result = await world("read", path="d")
    assert result.text == "d is a folder with 3 entries:\nb.txt  2\nc/\nl -> nowhere"


async def test_a_missing_file_names_the_nearest(world: World) -> None:
    world.put("docs/README.md", "x")
    result = await world("read", path="docs/Readme.txt")
    assert result.status == "error"
    assert "Did you mean docs/README.md?" in result.text


async def test_what_would_block_or_never_end_is_refused(world: World, tmp_path: Path) -> None:
    os.mkfifo(world.path("pipe"))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(world.path("sock")))
    for path in ("pipe", "sock", "/dev/zero"):
        result = await world("read", path=path)
        assert result.status == "error", path
        assert "not a regular file" in result.text
    listener.close()


async def test_names_that_are_no_utf8_are_survived(world: World) -> None:
    os.close(os.open(os.fsencode(world.workdir) + b"/\xff\xfe.txt", os.O_CREAT | os.O_WRONLY))
    result = await world("read", path=".")
    assert result.status == "ok"
    result.text.encode()


@pytest.mark.parametrize("path", ["", "a\0b", "~nobody-has-this-name/x"])
async def test_an_impossible_path_is_invalid(world: World, path: str) -> None:
    assert (await world("read", path=path)).status == "invalid"


async def test_a_loop_of_links_is_told(world: World) -> None:
    world.path("a").symlink_to("b")
    world.path("b").symlink_to("a")
    assert (await world("read", path="a")).status in ("invalid", "error")


async def test_an_artifact_can_be_paged(world: World) -> None:
    artifact = world.artifacts.put(b"".join(b"%d\n" % i for i in range(10_000)), ".txt")
    result = await world("read", path=f"artifact:{artifact}", offset=9_000, limit=2)
    assert result.text.startswith("9000\t8999\n9001\t9000\n")


async def test_no_artifact_is_found_outside_the_session(world: World) -> None:
    world.put("secret", "x")
    result = await world("read", path="artifact:../work/secret")
    assert result.status == "error"


@pytest.mark.parametrize("ending", ["", "\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 200_000])
def test_a_window_is_what_slicing_all_lines_would_give(
    tmp_path: Path, size: int, ending: str
) -> None:
    lines = [b"%d" % i * (1 + i % 7) for i in range(size)]
    path = tmp_path / "f"
    path.write_bytes(b"\n".join(lines) + ending.encode())
    for offset in (1, 2, size // 2 + 1, size, size + 1):
        for limit in (1, 5, 1000):
            with path.open("rb") as file:
                page = window(file, offset, limit, 10**9)
            assert page.lines == lines[offset - 1 : offset - 1 + limit]
            assert page.total == size
            assert page.more == (offset - 1 + limit < size)
