"""What the rehearsal model understands, and what it makes of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from perdure.kernel.events import Image, Json, Text, ToolCall, ToolResult
from perdure.kernel.prompt import AssistantItem, CallResult, ResultsItem, UserItem
from perdure.models.rehearsal.model import answer
from perdure.models.rehearsal.view import see

from .rehearsal_stage import Stage, denied


def first(text: str, folder: Path = Path("/home/ann")) -> list[tuple[str, dict[str, Json]]]:
    """The calls of the first reply to a message."""
    stage = Stage(folder, memory="/home/ann/MEMORY.md")
    stage.say(text)
    return [(c.tool, c.arguments) for c in answer(see(stage.prompt())).calls]


@pytest.mark.parametrize(
    "text",
    [
        "list the files here",
        "What files are there?",
        "please list files",
        "what's in this folder?",
        "can you show me the files in this directory?",
        "list",
    ],
)
def test_listing_reads_the_folder(text: str) -> None:
    assert first(text) == [("read", {"path": "."})]


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("read notes.txt", ["notes.txt"]),
        ("Could you show me `my notes.txt`, please?", ["my notes.txt"]),
        ("read a.txt, b.txt and 'c d.txt'", ["a.txt", "b.txt", "c d.txt"]),
        ("what is in docs/a.md?", ["docs/a.md"]),
        ("cat /etc/hostname", ["/etc/hostname"]),
        ("list files in src", ["src"]),
        ("look into the docs folder", ["docs"]),
        ("read @app1.txt", ["app1.txt"]),
        ('read @"my notes/a b.txt"', ["my notes/a b.txt"]),
        ("show me @docs/a.md and @b.md", ["docs/a.md", "b.md"]),
    ],
)
def test_reading_asks_for_all_files_at_once(text: str, paths: list[str]) -> None:
    assert first(text) == [("read", {"path": p}) for p in paths]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("run `ls -la`", "ls -la"),
        ('run "git status"', "git status"),
        ("please run the command `make test` and tell me the result", "make test"),
        ("run pytest -q", "pytest -q"),
        ("`echo 'a  b' | wc -c`", "echo 'a  b' | wc -c"),
        ("run git commit -m 'fix: it'", "git commit -m 'fix: it'"),
        ("$ uname -a", "uname -a"),
        ("ls -la", "ls -la"),
        ("git log --oneline", "git log --oneline"),
        ("```sh\nfor i in 1 2\ndo echo $i\ndone\n```", "for i in 1 2\ndo echo $i\ndone"),
        ("find TODO in src", "grep -rnIF --exclude-dir=.git -e TODO -- src"),
        ('search for "it\'s" here', "grep -rnIF --exclude-dir=.git -e 'it'\"'\"'s here' -- ."),
        ("how many lines in 'a b.txt'?", "wc -l < 'a b.txt'"),
        ("how many words does a.txt have?", "wc -w < a.txt"),
        ("make a folder drafts", "mkdir -p -- drafts"),
        ("create folders a, b and 'c d'", "mkdir -p -- a b 'c d'"),
        ("delete old.txt", "rm -- old.txt"),
        ("delete the file '-rf'", "rm -- ./-rf"),
        ("make a folder ~/my stuff", ""),
        ("make a folder '~/my stuff'", "mkdir -p -- ~/'my stuff'"),
    ],
)
def test_commands_are_quoted_and_kept_as_they_were_written(text: str, command: str) -> None:
    calls = first(text)
    assert calls == ([("bash", {"command": command})] if command else [])


@pytest.mark.parametrize(
    ("text", "path", "content"),
    [
        ('write "hello" to a.txt', "a.txt", "hello\n"),
        ("write hello world into notes/a.txt", "notes/a.txt", "hello world\n"),
        ("create a file todo.md with 'milk and bread'", "todo.md", "milk and bread\n"),
        ("create an empty file x.txt", "x.txt", ""),
        ("save 'one\\ntwo' as x.txt", "x.txt", "one\ntwo\n"),
        ("write this to a.py:\n```python\nprint(1)\n```", "", ""),
        ("write to a.py:\n```python\nprint(1)\n```", "a.py", "print(1)\n"),
    ],
)
def test_writing_takes_the_content_as_it_was_quoted(text: str, path: str, content: str) -> None:
    expected = [("write", {"path": path, "content": content})] if path else []
    assert first(text) == expected


def test_replacing_is_an_edit_of_every_occurrence() -> None:
    assert first("replace 'a b' with \"c\" in x.txt") == [
        (
            "edit",
            {"path": "x.txt", "old_string": "a b", "new_string": "c", "replace_all": True},
        )
    ]


@pytest.mark.parametrize(
    "text",
    [
        "what is the capital of France?",
        "make me a sandwich",
        "write a poem about the sea",
        "I have been thinking about the files and the folders that we had",
        "delete",
        "x" * 5_000,
        "(" * 500,
        "\ue0000\ue000",
    ],
)
def test_what_it_does_not_understand_it_does_not_touch(text: str) -> None:
    stage = Stage(Path("/home/ann"))
    stage.say(text)
    move = answer(see(stage.prompt()))
    assert move.calls == ()
    assert "rehearsal model" in move.say
    assert "perdure login" in move.say
    assert "ANTHROPIC_API_KEY" in move.say


@pytest.mark.parametrize(
    "text",
    [
        "find " + "a and " * 300 + "b",
        "replace " + "a with b in " * 150,
        "replace " + "a with " * 100 + "b in c in " * 90 + ".",
        "write " + "a to b " * 250,
        "write " + "a to " * 380 + ";",
        "add " + "to to to " * 200,
        "tidy " + "the folder " * 170,
        "create a file " + "with with " * 180,
        "how many " + "lines in " * 200,
        "please " * 280 + "x",
        "read " + "a, " * 600,
        "delete " + "a and " * 300 + ";",
        "what did you do " * 120,
        "x" + "!" * 1_900 + "y",
        "'" * 1_900,
        "`a` " * 400,
    ],
)
def test_odd_texts_are_answered_quickly(text: str) -> None:
    began = time.process_time()
    first(text)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("text", ["hello", "Hi there!", "help", "what can you do?", "thanks!"])
def test_small_talk_needs_no_tool(text: str) -> None:
    assert first(text) == []


async def test_several_requests_are_done_in_order(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    said = await stage.ask("make a folder docs, then write 'hi' to docs/a.txt and read it back")
    assert [c.name for c in stage.calls] == ["bash", "write", "read"]
    assert (tmp_path / "docs/a.txt").read_text() == "hi\n"
    assert "hi" in said


async def test_a_list_is_done_point_by_point(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.ask("1. write 'x and then y' to a.txt\n2. add a line 'z' to a.txt\n3. read it")
    assert (tmp_path / "a.txt").read_text() == "x and then y\nz\n"
    assert stage.calls[-1].arguments == {"path": "a.txt"}


async def test_what_ended_is_said_with_the_next_step_and_only_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpha\n")
    stage = Stage(tmp_path)
    stage.say("read a.txt and then run `echo done`")
    said = []
    for _ in range(3):
        reply = await stage.step()
        said.append("".join(p.text for p in reply.parts if isinstance(p, Text)))
    assert ["alpha" in s for s in said] == [False, True, False]


async def test_a_part_it_does_not_understand_keeps_the_rest_undone(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    said = await stage.ask("write 'x' to a.txt and then sing me a song")
    assert stage.calls == []
    assert "did not understand" in said


async def test_it_is_what_was_spoken_of_before(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    stage = Stage(tmp_path)
    await stage.ask("read a.txt")
    await stage.ask("thanks")
    await stage.ask("delete it")
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\nb\n", "a\nb\nnew\n"),
        ("a\nb", "a\nb\nnew"),
        ("b\nb\nb\n", "b\nb\nb\nnew\n"),
        ("a\n\n\n", "a\n\n\nnew\n"),
        ("ab\nb\n", "ab\nb\nnew\n"),
        ("", "new\n"),
        (None, "new\n"),
    ],
)
async def test_a_line_is_added_at_the_end(tmp_path: Path, before: str | None, after: str) -> None:
    if before is not None:
        (tmp_path / "a.txt").write_text(before)
    stage = Stage(tmp_path)
    said = await stage.ask("add a line 'new' to a.txt")
    assert (tmp_path / "a.txt").read_text() == after
    assert "I added “new”" in said
    assert not stage.commands


async def test_a_line_goes_to_a_long_file_by_the_shell(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    stage = Stage(tmp_path)

    def paged(call: ToolCall) -> ToolResult | None:
        if call.name == "read":
            return ToolResult(parts=(Text(text="1\tone"),), data={"lines": 1, "total": 2})
        return None

    stage.intercept = paged
    await stage.ask('add "it\'s" to a.txt')
    assert (tmp_path / "a.txt").read_text() == "one\ntwo\nit's\n"


async def test_nothing_is_moved_over_something(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    stage = Stage(tmp_path)
    said = await stage.ask("rename a.txt to b.txt")
    assert "is there already" in said
    assert (tmp_path / "b.txt").read_text() == "b"
    await stage.ask("make a folder sub and then move a.txt to the sub folder")
    assert (tmp_path / "sub/a.txt").read_text() == "a"


async def test_finding_tells_matches_and_their_absence(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x\nTODO: y\n")
    stage = Stage(tmp_path)
    assert "I found 1 line" in await stage.ask("find TODO in .")
    assert "does not occur" in await stage.ask("find FIXME in .")
    assert "I could not search" in await stage.ask("find TODO in nowhere")
    assert "I found 1 path" in await stage.ask("find files named *.txt")


async def test_an_exit_code_is_told(tmp_path: Path) -> None:
    said = await Stage(tmp_path).ask("run `echo no; exit 3`")
    assert "exit code 3" in said
    assert "no" in said


@pytest.mark.parametrize(
    "text",
    ["run `rm -rf x`", "write 'a' to b", "read b", "delete b", "find a in b", "make a folder b"],
)
async def test_a_denial_is_accepted(tmp_path: Path, text: str) -> None:
    stage = Stage(tmp_path)
    stage.intercept = lambda _: denied("Please don't.")
    said = await stage.ask(text)
    assert len(stage.calls) == 1
    assert "not allowed" in said
    assert "Please don't." in said


async def test_a_tool_it_does_not_have_is_not_called(tmp_path: Path) -> None:
    stage = Stage(tmp_path, tools=("read",))
    assert "tool bash" in await stage.ask("run `ls`")
    assert stage.calls == []


async def test_a_stop_closes_what_was_being_done(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    stage.intercept = lambda _: ToolResult(status="interrupted", parts=(Text(text="Stopped."),))
    stage.say("run `sleep 100` and then delete a.txt")
    await stage.step()
    stage.intercept = None
    said = await stage.ask("thanks")
    assert said == "You are welcome."
    assert (tmp_path / "a.txt").exists()


async def test_a_message_in_the_middle_is_taken_up_after_the_work(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpha\n")
    stage = Stage(tmp_path)
    stage.say("make a folder x, then make a folder y")
    await stage.step()
    stage.say("also read a.txt")
    said = await stage.finish()
    assert (tmp_path / "y").is_dir()
    assert "alpha" in said


async def test_a_message_that_says_stop_drops_the_rest(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.say("make a folder x, then make a folder y")
    await stage.step()
    stage.say("stop")
    assert await stage.finish() == "All right."
    assert not (tmp_path / "y").exists()


async def test_calls_of_another_model_in_between_are_passed_over(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.say("make a folder x")
    foreign = ToolCall(id="c1", name="bash", arguments={"command": "true"})  # type: ignore[arg-type]
    stage.items.append(AssistantItem(seq=2, parts=(foreign,)))
    result = stage.perform(foreign)
    done = CallResult(call=foreign.id, tool="bash", seq=3, result=result)
    stage.items.append(ResultsItem(seq=3, results=(done,)))
    await stage.finish()
    assert (tmp_path / "x").is_dir()


async def test_a_notice_without_a_question_is_answered_shortly(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.ask("hello")
    stage.items.append(UserItem(seq=9, parts=(Text(text="A hook: go on."),), kind="notice"))
    assert "nothing to add" in await stage.finish()


async def test_an_image_is_owned_up_to(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    parts = (Text(text="what is this?"), Image(media_type="image/png", artifact="x.png"))  # type: ignore[arg-type]
    stage.items.append(UserItem(seq=1, parts=parts))
    assert "cannot look at images" in await stage.finish()


async def test_again_repeats_the_last_request(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.intercept = lambda _: denied()
    await stage.ask("make a folder x")
    stage.intercept = None
    await stage.ask("Try again, please.")
    assert (tmp_path / "x").is_dir()
    (tmp_path / "x").rmdir()
    await stage.ask("again")
    assert (tmp_path / "x").is_dir()


async def test_time_and_place_come_from_the_runtime(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert "Saturday 2026-11-21 10:00 UTC" in await stage.ask("what time is it?")
    assert str(tmp_path) in await stage.ask("where are you?")


def test_the_arguments_are_those_of_the_real_tools() -> None:
    tools = pytest.importorskip("perdure.tools")
    known = {tool.name: tool for tool in tools.CORE_TOOLS}
    for text in ("read a", "write 'a' to b.txt", "replace a with b in c.txt", "run `ls`"):
        ((name, arguments),) = first(text)
        known[name].model_validate(arguments)
