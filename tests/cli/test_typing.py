"""Pastes, named files, slash commands: what becomes of what is typed."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from perdure.cli.chat.commands import is_command
from perdure.cli.chat.completer import ChatCompleter, completes
from perdure.cli.chat.conversation import Conversation
from perdure.cli.chat.files import complete, message_parts
from perdure.cli.chat.paste import Pastes
from perdure.kernel.errors import InvalidInput

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20


def test_ten_thousand_pasted_lines_are_one_word_to_edit_and_whole_when_sent() -> None:
    pastes = Pastes()
    text = "\n".join(f"line {i}" for i in range(10_000))
    mark = pastes.fold(text.replace("\n", "\r"))
    assert mark == "[paste 1: 10,000 lines]"
    assert pastes.unfold(f"look at {mark} please") == f"look at {text} please"


def test_a_short_paste_is_put_in_as_it_is() -> None:
    assert Pastes().fold("a\r\nb") == "a\nb"


def test_what_looks_like_a_paste_but_is_none_stays() -> None:
    assert Pastes().unfold("[paste 1: 3 lines]") == "[paste 1: 3 lines]"


def test_a_named_image_is_sent_along_and_a_text_file_only_named(tmp_path: Path) -> None:
    (tmp_path / "a b.png").write_bytes(PNG)
    (tmp_path / "n.txt").write_text("x")
    parts = message_parts('see @"a b.png" and @n.txt, @gone.png', str(tmp_path))
    assert [part["type"] for part in parts] == ["text", "image"]
    assert parts[1]["media_type"] == "image/png"
    assert base64.b64decode(parts[1]["data"]) == PNG


def test_a_message_beyond_what_the_server_takes_is_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidInput) as caught:
        message_parts("x" * 16_000_000, "/")
    assert "@file" in caught.value.hint


def test_half_a_surrogate_pair_is_not_sent() -> None:
    assert message_parts("a\ud83d", "/")[0]["text"] == "a?"


def test_paths_complete_below_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "Main.py").touch()
    (tmp_path / "setup.py").touch()
    (tmp_path / ".hidden").touch()
    where = str(tmp_path)
    assert list(complete("s", where)) == ["setup.py", "src/"]
    assert list(complete("src/m", where)) == ["src/Main.py"]
    assert list(complete("", where)) == ["setup.py", "src/"]
    assert list(complete(".h", where)) == [".hidden"]
    assert list(complete("no/such/", where)) == []
    assert list(complete("nul\0/", where)) == []
    assert list(complete("~nobody-of-this-name/", where)) == []
    assert list(complete("~", where)) == ["~/"]
    assert list(complete("..", where)) == ["../"]


def test_what_cannot_be_looked_at_hides_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "good.txt").touch()
    (tmp_path / 'no "quotes".txt').touch()
    (tmp_path / "no\nlines.txt").touch()
    (tmp_path / os.fsdecode(b"no\xff.txt")).touch()
    assert list(complete("", str(tmp_path))) == ["good.txt", "round"]


@pytest.mark.parametrize(
    ("before", "completed"),
    [
        ("look at @m", ['@"my folder/']),
        ('@"my f', ['@"my folder/']),
        ('@"my folder/', ['@"my folder/in side.txt"', '@"my folder/why?"']),
        ('@"my folder/.', ['@"my folder/.env"']),
        ('@"plain', ['@"plain.txt"']),
        ("@plain", ["@plain.txt"]),
        ("@p", ["@plain.txt"]),
        ("@MY", ['@"my folder/']),
        ('say @"hello and @p', ["@plain.txt"]),
        ('@"plain.txt" and then', []),
        ("mail me@p", []),
        ("(@p", []),
        ("@p then", []),
        ("no at all", []),
    ],
)
def test_a_path_is_completed_as_a_message_names_it(
    tmp_path: Path, before: str, completed: list[str]
) -> None:
    (tmp_path / "my folder").mkdir()
    for name in ("my folder/in side.txt", "my folder/why?", "my folder/.env", "plain.txt"):
        (tmp_path / name).touch()
    conversation = cast("Conversation", SimpleNamespace(workdir=str(tmp_path)))
    found = list(ChatCompleter(conversation).get_completions(Document(before), CompleteEvent()))
    assert [one.text for one in found] == completed
    for one in found:
        whole = before[: len(before) + one.start_position] + one.text
        assert completes(whole.removesuffix('"')) and len(whole) >= len(before)


def test_a_closing_quote_that_is_there_is_not_put_twice(tmp_path: Path) -> None:
    (tmp_path / "a b.txt").touch()
    conversation = cast("Conversation", SimpleNamespace(workdir=str(tmp_path)))
    document = Document('@"a" please', cursor_position=3)
    [found] = ChatCompleter(conversation).get_completions(document, CompleteEvent())
    assert found.text == '@"a b.txt'


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("/help", True),
        ("/queue do it", True),
        ("/etc/passwd is odd", False),
        ("/ ", False),
        ("", False),
    ],
)
def test_a_path_is_no_command(text: str, is_one: bool) -> None:
    assert is_command(text) is is_one
